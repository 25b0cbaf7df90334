//! SIGHUP: the configuration file is read again, and what it says is taken whole or not at all. The log says which.

use mgmt_api::config::{Refused, Store};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Runs for as long as the process does.
pub async fn on_hangup(store: Arc<Store>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match store.reload().await {
            Ok(outcome) if outcome.restart.is_empty() => tracing::info!("SIGHUP: the configuration is in force"),
            Ok(outcome) => {
                let restart = outcome.restart.join(",");
                tracing::warn!(restart, "SIGHUP: the configuration is in force, but for what takes a restart");
            }
            Err(Refused::Invalid(problems)) => {
                for (path, problem) in problems {
                    tracing::error!(path, problem, "SIGHUP: the configuration stays as it was");
                }
            }
            Err(problem) => tracing::error!(%problem, "SIGHUP: the configuration stays as it was"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use controlplane::northbound::{Applied, Northbound, Query};

    const GOOD: &str = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                        listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n";

    #[tokio::test]
    async fn a_hangup_hands_the_file_to_the_control_plane_if_it_is_one() {
        let dir = std::env::temp_dir().join(format!("reload-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("softwired.yaml");
        std::fs::write(&file, GOOD).unwrap();
        let (northbound, mut queries) = Northbound::channel();
        let store = Store::open(&file, &dir.join("state"), 10, northbound).unwrap();
        let task = tokio::spawn(on_hangup(store));
        // It has its handler then; without one this process would end.
        tokio::task::yield_now().await;
        let hang_up = || std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();

        std::fs::write(&file, format!("{GOOD}subscribers: [{{ user: alice, secret: wonderland }}]\n")).unwrap();
        assert!(hang_up().unwrap().success());
        let Some(Query::Configure(document, false, to)) = queries.recv().await else { panic!() };
        assert_eq!(document.subscribers[0].user, "alice");
        to.send(Ok(Applied { restart: vec!["/ports".into()] })).unwrap();
        // What cannot be read is not asked about: the next question is of the next hangup.
        std::fs::write(&file, "ports: [").unwrap();
        assert!(hang_up().unwrap().success());
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        std::fs::write(&file, GOOD).unwrap();
        assert!(hang_up().unwrap().success());
        let Some(Query::Configure(document, false, to)) = queries.recv().await else { panic!() };
        assert!(document.subscribers.is_empty());
        to.send(Ok(Applied { restart: vec![] })).unwrap();
        // The same once more: what the file names, the subscribers' file or certificates, may have changed.
        assert!(hang_up().unwrap().success());
        assert!(matches!(queries.recv().await, Some(Query::Configure(_, false, _))));
        task.abort();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
