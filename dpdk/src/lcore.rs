//! Threads: registration with DPDK, pinning, and the cycle counter.
//!
//! A registered thread has an lcore id, and with it a cache of its own in every mempool; without, each buffer is
//! taken from the pool's shared ring (about 20 times the price). A worker registers first, then pins itself.

use crate::error::{Errno, Error, Result};
use std::marker::PhantomData;

/// Membership of the current thread in DPDK's lcores; ends when dropped. Not `Send`: it is about this thread.
#[derive(Debug)]
pub struct Registration {
    lcore: u32,
    _this_thread: PhantomData<*const ()>,
}

impl Registration {
    /// The lcore id given to the thread.
    pub fn lcore(&self) -> u32 {
        self.lcore
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: this thread was registered by `register`, since a Registration does not leave its thread.
        unsafe { dpdk_sys::rte_thread_unregister() }
    }
}

/// Registers the current thread. The thread that called [`Eal::init`](crate::Eal::init) is an lcore already and is
/// refused, as is a second registration.
pub fn register() -> Result<Registration> {
    crate::eal::require()?;
    if let Some(lcore) = current() {
        return Err(Error::LcoreAlready(lcore));
    }
    // SAFETY: the EAL runs, and this thread is not an lcore.
    if unsafe { dpdk_sys::rte_thread_register() } != 0 {
        return Err(Error::Lcore { errno: Errno::last() });
    }
    Ok(Registration { lcore: current().unwrap_or(u32::MAX), _this_thread: PhantomData })
}

/// The lcore id of the current thread, if it has one.
pub fn current() -> Option<u32> {
    // SAFETY: reads thread-local storage.
    Some(unsafe { dpdk_sys::sw_lcore_id() }).filter(|&id| id != u32::MAX)
}

/// Pins the current thread to one CPU.
pub fn pin(cpu: usize) -> Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) { Ok(()) } else { Err(Error::Pin(cpu)) }
}

/// The time stamp counter: cycles of constant rate, comparable across CPUs.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Rate of [`tsc`] in cycles per second, as measured by the EAL.
pub fn tsc_hz() -> Result<u64> {
    crate::eal::require()?;
    // SAFETY: reads what the EAL measured when it was initialised.
    Ok(unsafe { dpdk_sys::rte_get_tsc_hz() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_registers_once_and_gives_its_id_back() {
        crate::sim::eal().expect("EAL");
        std::thread::spawn(|| {
            assert_eq!(current(), None);
            let registration = register().expect("registered");
            assert_eq!(current(), Some(registration.lcore()));
            assert!(matches!(register(), Err(Error::LcoreAlready(_))));
            drop(registration);
            assert_eq!(current(), None);
            register().expect("registered again");
        })
        .join()
        .expect("thread");
    }

    #[test]
    fn pinning_to_a_cpu_that_is_not_there_fails() {
        assert!(matches!(pin(1000), Err(Error::Pin(1000))));
    }

    #[test]
    fn the_counter_runs() {
        crate::sim::eal().expect("EAL");
        assert!(tsc_hz().expect("rate") > 100_000_000);
        let before = tsc();
        assert!(tsc() >= before);
    }
}
