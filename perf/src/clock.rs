//! Processor time: what a thread has used, whatever else the machine does meanwhile.

use std::time::Duration;

/// A stop watch of this thread's processor time.
pub struct Clock(Duration);

impl Clock {
    /// Starts now.
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self(Self::read()?))
    }

    /// Since the start, or the last lap.
    pub fn lap(&mut self) -> anyhow::Result<Duration> {
        let now = Self::read()?;
        Ok(now - std::mem::replace(&mut self.0, now))
    }

    fn read() -> anyhow::Result<Duration> {
        Ok(nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
    }
}

/// Pins the thread to the core that is measured, if there is one, and gives the TSC's frequency in Hz.
pub fn pinned() -> anyhow::Result<f64> {
    if fastpath::measure::pin().is_err() {
        eprintln!("not pinned to core {}", fastpath::measure::CORE);
    }
    Ok(dpdk::lcore::tsc_hz()? as f64)
}

/// Minimum, median and maximum of what was measured several times.
pub fn spread(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    [at(0), at(all.len() / 2), at(all.len().saturating_sub(1))]
}
