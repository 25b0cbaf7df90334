//! A drain: nobody new is let in, so that the gateway can be taken out of service.
//!
//! | mode | new IKE SAs, tunnels, sessions | those that are there |
//! |---|---|---|
//! | refuse | turned away and counted | stay until they go by themselves |
//! | teardown | turned away and counted | are ended, evenly within a time: PPP, StopCCN, then the IKE SA (H47) |
//!
//! An IKE_SA_INIT or first message of main mode is dropped, so that the client tries the next gateway; an SCCRQ is answered
//! by a StopCCN that says so (RFC 2661, section 4.4.2, error 7). AFBRs are no subscribers: the mesh and BGP go on.

use super::Gateway;
use crate::accounting::Cause;
use crate::northbound::{DrainEvent, DrainInfo, DrainMode, DrainOrder, DrainState, Event};
use crate::subscriber::State;
use dataplane_api::{PeerId, PuntMeta, SessionId};
use l2tp::Refused;
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Time between the steps of a teardown.
const STEP: Duration = Duration::from_millis(100);
/// Time between looks at who is still there after it.
const AGAIN: Duration = Duration::from_secs(1);
/// Exchange types: IKE_SA_INIT (RFC 7296, section 3.1), main and aggressive mode (RFC 2408, section 3.1).
const IKE_SA_INIT: u8 = 34;
const V1_FIRST: [u8; 2] = [2, 4];

/// See the module.
pub(super) struct Drain {
    mode: DrainMode,
    teardown: Option<Teardown>,
    /// Who had been turned away before it.
    before: u64,
    done: bool,
}

struct Teardown {
    next: Instant,
    due: Instant,
    left: VecDeque<Whom>,
}

#[derive(Clone, Copy)]
enum Whom {
    Session(SessionId),
    Peer(PeerId),
}

impl Gateway {
    pub(super) fn set_drain(&mut self, now: Instant, order: Option<DrainOrder>) {
        self.l2tp.refuse_new(order.is_some());
        let before = self.drain.as_ref().map_or_else(|| self.turned_away(), |d| d.before);
        let Some(order) = order else {
            self.operated(self.drain.is_some(), || "drain ended".to_owned());
            self.drain = None;
            return;
        };
        let (mode, teardown) = match order {
            DrainOrder::Refuse => (DrainMode::Refuse, None),
            DrainOrder::Teardown(within) => {
                let teardown = Teardown { next: now, due: now + within, left: self.whom() };
                (DrainMode::Teardown, Some(teardown))
            }
        };
        self.drain = Some(Drain { mode, teardown, before, done: false });
        self.operated(true, || format!("drain: {order:?}"));
        self.tell(Event::DrainStart(DrainEvent { mode, sessions_left: self.subscribers.len() }));
    }

    pub(super) fn drain_info(&self) -> DrainInfo {
        let state = match &self.drain {
            None => DrainState::Off,
            Some(d) if d.done => DrainState::Drained,
            Some(_) => DrainState::Draining,
        };
        DrainInfo {
            state,
            mode: self.drain.as_ref().map(|d| d.mode),
            sessions_left: self.subscribers.len(),
            peers_left: self.peers.values().filter(|p| !p.afbr).count(),
            refused: self.drain.as_ref().map_or(0, |d| self.turned_away().saturating_sub(d.before)),
        }
    }

    fn turned_away(&self) -> u64 {
        self.control.drain_ike + self.control.drain_session + self.l2tp.stats().refused(Refused::Draining)
    }

    /// Whether a message to IKE is from somebody new who is not to come in.
    pub(super) fn drain_refuses(&mut self, meta: &PuntMeta, message: &[u8]) -> bool {
        let refuses = self.drain.is_some() && is_first(message) && !self.mesh.expects(meta.src.ip());
        self.control.drain_ike += u64::from(refuses);
        refuses
    }

    /// A peer or a session that was on its way in when the drain began.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn drain_due(&self) -> Option<Instant> {
        self.drain.as_ref().filter(|d| !d.done).and_then(|d| Some(d.teardown.as_ref()?.next))
    }

    /// Ends as many as are due, and sees whether anybody is left.
    pub(super) fn drain_timeout(&mut self, now: Instant) {
        if self.drain_due().is_none_or(|t| t > now) {
            return;
        }
        let Some(mut teardown) = self.drain.as_mut().and_then(|d| d.teardown.take()) else { return };
        if teardown.left.is_empty() {
            // Who was on the way down, or in between, when it began.
            teardown.left = self.whom();
        }
        let time = teardown.due.saturating_duration_since(now);
        let steps = 1 + time.as_millis() / STEP.as_millis();
        let some = teardown.left.len().div_ceil(usize::try_from(steps).unwrap_or(usize::MAX));
        for whom in teardown.left.drain(..some) {
            match whom {
                Whom::Session(id) => self.disconnect(now, id, Cause::AdminReboot, "drained"),
                Whom::Peer(peer) => self.close_peer(now, peer),
            }
        }
        // Fewer than there are steps are ended one by one, further apart.
        let apart = |left: usize| time / u32::try_from(left).unwrap_or(u32::MAX);
        teardown.next = now + if teardown.left.is_empty() { AGAIN } else { STEP.max(apart(teardown.left.len())) };
        if let Some(d) = &mut self.drain {
            d.teardown = Some(teardown);
        }
    }

    /// Sessions that are not on their way down, and peers without any.
    fn whom(&self) -> VecDeque<Whom> {
        let carrying: HashSet<PeerId> = self.subscribers.values().filter_map(|s| s.session.peer).collect();
        let closing: HashSet<PeerId> = self.close_after.values().copied().collect();
        let idle = |(id, p): (&PeerId, &crate::peer::Peer)| {
            (!p.afbr && !carrying.contains(id) && !closing.contains(id)).then_some(Whom::Peer(*id))
        };
        let there = self.subscribers.values().filter(|s| s.state != State::Closing).map(|s| Whom::Session(s.id));
        there.chain(self.peers.iter().filter_map(idle)).collect()
    }

    /// Tells once that nobody is left.
    pub(super) fn drain_settle(&mut self) {
        let empty = self.subscribers.is_empty() && self.finals.is_empty();
        let Some(d) = self.drain.as_mut().filter(|d| !d.done && empty) else { return };
        if self.peers.values().all(|p| p.afbr) {
            d.done = true;
            let event = DrainEvent { mode: d.mode, sessions_left: 0 };
            self.tell(Event::DrainDone(event));
        }
    }
}

/// Whether a message asks for an IKE SA that there is not: its first one, with no SPI of ours.
fn is_first(message: &[u8]) -> bool {
    let Some([_, version, exchange, flags]) = message.get(16..20) else { return false };
    let no_spi = message.get(8..16).is_some_and(|spi| spi.iter().all(|b| *b == 0));
    no_spi
        && match version >> 4 {
            1 => V1_FIRST.contains(exchange),
            _ => *exchange == IKE_SA_INIT && flags & 0x20 == 0,
        }
}

#[cfg(test)]
mod tests {
    use super::is_first;

    fn message(spi: u8, version: u8, exchange: u8, flags: u8) -> Vec<u8> {
        [[1; 8], [spi; 8]].concat().into_iter().chain([33, version, exchange, flags]).chain([0; 8]).collect()
    }

    #[test]
    fn first_messages_of_both_versions() {
        for (spi, version, exchange, flags, first) in [
            (0, 0x20, 34, 0x08, true),
            (0, 0x20, 34, 0x20, false), // a response, an error say
            (9, 0x20, 34, 0x08, false),
            (9, 0x20, 35, 0x08, false),
            (0, 0x10, 2, 0, true),
            (0, 0x10, 4, 0, true),
            (9, 0x10, 2, 0, false),
            (0, 0x10, 5, 0, false),
        ] {
            assert_eq!(is_first(&message(spi, version, exchange, flags)), first, "{spi} {version} {exchange} {flags}");
        }
        assert!(!is_first(&[]) && !is_first(&message(0, 0x20, 34, 8)[..19]));
    }
}
