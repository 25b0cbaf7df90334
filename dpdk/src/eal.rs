//! The environment abstraction layer: memory, devices and threads of DPDK, one per process.
//!
//! `rte_eal_init` pins the thread that calls it to the main lcore, and every thread that is started from it later
//! inherits that: a control plane would end on one CPU. So [`Eal::init`] restores the affinity that it found. It also
//! asks for one lcore only unless told otherwise: DPDK would start a (sleeping) thread for every CPU, while our
//! workers are ordinary threads that [register](crate::lcore::register) themselves.
//!
//! There is no clean-up: memory of the EAL is referenced by whatever packet is still on its way. Give `--in-memory`
//! (with huge pages) so that nothing stays in the file system.

use crate::error::{Errno, Error, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

/// Oldest version (year, month) whose interface and behaviour we rely on.
const MINIMUM: (u32, u32) = (22, 11);

static TRIED: AtomicBool = AtomicBool::new(false);
static READY: AtomicBool = AtomicBool::new(false);

/// Proof that DPDK runs.
#[derive(Debug)]
#[non_exhaustive]
pub struct Eal {}

impl Eal {
    /// Initialises DPDK, once per process. `args` are the EAL's, without the program name.
    pub fn init(args: &[&str]) -> Result<Eal> {
        check_version()?;
        if TRIED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialized);
        }
        let me = Pid::from_raw(0);
        let affinity = sched_getaffinity(me).map_err(Error::Affinity)?;
        let mut all = vec!["softwired".to_owned()];
        if !args.iter().any(|a| is_core_option(a)) {
            let first = (0..CpuSet::count()).find(|&c| affinity.is_set(c) == Ok(true)).unwrap_or(0);
            all.push(format!("--lcores=0@{first}"));
        }
        all.extend(args.iter().map(|&a| a.to_owned()));
        let mut argv = Vec::with_capacity(all.len() + 1);
        for arg in all {
            // leaked: options may be pointed into for as long as the process runs
            argv.push(CString::new(arg.clone()).map_err(|_| Error::BadName(arg))?.into_raw());
        }
        let argc = argv.len() as c_int;
        argv.push(std::ptr::null_mut());
        let argv: &'static mut [*mut c_char] = argv.leak();
        // SAFETY: argv has argc writable C strings and a null behind them, which live for ever; TRIED makes this the
        // only call.
        let used = unsafe { dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        let restored = sched_setaffinity(me, &affinity);
        if used < 0 {
            return Err(Error::eal(args, Errno::last(), huge_pages_free()));
        }
        restored.map_err(Error::Affinity)?;
        READY.store(true, Ordering::SeqCst);
        Ok(Eal {})
    }

    /// Version of the DPDK that runs, such as "DPDK 22.11.11".
    pub fn version() -> String {
        // SAFETY: a static C string.
        unsafe { CStr::from_ptr(dpdk_sys::rte_version()) }.to_string_lossy().into_owned()
    }
}

/// What everything that touches the EAL's memory asks first.
pub(crate) fn require() -> Result<()> {
    if READY.load(Ordering::SeqCst) { Ok(()) } else { Err(Error::NotInitialized) }
}

fn check_version() -> Result<()> {
    // SAFETY: both return a constant of the library.
    let version = unsafe { (dpdk_sys::rte_version_year(), dpdk_sys::rte_version_month()) };
    if version < MINIMUM { Err(Error::Version { found: Eal::version(), needed: "22.11" }) } else { Ok(()) }
}

/// Options that choose lcores.
fn is_core_option(arg: &str) -> bool {
    arg.starts_with("--lcores")
        || (!arg.starts_with("--") && ["-l", "-c", "-s", "-S"].iter().any(|o| arg.starts_with(o)))
}

/// Free huge pages of all sizes; `None` when the kernel does not say.
fn huge_pages_free() -> Option<u64> {
    let mut free = None;
    for size in std::fs::read_dir("/sys/kernel/mm/hugepages").ok()?.flatten() {
        let count = std::fs::read_to_string(size.path().join("free_hugepages")).ok()?;
        free = Some(free.unwrap_or(0) + count.trim().parse::<u64>().ok()?);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_options_are_recognised() {
        for option in ["-l", "-l0-3", "--lcores=0@1", "-c3", "-S"] {
            assert!(is_core_option(option), "{option}");
        }
        for option in ["--no-huge", "--log-level=lib.eal:1", "-m", "--file-prefix=l"] {
            assert!(!is_core_option(option), "{option}");
        }
    }

    #[test]
    fn one_eal_per_process() {
        crate::sim::eal().expect("EAL");
        assert!(matches!(Eal::init(&[]), Err(Error::AlreadyInitialized)));
        assert!(Eal::version().starts_with("DPDK "));
    }

    #[test]
    fn missing_huge_pages_are_named() {
        let text = Error::eal(&[], Errno(13), Some(0)).to_string();
        assert!(text.contains("nr_hugepages"), "{text}");
        assert!(matches!(Error::eal(&["--no-huge"], Errno(13), Some(0)), Error::Permission { .. }));
        assert!(matches!(Error::eal(&[], Errno(22), Some(9)), Error::Eal { .. }));
    }
}
