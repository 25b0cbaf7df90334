//! The timers of one connection (RFC 4271, section 8: ConnectRetryTimer, HoldTimer, KeepaliveTimer, DelayOpenTimer,
//! IdleHoldTimer; RFC 9687: SendHoldTimer). A timer that is not set does not run.

use crate::fsm::Event;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Hold,
    SendHold,
    Keepalive,
    ConnectRetry,
    DelayOpen,
    IdleHold,
}

impl Timer {
    const ALL: [Self; 6] =
        [Self::Hold, Self::SendHold, Self::Keepalive, Self::ConnectRetry, Self::DelayOpen, Self::IdleHold];

    /// The event of its expiry.
    pub const fn event(self) -> Event {
        match self {
            Self::Hold => Event::HoldTimerExpires,
            Self::SendHold => Event::SendHoldTimerExpires,
            Self::Keepalive => Event::KeepaliveTimerExpires,
            Self::ConnectRetry => Event::ConnectRetryTimerExpires,
            Self::DelayOpen => Event::DelayOpenTimerExpires,
            Self::IdleHold => Event::IdleHoldTimerExpires,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers {
    hold: Option<Instant>,
    send_hold: Option<Instant>,
    keepalive: Option<Instant>,
    connect_retry: Option<Instant>,
    delay_open: Option<Instant>,
    idle_hold: Option<Instant>,
}

impl Timers {
    fn slot(&mut self, timer: Timer) -> &mut Option<Instant> {
        match timer {
            Timer::Hold => &mut self.hold,
            Timer::SendHold => &mut self.send_hold,
            Timer::Keepalive => &mut self.keepalive,
            Timer::ConnectRetry => &mut self.connect_retry,
            Timer::DelayOpen => &mut self.delay_open,
            Timer::IdleHold => &mut self.idle_hold,
        }
    }

    /// When a timer expires.
    pub const fn get(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Hold => self.hold,
            Timer::SendHold => self.send_hold,
            Timer::Keepalive => self.keepalive,
            Timer::ConnectRetry => self.connect_retry,
            Timer::DelayOpen => self.delay_open,
            Timer::IdleHold => self.idle_hold,
        }
    }

    /// Starts a timer, or stops it.
    pub fn set(&mut self, timer: Timer, at: Option<Instant>) {
        *self.slot(timer) = at;
    }

    /// Whether a timer runs.
    pub const fn running(&self, timer: Timer) -> bool {
        self.get(timer).is_some()
    }

    /// The earliest expiry.
    pub fn next(&self) -> Option<Instant> {
        Timer::ALL.into_iter().filter_map(|timer| self.get(timer)).min()
    }

    /// A timer that has expired; it is stopped. The ones that end a session come first.
    pub fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL.into_iter().find(|timer| self.get(*timer).is_some_and(|at| at <= now))?;
        self.set(timer, None);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_timer_expires_once_and_alone() {
        let now = Instant::now();
        for timer in Timer::ALL {
            let mut timers = Timers::default();
            assert_eq!((timers.next(), timers.expired(now)), (None, None));
            let at = now + Duration::from_secs(1);
            timers.set(timer, Some(at));
            assert!(timers.running(timer));
            assert_eq!((timers.next(), timers.expired(now)), (Some(at), None));
            assert_eq!(timers.expired(at), Some(timer));
            assert!(!timers.running(timer));
            assert_eq!(timers.expired(at), None);
        }
    }

    #[test]
    fn the_hold_timer_goes_before_the_keepalive_timer() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(Timer::Keepalive, Some(now - Duration::from_millis(1)));
        timers.set(Timer::Hold, Some(now));
        assert_eq!(timers.expired(now), Some(Timer::Hold));
        assert_eq!(timers.expired(now), Some(Timer::Keepalive));
    }
}
