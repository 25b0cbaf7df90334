//! What runs with the time of a session: Session-Timeout, Idle-Timeout, interim records, checkpoints.

use crate::aaa::Limits;
use std::time::{Duration, Instant};

/// How often a session with an Idle-Timeout is looked at, at most.
const LOOK: Duration = Duration::from_secs(10);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Session-Timeout.
    SessionTimeout,
    /// Idle-Timeout.
    IdleTimeout,
    /// An interim accounting record.
    Interim,
    /// A checkpoint of accounting.
    Checkpoint,
}

struct Idle {
    limit: Duration,
    packets: u64,
    active: Instant,
    look: Instant,
}

/// The clocks of one session.
pub struct Meter {
    since: Instant,
    ends: Option<Instant>,
    idle: Option<Idle>,
    interim: Option<(Duration, Instant)>,
    checkpoint: Option<(Duration, Instant)>,
}

impl Meter {
    /// From `now` on, with what AAA has limited. `interim` and `checkpoint` are the intervals of accounting, where there is
    /// any; `spread`, from 0 to 1, keeps sessions that begin together from being accounted together.
    pub fn new(now: Instant, limits: &Limits, accounting: Option<(Duration, Duration)>, spread: f64) -> Self {
        let first = |every: Duration| (every, now + every.mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0));
        let mut meter = Self {
            since: now,
            ends: None,
            idle: None,
            interim: accounting.map(|(interim, _)| first(limits.interim.unwrap_or(interim))),
            checkpoint: accounting.map(|(_, checkpoint)| first(checkpoint)),
        };
        meter.limit(now, limits, 0);
        meter
    }

    /// Other limits, for a session that has passed `packets` so far.
    pub fn limit(&mut self, now: Instant, limits: &Limits, packets: u64) {
        self.ends = limits.session_timeout.and_then(|d| self.since.checked_add(d));
        if self.idle.as_ref().map(|i| i.limit) != limits.idle_timeout {
            self.idle = limits.idle_timeout.map(|limit| Idle { limit, packets, active: now, look: now + look(limit) });
        }
        if let (Some((every, at)), Some(interim)) = (&mut self.interim, limits.interim)
            && *every != interim
        {
            (*every, *at) = (interim, now + interim);
        }
    }

    /// How long it has run.
    pub fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Seconds that are left, where there is an end.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.ends.map(|at| at.saturating_duration_since(now))
    }

    /// What is due, for a session that has passed `packets` so far.
    pub fn handle_timeout(&mut self, now: Instant, packets: u64) -> Vec<Due> {
        let mut due = Vec::new();
        if self.ends.is_some_and(|at| at <= now) {
            self.ends = None;
            due.push(Due::SessionTimeout);
        }
        if let Some(idle) = self.idle.as_mut().filter(|i| i.look <= now) {
            if idle.packets != packets {
                (idle.packets, idle.active) = (packets, now);
            }
            idle.look = (now + look(idle.limit)).min(idle.active + idle.limit);
            if now >= idle.active + idle.limit {
                self.idle = None;
                due.push(Due::IdleTimeout);
            }
        }
        for (clock, what) in [(&mut self.interim, Due::Interim), (&mut self.checkpoint, Due::Checkpoint)] {
            if let Some((every, at)) = clock.as_mut().filter(|(_, at)| *at <= now) {
                *at = now + *every;
                due.push(what);
            }
        }
        due
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let clock = |c: &Option<(Duration, Instant)>| c.map(|(_, at)| at);
        let idle = self.idle.as_ref().map(|i| i.look);
        [self.ends, idle, clock(&self.interim), clock(&self.checkpoint)].into_iter().flatten().min()
    }
}

fn look(limit: Duration) -> Duration {
    LOOK.min(limit / 4).max(Duration::from_millis(250))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What comes due within `seconds`, with the second, where `packets` tells the traffic.
    fn run(m: &mut Meter, start: Instant, seconds: u32, packets: impl Fn(u64) -> u64) -> Vec<(u64, Due)> {
        let mut all = Vec::new();
        while let Some(at) = m.poll_timeout().filter(|at| *at <= start + seconds * SECOND) {
            let second = (at - start).as_secs();
            all.extend(m.handle_timeout(at, packets(second)).into_iter().map(|d| (second, d)));
        }
        all
    }

    #[test]
    fn each_clock_by_itself() {
        let now = Instant::now();
        let limits = Limits { session_timeout: Some(SECOND * 100), interim: Some(SECOND * 60), ..Limits::default() };
        let mut m = Meter::new(now, &limits, Some((SECOND * 600, SECOND * 80)), 1.0);
        assert_eq!(m.left(now + SECOND * 30), Some(SECOND * 70));
        let all = run(&mut m, now, 130, |_| 0);
        assert_eq!(all, [(60, Due::Interim), (80, Due::Checkpoint), (100, Due::SessionTimeout), (120, Due::Interim)]);
        assert_eq!(Meter::new(now, &Limits::default(), None, 0.0).poll_timeout(), None);
    }

    #[test]
    fn idle_is_without_a_packet() {
        let now = Instant::now();
        let limits = Limits { idle_timeout: Some(SECOND * 40), ..Limits::default() };
        let silent = run(&mut Meter::new(now, &limits, None, 0.0), now, 300, |_| 7);
        // The first look sees what has passed before.
        assert_eq!(silent, [(50, Due::IdleTimeout)]);
        let until_100 = run(&mut Meter::new(now, &limits, None, 0.0), now, 300, |s| s.min(100));
        assert_eq!(until_100, [(140, Due::IdleTimeout)]);
        assert_eq!(run(&mut Meter::new(now, &limits, None, 0.0), now, 300, |s| s), []);
    }

    #[test]
    fn limits_change_from_the_beginning_of_the_session() {
        let now = Instant::now();
        let mut m = Meter::new(now, &Limits::default(), None, 0.0);
        let limits = Limits { session_timeout: Some(SECOND * 100), ..Limits::default() };
        m.limit(now + SECOND * 90, &limits, 0);
        assert_eq!(run(&mut m, now, 200, |_| 0), [(100, Due::SessionTimeout)]);
    }
}
