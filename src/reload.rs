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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use controlplane::northbound::Applied;

    const GOOD: &str = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                        listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n";

    #[tokio::test]
    async fn a_hangup_hands_the_file_to_the_control_plane_if_it_is_one() {
        let file = std::env::temp_dir().join(format!("reload-{}.yaml", std::process::id()));
        std::fs::write(&file, format!("{GOOD}subscribers: [{{ user: alice, secret: wonderland }}]\n")).unwrap();
        let (northbound, mut queries) = Northbound::channel();
        let task = tokio::spawn(on_hangup(file.clone(), northbound));
        // It has its handler then; without one this process would end.
        tokio::task::yield_now().await;
        let hang_up = || std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
        assert!(hang_up().unwrap().success());
        let Some(Query::Configure(document, false, to)) = queries.recv().await else { panic!() };
        assert_eq!(document.subscribers[0].user, "alice");
        to.send(Ok(Applied { restart: vec!["/ports".into()] })).unwrap();
        // What cannot be read is not asked about.
        std::fs::write(&file, "ports: [").unwrap();
        assert!(hang_up().unwrap().success());
        for _ in 0..50 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        tokio::select! { biased; _ = queries.recv() => panic!("it was asked"), () = std::future::ready(()) => {} }
        std::fs::write(&file, GOOD).unwrap();
        assert!(hang_up().unwrap().success());
        let Some(Query::Configure(document, false, _)) = queries.recv().await else { panic!() };
        assert!(document.subscribers.is_empty());
        task.abort();
        std::fs::remove_file(&file).unwrap();
    }
}
