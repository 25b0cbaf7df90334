//! Accounting of sessions: their beginning, what they use, their end with the last counters.

use super::{Gateway, Lines};
use crate::accounting::{Cause, Status, Subject};
use crate::audit::Verb;
use crate::meter::{Due, Meter};
use crate::northbound::Event;
use crate::subscriber::{State, Subscriber};
use dataplane_api::{OpSeq, SessionId, WorkerId};
use rand::RngExt;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

/// How often a worker is looked at that has still to delete a session, and until when.
const LOOK: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(1);

/// A session that has ended, but whose counters may still grow.
struct Final {
    subscriber: Subscriber,
    applied: OpSeq,
    ended: Instant,
    /// Its ids may be used again after that.
    free: bool,
}

/// Such sessions. Those of a worker end in the order of their table changes.
#[derive(Default)]
pub(super) struct Finals {
    all: HashMap<SessionId, Final>,
    order: BTreeMap<WorkerId, VecDeque<SessionId>>,
}

impl Finals {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn add(&mut self, last: Final) {
        let (id, worker) = (last.subscriber.id, last.subscriber.worker);
        self.order.entry(worker).or_default().push_back(id);
        self.all.insert(id, last);
    }

    /// The first of a worker's that is done.
    fn take(&mut self, worker: WorkerId, done: impl Fn(&Final) -> bool) -> Option<Final> {
        let order = self.order.get_mut(&worker)?;
        let id = order.pop_front_if(|id| self.all.get(id).is_none_or(&done))?;
        self.all.remove(&id)
    }
}

impl Gateway {
    /// Seconds since 1970.
    pub(super) fn unix(&self, now: Instant) -> u32 {
        let since = self.clock.map(|(at, epoch)| epoch + now.saturating_duration_since(at)).unwrap_or_default();
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }

    fn subject<'a>(&self, now: Instant, s: &'a Subscriber, profile: &'a crate::aaa::Profile) -> Subject<'a> {
        Subject {
            user: &s.user,
            context: &s.context,
            profile,
            radius: s.radius,
            ipv4: s.leases.ipv4,
            ipv6: s.leases.ipv6,
            delegated: s.leases.delegated,
            address: s.leases.address,
            interface_id: s.session.inner.link_local.and_then(|a| a.octets()[8..].try_into().ok()),
            traffic: self.traffic(s.id),
            lasted: s.meter.as_ref().map_or(Duration::ZERO, |m| m.lasted(now)),
        }
    }

    fn account(&mut self, now: Instant, s: &Subscriber, status: Status, cause: Option<Cause>) {
        let Some(profile) = &s.profile else { return };
        let (at, subject) = (self.unix(now), self.subject(now, s, profile));
        self.accounting.record(now, at, status, cause, &subject);
    }

    /// Traffic passes: the clocks run, and the servers hear of it.
    pub(super) fn begin(&mut self, now: Instant, id: SessionId) {
        let (spread, packets) = (self.rng.random(), self.traffic(id).packets());
        let Some(mut s) = self.subscribers.remove(&id) else { return };
        let limits = s.profile.as_ref().map(|p| p.limits.clone()).unwrap_or_default();
        let a = &self.config.aaa.accounting;
        let intervals = self.accounting.enabled().then_some((a.interim, a.checkpoint));
        // A link that was negotiated anew has what was said of it last.
        match &mut s.meter {
            Some(meter) => meter.limit(now, &limits, packets),
            None => s.meter = Some(Meter::new(now, &limits, intervals, spread)),
        }
        if !s.accounted {
            s.accounted = true;
            if self.config.aaa.accounting.tunnels {
                self.account(now, &s, Status::TunnelStart, None);
            }
            self.account(now, &s, Status::Start, None);
        }
        self.subscribers.insert(id, s);
    }

    /// What runs with a session's time.
    pub(super) fn meter_timeout(&mut self, now: Instant, id: SessionId) {
        let packets = self.traffic(id).packets();
        let Some(meter) = self.subscribers.get_mut(&id).and_then(|s| s.meter.as_mut()) else { return };
        for due in meter.handle_timeout(now, packets) {
            match due {
                Due::SessionTimeout => self.disconnect(now, id, Cause::SessionTimeout, "Session-Timeout"),
                Due::IdleTimeout => self.disconnect(now, id, Cause::IdleTimeout, "Idle-Timeout"),
                Due::Interim | Due::Checkpoint => {
                    let Some(s) = self.subscribers.remove(&id) else { return };
                    match (due, &s.profile) {
                        (Due::Checkpoint, Some(profile)) => {
                            let (at, subject) = (self.unix(now), self.subject(now, &s, profile));
                            self.accounting.checkpoint(at, &subject);
                        }
                        _ => self.account(now, &s, Status::Interim, None),
                    }
                    self.subscribers.insert(id, s);
                }
            }
        }
    }

    /// A session is gone: what there is to say of it waits until its worker has deleted it, so that the last packet counts.
    pub(super) fn last_words(&mut self, now: Instant, subscriber: Subscriber, applied: OpSeq) {
        self.finals.add(Final { subscriber, applied, ended: now, free: false });
        self.finish(now);
    }

    /// Gives a session's ids back, once its last words are said.
    pub(super) fn free_session(&mut self, id: SessionId) {
        match self.finals.all.get_mut(&id) {
            Some(f) => f.free = true,
            None => self.program.allocation().free_session(id),
        }
    }

    /// Says the last words of sessions that their workers have deleted.
    pub(super) fn finish(&mut self, now: Instant) {
        let workers: Vec<WorkerId> = self.finals.order.keys().copied().collect();
        for worker in workers {
            let applied = self.counters.get(usize::from(worker.0)).map(|w| w.worker.applied.load(Acquire));
            let done = |f: &Final| applied.is_none_or(|n| n >= f.applied) || now >= f.ended + PATIENCE;
            while let Some(last) = self.finals.take(worker, done) {
                self.end(last);
            }
        }
        self.look = (!self.finals.is_empty()).then(|| now + LOOK);
    }

    fn end(&mut self, last: Final) {
        let Final { subscriber: s, ended, free, .. } = last;
        let (cause, why) = s.ending.clone().unwrap_or((Cause::NasError, String::new()));
        if s.state != State::Tunnel {
            let record = self.audit_record(&s, Verb::Teardown, &why, ended);
            self.audit.push_back(record);
        }
        if s.accounted {
            let event = self.session_event(ended, &s, Some(&why));
            self.tell(Event::SessionDown(event));
            self.account(ended, &s, Status::Stop, Some(cause));
            if self.config.aaa.accounting.tunnels {
                self.account(ended, &s, Status::TunnelStop, Some(cause));
            }
        }
        if free {
            self.program.allocation().free_session(s.id);
        }
    }

    /// Accounting begins, with what the journal of the last run says.
    pub fn start_accounting<'a>(&mut self, now: Instant, journal: impl Iterator<Item = &'a str>) {
        let at = self.unix(now);
        let bad = self.accounting.start(now, at, journal);
        if bad > 0 {
            tracing::warn!(bad, "lines of the accounting journal cannot be read");
        }
    }

    /// The next line for the accounting journal; to be written before RADIUS's octets are sent.
    pub fn poll_journal(&mut self) -> Option<String> {
        self.accounting.poll_line()
    }

    /// The whole journal, where it is to be written anew because it has become too long.
    pub fn compact_journal(&mut self) -> Option<Lines> {
        self.accounting.compact().map(|lines| Box::new(lines) as Lines)
    }

    /// The whole journal, for a file that has lost lines.
    pub fn whole_journal(&mut self) -> Lines {
        Box::new(self.accounting.whole())
    }
}
