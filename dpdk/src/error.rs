//! What can go wrong, whose fault it is and what to do about it.
//!
//! DPDK reports errors as numbers and writes the reason to its log. The errors here name the thing that failed and, for
//! what an operator meets (no huge pages, no such device, a missing capability), the remedy.

use std::ffi::{CStr, CString};
use std::fmt;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The configuration names something that is not there, or is too small.
    Configuration,
    /// The machine is not prepared: huge pages, capabilities, drivers, memory.
    Host,
    /// The calling program: order of calls, name used twice.
    Caller,
    /// A driver refused what its description of itself permits.
    Driver,
}

/// An error number of DPDK (`errno` values and a few of its own).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// What the last failed call of this thread left in `rte_errno`.
    pub(crate) fn last() -> Self {
        // SAFETY: reads thread-local storage.
        Self(unsafe { dpdk_sys::sw_errno() })
    }

    fn is(self, errno: nix::errno::Errno) -> bool {
        self.0 == errno as i32
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: returns a NUL-terminated string in a buffer of this thread, valid until its next call.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

/// An error of DPDK.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something was asked for before [`Eal::init`](crate::Eal::init).
    #[error("DPDK is not initialised yet")]
    NotInitialized,
    /// DPDK cannot be initialised twice in a process, not even after a failure.
    #[error("DPDK was already initialised, or failed to, in this process")]
    AlreadyInitialized,
    /// The installed libraries are too old.
    #[error("DPDK {found} is installed, {needed} or later is needed")]
    Version {
        /// Installed version.
        found: String,
        /// Oldest version that works.
        needed: &'static str,
    },
    /// The EAL found no huge pages.
    #[error(
        "DPDK found no free huge pages ({errno}): reserve some (sysctl vm.nr_hugepages=512), mount hugetlbfs on \
         /dev/hugepages, or run without them, at half the speed (EAL arguments --no-huge -m 512)"
    )]
    HugePages {
        /// Its reason.
        errno: Errno,
    },
    /// The kernel refused for want of a capability.
    #[error("{what}: not permitted; run as root or give the process {capabilities}")]
    Permission {
        /// What was refused.
        what: String,
        /// Capabilities that would do.
        capabilities: &'static str,
    },
    /// The EAL failed for another reason.
    #[error("DPDK's EAL did not initialise with arguments {args:?}: {errno}; its log says more")]
    Eal {
        /// Arguments.
        args: Vec<String>,
        /// Its reason.
        errno: Errno,
    },
    /// A name or an argument has a NUL octet or is too long.
    #[error("{0:?} is not usable as a name or argument: it contains a NUL octet or is too long")]
    BadName(String),
    /// Pools, rings and tables are known by name in the whole process.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// Kind.
        what: &'static str,
        /// Name.
        name: String,
    },
    /// Not enough memory in the EAL's heap.
    #[error(
        "not enough memory for {what} {name:?}: reserve more huge pages, give the EAL more (-m), or make it smaller"
    )]
    NoMemory {
        /// Kind.
        what: &'static str,
        /// Name.
        name: String,
    },
    /// A size that DPDK cannot do.
    #[error("{what} of {name:?}: {asked} asked for, at most {most} possible")]
    TooMany {
        /// What of it.
        what: &'static str,
        /// Name of the port or table.
        name: String,
        /// Asked for.
        asked: u64,
        /// Limit.
        most: u64,
    },
    /// The network interface of a vdev is not there.
    #[error("{devargs:?}: there is no network interface {interface:?} (in this network namespace)")]
    NoInterface {
        /// Device arguments.
        devargs: String,
        /// Interface.
        interface: String,
    },
    /// No driver took the device.
    #[error(
        "{devargs:?} could not be attached ({errno}): check that the device exists, that a PCI device is bound to \
         vfio-pci (dpdk-devbind.py --status), and that the driver is installed; the EAL's log says more"
    )]
    NoDevice {
        /// Device arguments.
        devargs: String,
        /// Reason.
        errno: Errno,
    },
    /// A port has one owner.
    #[error("port {0:?} is in use already")]
    PortInUse(String),
    /// A call is not possible in the state that the port is in.
    #[error("port {port:?}: {what}")]
    PortState {
        /// Port.
        port: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A driver refused.
    #[error("port {port:?}: {what} failed: {errno}")]
    Driver {
        /// Port.
        port: String,
        /// What was asked of it.
        what: &'static str,
        /// Its reason.
        errno: Errno,
    },
    /// The thread could not become an lcore.
    #[error("thread cannot be registered with DPDK: {errno} (at most 128 threads, and no secondary processes)")]
    Lcore {
        /// Reason.
        errno: Errno,
    },
    /// The thread is an lcore already.
    #[error("thread is registered with DPDK already, as lcore {0}")]
    LcoreAlready(u32),
    /// The thread could not be pinned.
    #[error("thread cannot be pinned to CPU {0}: it is not online or not allowed to this process")]
    Pin(usize),
    /// The affinity of the calling thread could not be read or restored.
    #[error("CPU affinity of the calling thread: {0}")]
    Affinity(nix::errno::Errno),
}

impl Error {
    /// Who can do something about it.
    pub fn fault(&self) -> Fault {
        match self {
            Error::NotInitialized | Error::AlreadyInitialized | Error::Exists { .. } | Error::PortState { .. } => {
                Fault::Caller
            }
            Error::LcoreAlready(_) => Fault::Caller,
            Error::Version { .. } | Error::HugePages { .. } | Error::Permission { .. } | Error::NoMemory { .. } => {
                Fault::Host
            }
            Error::Lcore { .. } | Error::Affinity(_) => Fault::Host,
            Error::Eal { .. } | Error::BadName(_) | Error::TooMany { .. } | Error::NoInterface { .. } => {
                Fault::Configuration
            }
            Error::NoDevice { .. } | Error::PortInUse(_) | Error::Pin(_) => Fault::Configuration,
            Error::Driver { .. } => Fault::Driver,
        }
    }

    /// The EAL's failure, told apart as far as it can be.
    pub(crate) fn eal(args: &[&str], errno: Errno, huge_pages_free: Option<u64>) -> Self {
        let no_huge = args.contains(&"--no-huge");
        if errno.is(nix::errno::Errno::EALREADY) {
            Error::AlreadyInitialized
        } else if !no_huge && huge_pages_free == Some(0) {
            Error::HugePages { errno }
        } else if errno.is(nix::errno::Errno::EPERM) || errno.is(nix::errno::Errno::EACCES) {
            Error::Permission {
                what: "initialising DPDK's EAL".to_owned(),
                capabilities: "CAP_IPC_LOCK and CAP_SYS_ADMIN, and write access to /dev/hugepages and /var/run/dpdk",
            }
        } else {
            Error::Eal { args: args.iter().map(|&a| a.to_owned()).collect(), errno }
        }
    }

    /// Failure to create a named object.
    pub(crate) fn create(what: &'static str, name: &str, errno: Errno) -> Self {
        if errno.is(nix::errno::Errno::EEXIST) {
            Error::Exists { what, name: name.to_owned() }
        } else if errno.is(nix::errno::Errno::ENAMETOOLONG) {
            Error::BadName(name.to_owned())
        } else {
            Error::NoMemory { what, name: name.to_owned() }
        }
    }

    /// A negative return value of a driver's call.
    pub(crate) fn driver(port: &str, what: &'static str, ret: i32) -> Self {
        Error::Driver { port: port.to_owned(), what, errno: Errno(-ret) }
    }
}

/// A C string of at most `most` octets, NUL included.
pub(crate) fn c_name(name: &str, most: usize) -> Result<CString> {
    match CString::new(name) {
        Ok(c) if c.as_bytes_with_nul().len() <= most && !name.is_empty() => Ok(c),
        _ => Err(Error::BadName(name.to_owned())),
    }
}
