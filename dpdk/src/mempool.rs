//! Pools of packet buffers.
//!
//! A buffer has a fixed size: headroom (128 octets, for headers put in front) and a data room. Each registered thread
//! keeps a cache of free buffers, so that taking and giving back touch no shared memory most of the time.
//!
//! A pool lives as long as the process. A packet anywhere (in a lane, in a ring, in a queue of a NIC) points to its
//! pool, and to know that none is left would cost an atomic operation per packet. Pools are made once, at start.

use crate::burst::Burst;
use crate::error::{Errno, Error, Result, c_name};
use crate::mbuf::Mbuf;
use dpdk_sys::rte_mempool;
use std::ffi::c_uint;
use std::fmt;
use std::ptr::NonNull;

/// Headroom that a fresh packet has.
pub const HEADROOM: u16 = dpdk_sys::RTE_PKTMBUF_HEADROOM as u16;

/// Largest cache per thread.
pub const MAX_CACHE: u32 = dpdk_sys::RTE_MEMPOOL_CACHE_MAX_SIZE;

/// Longest name: DPDK adds a prefix of its own to it and to the ring inside.
const NAME_SIZE: usize = 26;

/// A handle to a pool; copies name the same pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mempool {
    raw: NonNull<rte_mempool>,
    data_room: u16,
    capacity: u32,
}

// SAFETY: a mempool is DPDK's multi-producer, multi-consumer structure: caches belong to one lcore id each, which no
// two threads share, and threads without an id go to the ring with atomic operations. It is never freed.
unsafe impl Send for Mempool {}
// SAFETY: as above; no method needs exclusive access.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool of `count` buffers (best: a power of two less one) with room for [`HEADROOM`] + `data_room` octets
    /// each, and `cache` free ones kept per thread. `socket` is a NUMA node, `None` for any.
    pub fn new(name: &str, count: u32, cache: u32, data_room: u16, socket: Option<u32>) -> Result<Self> {
        crate::eal::require()?;
        let c = c_name(name, NAME_SIZE)?;
        let too_many = |what, asked, most| Error::TooMany { what, name: name.to_owned(), asked, most };
        let room = data_room
            .checked_add(HEADROOM)
            .ok_or_else(|| too_many("data room", u64::from(data_room), u64::from(u16::MAX - HEADROOM)))?;
        // a flush may hold one and a half times the cache
        let most = MAX_CACHE.min(count / 3 * 2);
        if cache > most {
            return Err(too_many("cache", u64::from(cache), u64::from(most)));
        }
        let socket = socket.and_then(|s| i32::try_from(s).ok()).unwrap_or(-1);
        // SAFETY: the EAL runs; `c` is a C string that is copied.
        let raw = unsafe { dpdk_sys::rte_pktmbuf_pool_create(c.as_ptr(), count, cache, 0, room, socket) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::create("mempool", name, Errno::last()))?;
        Ok(Self { raw, data_room, capacity: count })
    }

    /// Takes one empty packet; `None` when the pool is exhausted.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the pool lives, `raw` has room for one pointer.
        if unsafe { dpdk_sys::sw_mbuf_alloc_bulk(self.raw.as_ptr(), &mut raw, 1) } != 0 {
            return None;
        }
        // SAFETY: a fresh packet that nothing else refers to.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Takes one packet that holds a copy of `data`; `None` when the pool is exhausted or a buffer too small.
    pub fn alloc_with(&self, data: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.alloc()?;
        mbuf.append(data.len())?.copy_from_slice(data);
        Some(mbuf)
    }

    /// Adds `n` empty packets to the burst, all or none, and returns how many: fewer than `n` are asked for when the
    /// burst has no room for all.
    #[inline]
    pub fn alloc_burst(&self, burst: &mut Burst, n: usize) -> usize {
        let n = n.min(burst.room());
        if n == 0 {
            return 0;
        }
        // SAFETY: the pool lives, and the burst has n free slots from `free_slots` on.
        let ret = unsafe { dpdk_sys::sw_mbuf_alloc_bulk(self.raw.as_ptr(), burst.free_slots(), n as c_uint) };
        if ret != 0 {
            return 0;
        }
        // SAFETY: those n slots hold fresh packets now.
        unsafe { burst.grow(n) };
        n
    }

    /// Free buffers, caches included. Slow, and approximate while other threads use the pool.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives; the counts it reads are only ever integers.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// Buffers taken. Slow, and approximate while other threads use the pool.
    pub fn in_use(&self) -> u32 {
        self.capacity.saturating_sub(self.available())
    }

    /// All its buffers.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Room for data behind the headroom of a fresh packet.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// For queues that take their buffers from it.
    pub(crate) fn as_ptr(&self) -> *mut rte_mempool {
        self.raw.as_ptr()
    }
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool").field("capacity", &self.capacity).field("data_room", &self.data_room).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    #[test]
    fn what_is_dropped_comes_back() {
        let pool = sim::test_pool("mp-leak", 127).expect("pool");
        assert_eq!((pool.available(), pool.in_use()), (127, 0));
        let one = pool.alloc().expect("mbuf");
        let mut burst = Burst::new();
        assert_eq!(pool.alloc_burst(&mut burst, 100), Burst::CAPACITY);
        assert_eq!(pool.in_use(), 65);
        drop(burst.drain().take(10).collect::<Vec<_>>());
        assert_eq!(pool.in_use(), 1, "the rest of a drain is freed");
        drop(one);
        assert_eq!(pool.available(), 127);
    }

    #[test]
    fn an_exhausted_pool_gives_none() {
        let pool = sim::test_pool("mp-empty", 31).expect("pool");
        let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!(all.len(), 31);
        assert_eq!(pool.alloc_burst(&mut Burst::new(), 1), 0);
        drop(all);
        assert_eq!(pool.available(), 31);
    }

    #[test]
    fn packets_may_be_freed_by_another_thread_with_a_cache() {
        let pool = Mempool::new("mp-threads", 511, 32, 2048, None);
        sim::eal().expect("EAL");
        let pool = pool.or_else(|_| Mempool::new("mp-threads", 511, 32, 2048, None)).expect("pool");
        let (send, receive) = std::sync::mpsc::channel::<Mbuf>();
        let freer = std::thread::spawn(move || {
            let _registered = crate::lcore::register().expect("lcore");
            receive.iter().count()
        });
        for _ in 0..10_000 {
            let mbuf = std::iter::repeat_with(|| pool.alloc()).flatten().next().expect("mbuf");
            send.send(mbuf).expect("receiver");
        }
        drop(send);
        assert_eq!(freer.join().expect("thread"), 10_000);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn bad_sizes_and_names_are_refused() {
        let _pool = sim::test_pool("mp-twice", 31).expect("pool");
        let new = |name: &str, count, cache, room| Mempool::new(name, count, cache, room, None).expect_err("refused");
        assert!(matches!(new("mp-twice", 31, 0, 2048), Error::Exists { .. }));
        assert!(matches!(new("mp-x", 31, 31, 2048), Error::TooMany { what: "cache", most: 20, .. }));
        assert!(matches!(new("mp-x", 31, 0, 65500), Error::TooMany { what: "data room", .. }));
        assert!(matches!(new("mp\0x", 31, 0, 2048), Error::BadName(_)));
        assert!(matches!(new("", 31, 0, 2048), Error::BadName(_)));
        assert!(matches!(new("a-name-that-is-far-too-long", 31, 0, 2048), Error::BadName(_)));
        assert!(matches!(new("mp-huge", 100_000_000, 0, 2048), Error::NoMemory { .. }));
    }
}
