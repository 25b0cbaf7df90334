//! SIGHUP: the configuration file is read again, and what it says is taken whole or not at all. The log says which.

use controlplane::config::Config;
use controlplane::northbound::{Northbound, Query};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// Runs until the control plane is gone.
pub async fn on_hangup(path: PathBuf, northbound: Northbound) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        reload(&path, &northbound).await;
    }
}

async fn reload(path: &Path, northbound: &Northbound) {
    let file = path.display();
    let document = match Config::load(path) {
        Ok(document) => Box::new(document),
        Err(error) => return tracing::error!(%file, %error, "SIGHUP: the configuration stays as it was"),
    };
    match northbound.ask(|to| Query::Configure(document, false, to)).await {
        Ok(Ok(applied)) if applied.restart.is_empty() => tracing::info!(%file, "SIGHUP: the configuration is in force"),
        Ok(Ok(applied)) => {
            let restart = applied.restart.join(",");
            tracing::warn!(%file, restart, "SIGHUP: the configuration is in force, but for what takes a restart");
        }
        Ok(Err(problems)) => {
            for problem in problems {
                tracing::error!(%file, %problem, "SIGHUP: the configuration stays as it was");
            }
        }
        Err(gone) => tracing::warn!(%gone, "SIGHUP"),
    }
}
