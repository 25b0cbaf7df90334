//! What systemd hears of us (sd_notify(3)). Without `$NOTIFY_SOCKET`, which it sets, all of this is silent.
//!
//! | message | when |
//! |---|---|
//! | `READY=1` | the control plane has answered for the first time |
//! | `WATCHDOG=1` | four times in `WatchdogSec`, if the control plane answers and every worker has polled since the last look |
//! | `STOPPING=1` | we are told to end |
//!
//! So a control plane or a worker that hangs is ended by systemd and started anew.

use controlplane::northbound::{Northbound, Query};
use dataplane_api::Counters;
use sd_notify::NotifyState;
use std::sync::Arc;
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
pub(crate) struct Pulse {
    northbound: Northbound,
    /// With the polls of each worker at the last look.
    workers: Vec<(Arc<Counters>, u64)>,
}

impl Pulse {
    pub(crate) fn new(northbound: Northbound, workers: &[Arc<Counters>]) -> Self {
        Self { northbound, workers: workers.iter().map(|c| (Arc::clone(c), c.worker.polls.get())).collect() }
    }

    /// Says that we are ready once we are, then feeds the watchdog for as long as we are alive.
    pub(crate) async fn run(mut self) {
        if self.control(PATIENCE).await.is_ok() {
            tell(&[NotifyState::Ready]);
        }
        let Some(within) = sd_notify::watchdog_enabled() else { return };
        let mut tick = tokio::time::interval(within / 4);
        loop {
            tick.tick().await;
            match self.look(PATIENCE).await {
                Ok(()) => tell(&[NotifyState::Watchdog]),
                Err(why) => tracing::error!(%why, "the watchdog is not fed"),
            }
        }
    }

    async fn look(&mut self, patience: Duration) -> Result<(), Stalled> {
        self.control(patience).await?;
        for (number, (counters, seen)) in self.workers.iter_mut().enumerate() {
            let polls = counters.worker.polls.get();
            if std::mem::replace(seen, polls) == polls {
                return Err(Stalled::Worker(number));
            }
        }
        Ok(())
    }

    async fn control(&self, patience: Duration) -> Result<(), Stalled> {
        match tokio::time::timeout(patience, self.northbound.ask(Query::Counters)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Stalled::Control),
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
    use controlplane::northbound::CountersInfo;

    #[tokio::test]
    async fn alive_means_that_the_control_plane_answers_and_every_worker_polls() {
        let (northbound, mut queries) = Northbound::channel();
        let workers: Vec<_> = (0..2).map(|_| Arc::new(Counters::new(1, 1))).collect();
        let mut pulse = Pulse::new(northbound, &workers);
        // Nobody answers yet: the question waits in the channel.
        assert_eq!(pulse.look(Duration::from_millis(1)).await, Err(Stalled::Control));
        tokio::spawn(async move {
            while let Some(query) = queries.recv().await {
                if let Query::Counters(to) = query {
                    let _ = to.send(CountersInfo::default());
                }
            }
        });
        assert_eq!(pulse.look(PATIENCE).await, Err(Stalled::Worker(0)));
        workers[0].worker.polls.add(1);
        assert_eq!(pulse.look(PATIENCE).await, Err(Stalled::Worker(1)));
        workers.iter().for_each(|w| w.worker.polls.add(1));
        assert_eq!(pulse.look(PATIENCE).await, Ok(()));
        assert_eq!(pulse.look(PATIENCE).await, Err(Stalled::Worker(0)));
    }

    #[tokio::test]
    async fn a_control_plane_that_has_ended_is_not_alive() {
        let (northbound, queries) = Northbound::channel();
        drop(queries);
        assert_eq!(Pulse::new(northbound, &[]).look(PATIENCE).await, Err(Stalled::Control));
    }
}
