//! The library's manager: its function pointers for this CPU, and the queue of jobs. One per worker.

use crate::job::{Direction, Job, Outcome, Pending};
use crate::key::LibraryKey;
use crate::vaes::{self, Numbers, Packet, Vaes};
use crate::{Algorithm, Key};
use arrayvec::ArrayVec;
use ipsec_mb_sys::*;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
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

/// Most jobs in one run.
pub const BATCH: usize = 64;

/// For how many packets keys are on their way into the cache at a time: those of the four after the four that are worked on.
pub const AHEAD: usize = 8;

/// For how many packets of one key it is worth while to work out [`Numbers`].
const WORTH: usize = 4;

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
    /// In place; the ICV of what is sealed goes where it belongs, that of what is opened is compared. The packet fits.
    #[inline(always)]
    fn crypt(&self, job: &mut Job<'_>, key: &LibraryKey) -> bool {
        let (call, seals) = match job.direction {
            Direction::Seal => (self.seal, true),
            Direction::Open => (self.open, false),
        };
        let (packet, text_len) = (job.packet.as_mut_ptr(), job.packet.len() - START - ICV);
        let (key, nonce, aad) = (key.gcm(), (&raw const job.nonce).cast(), (&raw const job.aad).cast());
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
    fn authenticate(&self, job: &mut Job<'_>, key: &LibraryKey) -> bool {
        let (key, nonce, aad) = (key.gcm(), (&raw const job.nonce).cast(), (&raw const job.aad).cast());
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

/// Whether a job is for GCM with this key, and its packet for GCM.
#[inline(always)]
fn is_gcm_packet(job: &Job<'_>, key: &Key) -> bool {
    // What one size of key has, the other has.
    key.is(job.algorithm) && job.fits_as(Algorithm::AesGcm128)
}

/// The first four packets by [`Vaes`] side by side, if they are short and have as many blocks. Gives how many they are, and a bit for
/// each that is good.
#[inline(always)]
fn four(vaes: Vaes, jobs: &mut [Job<'_>], keys: &[&Key]) -> Option<(usize, u64)> {
    let (jobs, keys) = (jobs.first_chunk_mut::<4>()?, keys.first_chunk::<4>()?);
    let (algorithm, direction, blocks) = (jobs[0].algorithm, jobs[0].direction, vaes::text_blocks(&jobs[0]));
    let alike = |(job, key): (&Job<'_>, &&Key)| {
        vaes::text_blocks(job) == blocks
            && job.algorithm == algorithm
            && job.direction == direction
            && is_gcm_packet(job, key)
    };
    if blocks > vaes::FEW || !algorithm.is_gcm() || !jobs.iter().zip(keys).all(alike) {
        return None;
    }
    let [a, b, c, d] = keys;
    let keys = [a.own()?, b.own()?, c.own()?, d.own()?];
    // SAFETY: all of them fit AES-GCM, and have as many blocks.
    let done = unsafe { vaes.four(direction, algorithm == Algorithm::AesGcm256, keys, jobs) };
    done.map(|done| (4, done))
}

/// The same with two that are short.
#[inline(always)]
fn two(vaes: Vaes, jobs: &mut [Job<'_>], keys: &[&Key]) -> Option<(usize, u64)> {
    let ([one, other, ..], [one_key, other_key, ..]) = (jobs, keys) else { return None };
    let short = vaes::is_short(one) && vaes::is_short(other);
    let alike = one.algorithm == other.algorithm && one.direction == other.direction && one.algorithm.is_gcm();
    if !(short && alike && is_gcm_packet(one, one_key) && is_gcm_packet(other, other_key)) {
        return None;
    }
    let (direction, aes256) = (one.direction, one.algorithm == Algorithm::AesGcm256);
    let packets = [Packet::new(one, one_key)?, Packet::new(other, other_key)?];
    let [one, other] = vaes.run(direction, aes256, packets, None);
    Some((2, u64::from(one) | u64::from(other) << 1))
}

/// A multi-buffer manager. It may move to another thread, but only one thread at a time may use it.
pub struct Manager {
    raw: NonNull<IMB_MGR>,
    gcm128: Gcm,
    gcm256: Gcm,
    /// AES-GCM by what is faster for packets than the library.
    vaes: Option<Vaes>,
    /// Those of the key of a run, and of none after it.
    numbers: Numbers,
}

// SAFETY: the manager is heap memory of its own without ties to the thread that made it. (`imb_errno`, which the
// library keeps per process, is written and never read by us.)
unsafe impl Send for Manager {}

impl Manager {
    /// Picks the best implementation for this CPU.
    pub fn new() -> Result<Self, Error> {
        let mut manager = Self::library()?;
        manager.vaes = Vaes::detect();
        Ok(manager)
    }

    /// The library alone, also for AES-GCM: to compare with. Keys that another manager has expanded are no keys for it.
    pub fn library() -> Result<Self, Error> {
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
        Ok(Self { raw, gcm128, gcm256, vaes: None, numbers: Numbers::new() })
    }

    pub(crate) fn raw(&self) -> &IMB_MGR {
        // SAFETY: valid from `new` to `drop`; nothing else refers to it.
        unsafe { self.raw.as_ref() }
    }

    pub(crate) fn vaes(&self) -> Option<Vaes> {
        self.vaes
    }

    /// Asks the cache for what a packet of a hundred octets will need of a key of AES-128: the lowest powers of the hash key, and round
    /// keys. What the library needs lies elsewhere, and is fetched when it is used.
    #[inline(always)]
    pub fn prefetch(&self, key: &Key) {
        crate::prefetch(key, self.lines());
    }

    /// The same into the second-level cache, for a packet that the cipher comes to later.
    #[inline(always)]
    pub fn prefetch_far(&self, key: &Key) {
        crate::prefetch_far(key, self.lines());
    }

    #[inline(always)]
    fn lines(&self) -> Range<usize> {
        if self.vaes.is_some() { 1..6 } else { 3..4 }
    }

    /// Performs jobs, the first [`BATCH`] of them, each with its key. A packet that the outcome does not name must be dropped, and what
    /// its payload holds is unspecified: it does not fit the algorithm, or the key or the ICV is wrong. So is what an opened packet has
    /// in the place of its ICV. Where there are several keys, they are asked for in time, but for the first [`AHEAD`], which it is for
    /// the caller to [`Self::prefetch`].
    pub fn run(&mut self, jobs: &mut [Job<'_>], keys: &[&Key]) -> Outcome {
        self.run_beside(jobs, keys, |_| {})
    }

    /// The same, and `beside` is called with each job's number, after the job or as it is put off for the library's queue: the cipher
    /// leaves memory time for something else.
    pub fn run_beside(&mut self, jobs: &mut [Job<'_>], keys: &[&Key], mut beside: impl FnMut(usize)) -> Outcome {
        let len = jobs.len().min(keys.len()).min(BATCH);
        let (jobs, keys) = (&mut jobs[..len], &keys[..len]);
        // What is one key's is in the cache.
        let same = keys.iter().all(|key| std::ptr::eq(*key, keys[0]));
        let ahead = if same { &[] } else { keys };
        let mut known = false;
        let (mut n, mut good, mut later) = (0, 0, 0u64);
        while n < len {
            let (jobs, keys) = (&mut jobs[n..], &keys[n..]);
            let several = self.vaes.and_then(|vaes| four(vaes, jobs, keys).or_else(|| two(vaes, jobs, keys)));
            let taken = if let Some((taken, done)) = several {
                good |= done << n;
                taken
            } else {
                let (job, key) = (&mut jobs[0], keys[0]);
                if same
                    && !known
                    && len - n >= WORTH
                    && vaes::takes_numbers(job)
                    && let (Some(vaes), Some(key)) = (self.vaes, key.own())
                {
                    vaes.fill(&mut self.numbers, key);
                    known = true;
                }
                match self.at_once(job, key, known) {
                    Some(done) => good |= u64::from(done) << n,
                    None => later |= 1 << n,
                }
                1
            };
            ahead.iter().skip(n + AHEAD).take(taken).for_each(|key| self.prefetch(key));
            (n..n + taken).for_each(&mut beside);
            n += taken;
        }
        if let (true, Some(vaes)) = (known, self.vaes) {
            vaes.erase(&mut self.numbers);
        }
        if later != 0 {
            good |= self.run_burst(jobs, keys, later);
        }
        Outcome(good)
    }

    /// Performs a job at once where that is faster. That is chosen here, by measurement: AES-GCM by [`Vaes`] takes a third of the time of
    /// the library for short packets, and 0.9 times for long ones; without it, and for GMAC, the library's direct interface takes 45
    /// ticks a packet less than its queue. `None`: it is for the queue. `false`: it is not good.
    #[inline(always)]
    fn at_once(&self, job: &mut Job<'_>, key: &Key, known: bool) -> Option<bool> {
        let aes256 = match job.algorithm {
            Algorithm::AesGcm128 => false,
            Algorithm::AesGcm256 => true,
            _ => return self.by_library(job, key),
        };
        if !is_gcm_packet(job, key) {
            return Some(false);
        }
        if let Some(key) = key.library() {
            return Some(if aes256 { &self.gcm256 } else { &self.gcm128 }.crypt(job, key));
        }
        let direction = job.direction;
        let (Some(vaes), Some(packet)) = (self.vaes, Packet::new(job, key)) else { return Some(false) };
        let [good] = vaes.run(direction, aes256, [packet], known.then_some(&self.numbers));
        Some(good)
    }

    #[inline(never)]
    fn by_library(&self, job: &mut Job<'_>, key: &Key) -> Option<bool> {
        let Some(library) = key.library().filter(|_| key.is(job.algorithm) && job.fits()) else { return Some(false) };
        match job.algorithm {
            Algorithm::AesGmac128 => Some(self.gcm128.authenticate(job, library)),
            Algorithm::AesGmac256 => Some(self.gcm256.authenticate(job, library)),
            _ => None,
        }
    }

    /// Those whose bits are set in `later`, by the library's queue.
    fn run_burst(&mut self, jobs: &mut [Job<'_>], keys: &[&Key], later: u64) -> u64 {
        let mgr = self.raw.as_ptr();
        let (Some(next), Some(submit), Some(flush), Some(queued)) =
            (self.raw().get_next_burst, self.raw().submit_burst, self.raw().flush_burst, self.raw().queue_size)
        else {
            return 0;
        };
        let queue = jobs.iter_mut().zip(keys).enumerate().filter(|(i, _)| later >> i & 1 == 1);
        let mut queue: ArrayVec<(usize, Pending<'_, '_>), BATCH> =
            queue.filter_map(|(i, (job, key))| Some((i, Pending::new(job, key.library()?)))).collect();
        let mut slots = [std::ptr::null_mut::<IMB_JOB>(); BATCH];
        let wanted = queue.len();
        // SAFETY: the queue is empty between runs and longer than a batch; `slots` has room for `wanted` pointers.
        let got = unsafe { next(mgr, wanted as u32, slots.as_mut_ptr()) } as usize;
        if got < wanted {
            return 0;
        }
        for (n, ((_, pending), &slot)) in queue.iter_mut().zip(&slots[..wanted]).enumerate() {
            pending.prepare_burst();
            // SAFETY: `slot` is a job of the manager, ours until it is submitted. What `fill` points it to (packet, key
            // and the scratch in `pending`) stays borrowed and unmoved until this function returns, and no job is left in
            // the manager then.
            unsafe { pending.fill(&mut *slot, n) };
        }
        let mut good = 0;
        let mut finish = |slots: &[*mut IMB_JOB], n: usize| {
            for &slot in slots.iter().take(n) {
                // SAFETY: the library hands back jobs that it has finished; they stay readable until the next call.
                let (status, n) = unsafe { ((*slot).status, (*slot).user_data as usize) };
                if let Some((i, pending)) = queue.get_mut(n)
                    && status == IMB_STATUS_COMPLETED
                {
                    good |= u64::from(pending.finish()) << *i;
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
        if let Some(vaes) = self.vaes {
            vaes.erase(&mut self.numbers);
        }
        // SAFETY: allocated by `alloc_mb_mgr`, not used afterwards.
        unsafe { free_mb_mgr(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("arch", &self.raw().used_arch).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_of_a_key_is_left_after_a_run() {
        let mut manager = Manager::new().unwrap();
        let Some(vaes) = manager.vaes else { return println!("skipped: no VAES with AVX-512") };
        let key = Key::new(&manager, Algorithm::AesGcm128, &[7; 16], &[]).unwrap();
        vaes.fill(&mut manager.numbers, key.own().unwrap());
        assert!(!manager.numbers.is_erased());
        let mut packets = [[5; 1024]; WORTH];
        let mut jobs = packets.each_mut().map(|p| Job::new(Algorithm::AesGcm128, Direction::Seal, p, [1; 4], None));
        assert!(manager.run(&mut jobs, &[&key; WORTH]).all_good(WORTH));
        assert!(manager.numbers.is_erased());
    }
}
