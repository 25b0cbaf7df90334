//! What systemd hears of us (sd_notify(3)). Without `$NOTIFY_SOCKET`, which it sets, all of this is silent.
//!
//! | message | when |
//! |---|---|
//! | `READY=1` | the API listens, and the control plane has answered for the first time |
//! | `WATCHDOG=1` | four times in `WatchdogSec`, if the control plane answers and every worker has polled since the last look |
//! | `STOPPING=1` | we are told to end |
//!
//! So a control plane or a worker that hangs is ended by systemd and started anew.

use controlplane::northbound::{Northbound, Query};
use sd_notify::NotifyState;
use std::time::Duration;

/// How long the control plane may take for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the watchdog is not fed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Stalled {
    #[error("the control plane does not answer")]
    Control,
    #[error("worker {0} does not poll")]
    Worker(usize),
}

/// Looks whether we are alive.
pub(crate) struct Watch {
    northbound: Northbound,
    /// The polls of each worker at the last look.
    polls: Vec<u64>,
}

impl Watch {
    pub(crate) fn new(northbound: Northbound) -> Self {
        Self { northbound, polls: Vec::new() }
    }

    /// Says that we are ready once we are, then feeds the watchdog for as long as we are alive.
    pub(crate) async fn run(mut self) {
        while let Err(why) = self.look(PATIENCE).await {
            tracing::warn!(%why, "not ready yet");
            tokio::time::sleep(PATIENCE).await;
        }
        tell(&[NotifyState::Ready]);
        let Some(within) = sd_notify::watchdog_enabled() else { return };
        let every = within / 4;
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        loop {
            tick.tick().await;
            match self.look(PATIENCE).await {
                Ok(()) => tell(&[NotifyState::Watchdog]),
                Err(why) => tracing::error!(%why, "the watchdog is not fed"),
            }
        }
    }

    async fn look(&mut self, patience: Duration) -> Result<(), Stalled> {
        let asked = tokio::time::timeout(patience, self.northbound.ask(Query::Pulse)).await;
        let Ok(Ok(pulse)) = asked else { return Err(Stalled::Control) };
        let before = std::mem::replace(&mut self.polls, pulse.polls);
        match before.iter().zip(&self.polls).position(|(before, now)| before == now) {
            Some(worker) => Err(Stalled::Worker(worker)),
            None => Ok(()),
        }
    }
}

/// Says that we are about to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd does not hear us");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use controlplane::northbound::Pulse;

    #[tokio::test]
    async fn alive_means_that_the_control_plane_answers_and_every_worker_polls() {
        let (northbound, mut queries) = Northbound::channel();
        let mut watch = Watch::new(northbound);
        // Nobody answers yet: the question waits in the channel.
        assert_eq!(watch.look(Duration::from_millis(1)).await, Err(Stalled::Control));
        let mut polls = [[0, 0], [7, 7], [7, 8], [8, 8], [9, 9], [9, 9]].into_iter();
        tokio::spawn(async move {
            let Some(Query::Pulse(_late)) = queries.recv().await else { return };
            while let Some(Query::Pulse(to)) = queries.recv().await {
                let polls = polls.next().map_or_else(Vec::new, Vec::from);
                let _ = to.send(Pulse { polls, draining: false });
            }
        });
        // The first look has nothing to compare with.
        assert_eq!(watch.look(PATIENCE).await, Ok(()));
        assert_eq!(watch.look(PATIENCE).await, Ok(()));
        assert_eq!(watch.look(PATIENCE).await, Err(Stalled::Worker(0)));
        assert_eq!(watch.look(PATIENCE).await, Err(Stalled::Worker(1)));
        assert_eq!(watch.look(PATIENCE).await, Ok(()));
        assert_eq!(watch.look(PATIENCE).await, Err(Stalled::Worker(0)));
    }

    #[tokio::test]
    async fn a_control_plane_that_has_ended_is_not_alive() {
        let (northbound, queries) = Northbound::channel();
        drop(queries);
        assert_eq!(Watch::new(northbound).look(PATIENCE).await, Err(Stalled::Control));
    }
}
