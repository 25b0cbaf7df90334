//! The subscribers of one packet core: which of them are up, and what they do next. Sans-IO.
//!
//! ```text
//!   Down ──start──► Connecting ──all addresses──► Up ──close──► Closing ──► Down
//!     ▲                  │ failed                  │ lost
//!     └──── retry ───────┴─────────────────────────┘
//! ```
//!
//! A [`Goal`] says how many begin and end each second. Whoever was up, or has failed, tries again by itself.

mod goal;
mod subscriber;

pub use goal::{Goal, SETTLED, stayers};
pub use subscriber::{State, Subscriber};

use crate::fleet::Fleet;
use crate::profile::{Extent, Family, Profile};
use crate::tally::histogram;
use goal::Course;
use hdrhistogram::Histogram;
use ipsec_mb::Manager;
use rand::SeedableRng;
use rand::rngs::StdRng;
use softwire_initiator::{Datagram, Event, Softwire};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use timers::Timers;

/// An end that takes longer than this is not waited for.
const CLOSE: Duration = Duration::from_secs(10);
/// Set-ups begun, and timers served, in one turn: packets wait for no longer than these take.
const TURN: u64 = 4;

/// What has happened since the goal was set.
#[derive(Clone, Debug)]
pub struct Record {
    /// Set-ups that were finished.
    pub ups: u64,
    /// Sessions that ended in order because we asked.
    pub closed: u64,
    /// Ends that we asked for and that were not answered.
    pub unanswered: u64,
    /// Set-ups that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Sessions that ended though we did not ask, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Nanoseconds from when a subscriber wanted to be up until it was.
    pub waits: Histogram<u64>,
}

/// How many there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Without a softwire.
    pub down: u32,
    /// On their way.
    pub connecting: u32,
    /// With all their addresses.
    pub up: u32,
    /// Ending.
    pub closing: u32,
}

/// See the module.
pub struct Population {
    fleet: Fleet,
    /// By number.
    pub subscribers: Vec<Subscriber>,
    /// Seals and opens all their packets.
    pub manager: Manager,
    timers: Timers<u32>,
    inner: [bool; 2],
    retry: Duration,
    rng: StdRng,
    clock: (Instant, Duration),
    course: Course,
    outbox: VecDeque<(u32, Datagram)>,
    /// How many are in each state.
    pub census: Census,
    /// Since the goal was set.
    pub record: Record,
}

impl Population {
    /// Everybody is down. `clock` is an instant and the time of day then, since the epoch.
    pub fn new(profile: &Profile, fleet: Fleet, clock: (Instant, Duration), seed: [u8; 32]) -> anyhow::Result<Self> {
        let has = |f| profile.subscribers.inner.contains(&f);
        // Certificates are issued here: before the test, not at its expense.
        let subscriber = |i| Ok(Subscriber::new(fleet.outer(i), fleet.pad(i)?));
        Ok(Self {
            subscribers: (0..fleet.count).map(subscriber).collect::<anyhow::Result<_>>()?,
            manager: Manager::new()?,
            timers: Timers::default(),
            inner: [has(Family::Ipv4), has(Family::Ipv6)],
            retry: profile.subscribers.retry,
            rng: StdRng::from_seed(seed),
            clock,
            course: Course::new(clock.0, SETTLED, fleet.count),
            outbox: VecDeque::new(),
            census: Census { down: fleet.count, ..Census::default() },
            record: Record::new(),
            fleet,
        })
    }

    /// Whose outer address it is.
    pub fn who(&self, outer: IpAddr) -> Option<u32> {
        self.fleet.who(outer)
    }

    /// From now on. What has been recorded begins anew.
    pub fn pursue(&mut self, now: Instant, goal: Goal) {
        self.record = Record::new();
        self.course = Course::new(now, goal, self.fleet.count);
        if goal.vanish {
            for i in 0..self.fleet.count {
                self.become_down(i);
            }
        }
        for i in 0..self.fleet.count {
            let s = &mut self.subscribers[i as usize];
            if s.state != State::Down {
                continue;
            }
            s.deadline = None;
            // When all are to come at once, they wait from now on, whenever their turn comes.
            s.wanted = (goal.up && goal.starts.is_infinite() && !goal.cycle).then_some(now);
            if goal.up {
                self.course.waiting.push_back(i);
            }
            self.rearm(i);
        }
    }

    /// Begins and ends what is due. Says whether there was anything.
    pub fn drive(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for _ in 0..TURN {
            let Some(i) = self.course.next_start(now, self.census.connecting) else { break };
            busy = true;
            self.start(now, i);
        }
        for _ in 0..TURN {
            let Some(i) = self.course.next_close(now, self.census.up, &self.subscribers) else { break };
            busy = true;
            self.close(now, i);
        }
        for _ in 0..TURN {
            let Some(i) = self.timers.expired(now) else { break };
            busy = true;
            self.expired(now, i);
        }
        busy
    }

    /// A UDP datagram from the gateway to a subscriber's `port`.
    pub fn handle_udp(&mut self, now: Instant, i: u32, port: u16, from: SocketAddr, data: &[u8]) {
        if let Some(softwire) = self.softwire(i) {
            softwire.0.handle_udp(now, softwire.1, port, from, data);
            self.settle(now, i);
        }
    }

    /// What came out of an ESP packet of a subscriber, and was no probe.
    pub fn handle_opened(&mut self, now: Instant, i: u32, spi: u32, next_header: u8, data: &[u8]) {
        if let Some(softwire) = self.softwire(i) {
            softwire.0.handle_opened(now, softwire.1, spi, next_header, data);
            self.settle(now, i);
        }
    }

    /// The next datagram for the gateway, and whose it is.
    pub fn poll_transmit(&mut self) -> Option<(u32, Datagram)> {
        self.outbox.pop_front()
    }

    fn softwire(&mut self, i: u32) -> Option<(&mut Softwire, &mut Manager)> {
        let softwire = self.subscribers.get_mut(i as usize)?.softwire.as_deref_mut()?;
        Some((softwire, &mut self.manager))
    }

    fn start(&mut self, now: Instant, i: u32) {
        let s = &mut self.subscribers[i as usize];
        if s.state != State::Down {
            return;
        }
        s.wanted.get_or_insert(now);
        s.deadline = None;
        let begun = self.begin(now, i);
        let s = &mut self.subscribers[i as usize];
        match begun {
            Ok(softwire) => {
                s.softwire = Some(Box::new(softwire));
                self.become_state(i, State::Connecting);
                self.settle(now, i);
            }
            Err(e) => self.failed(now, i, &format!("{e:#}")),
        }
    }

    fn begin(&mut self, now: Instant, i: u32) -> anyhow::Result<Softwire> {
        let pad = self.subscribers[i as usize].pad.clone();
        let config = self.fleet.config(i, pad, self.course.goal.extent);
        let mut root = StdRng::from_rng(&mut self.rng);
        let seeds = Box::new(move || -> Box<dyn rand_core::CryptoRng + Send> { Box::new(StdRng::from_rng(&mut root)) });
        let mut softwire = Softwire::new(now, &mut self.manager, config, seeds)?;
        softwire.set_clock(self.clock.0, self.clock.1);
        Ok(softwire)
    }

    fn close(&mut self, now: Instant, i: u32) {
        self.become_state(i, State::Closing);
        self.subscribers[i as usize].deadline = Some(now + CLOSE);
        if let Some((softwire, manager)) = self.softwire(i) {
            softwire.close(now, manager);
        }
        self.settle(now, i);
    }

    fn expired(&mut self, now: Instant, i: u32) {
        let s = &mut self.subscribers[i as usize];
        if s.deadline.is_some_and(|t| t <= now) {
            s.deadline = None;
            match s.state {
                State::Down => self.course.waiting.push_back(i),
                State::Closing => {
                    self.record.unanswered += 1;
                    self.ended(now, i);
                }
                State::Connecting | State::Up => {}
            }
        }
        if let Some((softwire, manager)) = self.softwire(i)
            && softwire.poll_timeout().is_some_and(|t| t <= now)
        {
            softwire.handle_timeout(now, manager);
        }
        self.settle(now, i);
    }

    /// Takes what a softwire has to say: events, datagrams, its next deadline.
    fn settle(&mut self, now: Instant, i: u32) {
        let mut down = None;
        let Some(s) = self.subscribers.get_mut(i as usize) else { return };
        if let Some(softwire) = &mut s.softwire {
            while let Some(event) = softwire.poll_event() {
                match event {
                    Event::Ipv4(local, ..) => s.inner[0] = Some(local.into()),
                    Event::Ipv6(address, ..) => s.inner[1] = Some(address.into()),
                    Event::Mtu(mtu) => s.mtu = mtu,
                    Event::ChildUp(..) => s.child = true,
                    Event::Down(why) => down = Some(why),
                    Event::IkeUp(..) | Event::SessionUp(..) | Event::Ipv6LinkLocal(_) | Event::Delegated(..) => {}
                }
            }
            while let Some(datagram) = softwire.poll_datagram() {
                self.outbox.push_back((i, datagram));
            }
            // Packets for the host behind the subscriber that are no probes.
            while softwire.poll_inner().is_some() {}
        }
        let complete = match self.course.goal.extent {
            Extent::Ike => s.child,
            Extent::Softwire => s.inner.iter().zip(self.inner).all(|(has, wants)| has.is_some() || !wants),
        };
        match (down, s.state) {
            (Some(why), State::Connecting) => self.failed(now, i, &why),
            (Some(why), State::Up) => {
                *self.record.lost.entry(why).or_default() += 1;
                self.become_down(i);
                self.again(now, i, self.retry);
            }
            (Some(_), State::Closing) => {
                self.record.closed += 1;
                self.ended(now, i);
            }
            (None, State::Connecting) if complete => self.became_up(now, i),
            (Some(_) | None, _) => {}
        }
        self.rearm(i);
    }

    fn became_up(&mut self, now: Instant, i: u32) {
        let s = &mut self.subscribers[i as usize];
        let waited = s.wanted.take().map_or(Duration::ZERO, |t| now.saturating_duration_since(t));
        self.record.ups += 1;
        self.record.waits.saturating_record(waited.as_nanos().try_into().unwrap_or(u64::MAX));
        self.become_state(i, State::Up);
        if self.course.goal.cycle {
            self.close(now, i);
        }
    }

    fn failed(&mut self, now: Instant, i: u32, why: &str) {
        *self.record.failed.entry(why.to_owned()).or_default() += 1;
        // It has waited since it began.
        let wanted = self.subscribers[i as usize].wanted;
        self.become_down(i);
        self.subscribers[i as usize].wanted = wanted;
        self.again(now, i, self.retry);
    }

    fn ended(&mut self, now: Instant, i: u32) {
        self.become_down(i);
        self.again(now, i, Duration::ZERO);
    }

    fn again(&mut self, now: Instant, i: u32, after: Duration) {
        if !self.course.goal.up {
            return;
        }
        if after.is_zero() {
            self.course.waiting.push_back(i);
        } else {
            self.subscribers[i as usize].deadline = Some(now + after);
            self.rearm(i);
        }
    }

    fn become_down(&mut self, i: u32) {
        self.become_state(i, State::Down);
        self.subscribers[i as usize].forget();
        self.rearm(i);
    }

    fn become_state(&mut self, i: u32, state: State) {
        let s = &mut self.subscribers[i as usize];
        *self.census.of(s.state) -= 1;
        *self.census.of(state) += 1;
        s.state = state;
    }

    fn rearm(&mut self, i: u32) {
        let Some(s) = self.subscribers.get_mut(i as usize) else { return };
        let softwire = s.softwire.as_ref().and_then(|s| s.poll_timeout());
        self.timers.set(i, &mut s.slot, softwire.into_iter().chain(s.deadline).min());
    }
}

impl Census {
    fn of(&mut self, state: State) -> &mut u32 {
        match state {
            State::Down => &mut self.down,
            State::Connecting => &mut self.connecting,
            State::Up => &mut self.up,
            State::Closing => &mut self.closing,
        }
    }

    /// Adds another core's.
    pub fn add(&mut self, other: &Self) {
        self.down += other.down;
        self.connecting += other.connecting;
        self.up += other.up;
        self.closing += other.closing;
    }
}

impl Record {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { ups: 0, closed: 0, unanswered: 0, failed: BTreeMap::new(), lost: BTreeMap::new(), waits: histogram() }
    }

    /// Adds another core's.
    pub fn add(&mut self, other: &Self) {
        self.ups += other.ups;
        self.closed += other.closed;
        self.unanswered += other.unanswered;
        for (to, from) in [(&mut self.failed, &other.failed), (&mut self.lost, &other.lost)] {
            for (why, n) in from {
                *to.entry(why.clone()).or_default() += n;
            }
        }
        // Both have the same bounds.
        let _ = self.waits.add(&other.waits);
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
