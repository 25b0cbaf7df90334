//! The library's manager: its function pointers for this CPU, and the queue of jobs. One per worker.

use crate::Algorithm;
use crate::Key;
use crate::batch::{Batch, Direction, Job, Outcome, Pending};
use ipsec_mb_sys::*;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Why no manager could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The library found at run time differs in its first two version numbers from the one compiled against, or is
    /// older than 1.3: its structures have another layout.
    Version {
        /// Version found, as `major << 16 | minor << 8 | patch`.
        found: u32,
        /// Version compiled against.
        compiled: u32,
    },
    /// Out of memory.
    Memory,
    /// The CPU lacks what the library needs (AES-NI, SSE4.2, PCLMULQDQ).
    Cpu,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Version { found, compiled } => {
                let v = |n: u32| format!("{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255);
                write!(f, "IPsec-MB {} found, built for {}, 1.3 needed", v(found), v(compiled))
            }
            Self::Memory => f.write_str("no memory for the IPsec-MB manager"),
            Self::Cpu => f.write_str("the CPU lacks AES-NI, PCLMULQDQ or SSE4.2, which IPsec-MB needs"),
        }
    }
}

impl std::error::Error for Error {}

const OLDEST: u32 = 1 << 16 | 3 << 8;

type GcmFn = unsafe extern "C" fn(
    *const gcm_key_data,
    *mut gcm_context_data,
    *mut u8,
    *const u8,
    u64,
    *const u8,
    *const u8,
    u64,
    *mut u8,
    u64,
);

/// SPI and sequence number.
const HEADER: usize = 8;
/// The text of GCM comes after the IV.
const START: usize = HEADER + 8;
const ICV: usize = 16;

struct Gcm {
    seal: GcmFn,
    open: GcmFn,
    mac_init: unsafe extern "C" fn(*const gcm_key_data, *mut gcm_context_data, *const u8, u64),
    mac_update: unsafe extern "C" fn(*const gcm_key_data, *mut gcm_context_data, *const u8, u64),
    mac_finish: unsafe extern "C" fn(*const gcm_key_data, *mut gcm_context_data, *mut u8, u64),
}

impl Gcm {
    /// In place; the ICV of what is sealed goes where it belongs, that of what is opened is compared. `false` also: the packet
    /// does not fit.
    #[inline(always)]
    fn crypt(&self, job: &mut Job<'_>) -> bool {
        // What one size of key has, the other has.
        if !job.fits_as(Algorithm::AesGcm128) {
            return false;
        }
        let (call, seals) = match job.direction {
            Direction::Seal => (self.seal, true),
            Direction::Open => (self.open, false),
        };
        let (packet, text_len) = (job.packet.as_mut_ptr(), job.packet.len() - START - ICV);
        let (key, nonce, aad) = (job.key.gcm(), (&raw const job.nonce).cast(), (&raw const job.aad).cast());
        let (mut context, mut computed) = (MaybeUninit::<gcm_context_data>::uninit(), [0u8; ICV]);
        // SAFETY: text and ICV lie in the job's packet, which is mutably borrowed and longer than START + ICV, and is worked on
        // in place as the library allows; nonce (12 octets) and AAD (up to 12) are of 16 octets each; the key holds initialized
        // octets of the size it reads; the context is scratch space that the call initializes.
        unsafe {
            let text = packet.add(START);
            let tag = if seals { text.add(text_len) } else { computed.as_mut_ptr() };
            let (len, aad_len) = (text_len as u64, job.aad_len.into());
            call(key, context.as_mut_ptr(), text, text, len, nonce, aad, aad_len, tag, ICV as u64);
        }
        seals || is_icv(job.packet, computed)
    }

    /// The same without encryption: the IV and the text are authenticated (RFC 4543, section 3.3).
    fn authenticate(&self, job: &mut Job<'_>) -> bool {
        if !job.fits() {
            return false;
        }
        let (key, nonce, aad) = (job.key.gcm(), (&raw const job.nonce).cast(), (&raw const job.aad).cast());
        let (mut context, mut computed) = (MaybeUninit::<gcm_context_data>::uninit(), [0u8; ICV]);
        let text = &job.packet[HEADER..job.packet.len() - ICV];
        // SAFETY: as in `crypt`; `mac_init` initializes the context.
        unsafe {
            let context = context.as_mut_ptr();
            (self.mac_init)(key, context, nonce, 12);
            (self.mac_update)(key, context, aad, job.aad_len.into());
            (self.mac_update)(key, context, text.as_ptr(), text.len() as u64);
            (self.mac_finish)(key, context, computed.as_mut_ptr(), ICV as u64);
        }
        match (job.direction, job.packet.last_chunk_mut::<ICV>()) {
            (Direction::Seal, Some(icv)) => {
                *icv = computed;
                true
            }
            _ => is_icv(job.packet, computed),
        }
    }
}

/// Whether a packet ends with this ICV. As one number: the time taken tells nothing of where they differ (RFC 4303, section
/// 3.4.4.1).
#[inline(always)]
fn is_icv(packet: &[u8], computed: [u8; ICV]) -> bool {
    packet.last_chunk::<ICV>().is_some_and(|icv| u128::from_le_bytes(computed) ^ u128::from_le_bytes(*icv) == 0)
}

/// A multi-buffer manager. It may move to another thread, but only one thread at a time may use it.
pub struct Manager {
    raw: NonNull<IMB_MGR>,
    gcm128: Gcm,
    gcm256: Gcm,
    /// GCM takes the powers of the hash key from the end of [`Key`], where the lowest of 48 is; otherwise from the middle,
    /// where there are 8.
    powers_last: bool,
}

// SAFETY: the manager is heap memory of its own without ties to the thread that made it. (`imb_errno`, which the
// library keeps per process, is written and never read by us.)
unsafe impl Send for Manager {}

impl Manager {
    /// Picks the best implementation for this CPU.
    pub fn new() -> Result<Self, Error> {
        // SAFETY: no preconditions.
        let found = unsafe { imb_get_version() };
        if found < OLDEST || found >> 8 != IMB_VERSION_NUM >> 8 {
            return Err(Error::Version { found, compiled: IMB_VERSION_NUM });
        }
        // SAFETY: no preconditions; the result is checked.
        let raw = NonNull::new(unsafe { alloc_mb_mgr(0) }).ok_or(Error::Memory)?;
        let mut arch = IMB_ARCH_NONE;
        // SAFETY: `raw` was just allocated by the library, which initializes it here.
        let mgr = unsafe {
            init_mb_mgr_auto(raw.as_ptr(), &mut arch);
            raw.as_ref()
        };
        let gcm = |seal, open, mac_init, mac_update, mac_finish| {
            let known = arch != IMB_ARCH_NONE;
            known.then_some(())?;
            Some(Gcm {
                seal: seal?,
                open: open?,
                mac_init: mac_init?,
                mac_update: mac_update?,
                mac_finish: mac_finish?,
            })
        };
        let gcm128 = gcm(mgr.gcm128_enc, mgr.gcm128_dec, mgr.gmac128_init, mgr.gmac128_update, mgr.gmac128_finalize);
        let gcm256 = gcm(mgr.gcm256_enc, mgr.gcm256_dec, mgr.gmac256_init, mgr.gmac256_update, mgr.gmac256_finalize);
        let (Some(gcm128), Some(gcm256)) = (gcm128, gcm256) else {
            // SAFETY: allocated above, not used afterwards.
            unsafe { free_mb_mgr(raw.as_ptr()) };
            return Err(Error::Cpu);
        };
        let powers_last = arch == IMB_ARCH_AVX512 && std::arch::is_x86_feature_detected!("vaes");
        Ok(Self { raw, gcm128, gcm256, powers_last })
    }

    pub(crate) fn raw(&self) -> &IMB_MGR {
        // SAFETY: valid from `new` to `drop`; nothing else refers to it.
        unsafe { self.raw.as_ref() }
    }

    /// Asks the cache for what a packet of a hundred octets will need of a key: round keys, and the lowest powers of the hash
    /// key, wherever this processor's code has them.
    #[inline(always)]
    pub fn prefetch(&self, key: &Key) {
        if self.powers_last {
            crate::prefetch(key, 0..3);
            crate::prefetch(key, 14..16);
        } else {
            crate::prefetch(key, 0..6);
        }
    }

    /// Performs a job at once where that is faster: GCM and GMAC, whose direct interface saves 45 ticks a packet. `None`: it is
    /// for a [`Batch`]. `false`: the packet does not fit the algorithm, or the key or the ICV is wrong; it must be dropped,
    /// and what its payload holds then is unspecified.
    #[inline(always)]
    pub fn at_once(&mut self, job: &mut Job<'_>) -> Option<bool> {
        let gcm = match job.algorithm {
            Algorithm::AesGcm128 => &self.gcm128,
            Algorithm::AesGcm256 => &self.gcm256,
            _ => return self.gmac(job),
        };
        Some(job.key.is(job.algorithm) && gcm.crypt(job))
    }

    fn gmac(&mut self, job: &mut Job<'_>) -> Option<bool> {
        let gcm = match job.algorithm {
            Algorithm::AesGmac128 => &self.gcm128,
            Algorithm::AesGmac256 => &self.gcm256,
            _ => return None,
        };
        Some(job.key.is(job.algorithm) && gcm.authenticate(job))
    }

    /// Performs every job of the batch. A packet that the outcome does not name must be dropped: its ICV was wrong,
    /// or (which would be a bug) the library refused it; what its payload holds then is unspecified.
    #[inline]
    pub fn run(&mut self, batch: &mut Batch<'_>) -> Outcome {
        let jobs = batch.jobs();
        let (mut good, mut burst) = (0, 0);
        for (i, pending) in jobs.iter_mut().enumerate() {
            match self.at_once(&mut pending.job) {
                Some(done) => good |= u64::from(done) << i,
                None => burst |= 1 << i,
            }
        }
        if burst != 0 {
            good |= self.run_burst(jobs, burst);
        }
        Outcome(good)
    }

    /// Those whose bits are set in `burst`, by the library's queue.
    fn run_burst(&mut self, jobs: &mut [Pending<'_>], burst: u64) -> u64 {
        let mgr = self.raw.as_ptr();
        let (Some(next), Some(submit), Some(flush), Some(queued)) =
            (self.raw().get_next_burst, self.raw().submit_burst, self.raw().flush_burst, self.raw().queue_size)
        else {
            return 0;
        };
        let mut slots = [std::ptr::null_mut::<IMB_JOB>(); crate::BATCH];
        let wanted = burst.count_ones() as usize;
        // SAFETY: the queue is empty between runs and longer than a batch; `slots` has room for `wanted` pointers.
        let got = unsafe { next(mgr, wanted as u32, slots.as_mut_ptr()) } as usize;
        if got < wanted {
            return 0;
        }
        let bursting = jobs.iter_mut().enumerate().filter(|(i, _)| burst >> i & 1 == 1);
        for ((i, job), &slot) in bursting.zip(&slots[..wanted]) {
            job.prepare_burst();
            // SAFETY: `slot` is a job of the manager, ours until it is submitted. What `fill` points it to (packet, key
            // and the scratch in `job`) stays borrowed and unmoved until this function returns, and no job is left in
            // the manager then.
            unsafe { job.fill(&mut *slot, i) };
        }
        let mut good = 0;
        let mut finish = |slots: &[*mut IMB_JOB], n: usize| {
            for &slot in slots.iter().take(n) {
                // SAFETY: the library hands back jobs that it has finished; they stay readable until the next call.
                let (status, index) = unsafe { ((*slot).status, (*slot).user_data as usize) };
                if let Some(job) = jobs.get_mut(index)
                    && status == IMB_STATUS_COMPLETED
                {
                    good |= u64::from(job.finish()) << index;
                }
            }
        };
        // SAFETY: `wanted` jobs were obtained and filled; the array has room for all that can come back.
        let n = unsafe { submit(mgr, wanted as u32, slots.as_mut_ptr()) } as usize;
        finish(&slots, n);
        // SAFETY: the manager is valid and `slots` has room for as many as are asked for.
        while unsafe { queued(mgr) } != 0 {
            // SAFETY: as above.
            let n = unsafe { flush(mgr, slots.len() as u32, slots.as_mut_ptr()) } as usize;
            if n == 0 {
                // The library would keep pointers into memory that is about to be reused.
                std::process::abort();
            }
            finish(&slots, n);
        }
        good
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: allocated by `alloc_mb_mgr`, not used afterwards.
        unsafe { free_mb_mgr(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("arch", &self.raw().used_arch).finish()
    }
}
