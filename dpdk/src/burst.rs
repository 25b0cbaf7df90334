//! A burst: the fixed array of packets that queues and pools exchange.

use crate::mbuf::Mbuf;
use dpdk_sys::rte_mbuf;
use std::ffi::c_uint;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Up to 64 owned packets in order of arrival. Dropping it frees them.
///
/// Invariant: the first `len` slots hold packets, the others nothing.
pub struct Burst {
    len: usize,
    slots: [MaybeUninit<Mbuf>; Burst::CAPACITY],
}

impl Burst {
    /// How many packets fit.
    pub const CAPACITY: usize = 64;

    /// An empty burst.
    #[inline]
    pub const fn new() -> Self {
        Self { len: 0, slots: [const { MaybeUninit::uninit() }; Self::CAPACITY] }
    }

    /// Packets in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it has no room.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len >= Self::CAPACITY
    }

    /// Free slots.
    #[inline]
    pub fn room(&self) -> usize {
        Self::CAPACITY - self.len
    }

    /// Adds a packet at the end; a full burst hands it back.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last packet.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the slot was below `len` and is not any more: its packet moves out.
        Some(unsafe { self.slots[self.len].assume_init_read() })
    }

    /// Takes all packets in order; those that the iterator does not reach are freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let end = std::mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }

    /// The packets in order.
    #[inline]
    pub fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: the first `len` slots are initialised.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr().cast(), self.len) }
    }

    /// The packets in order.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` slots are initialised, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len) }
    }

    /// Frees all packets.
    #[inline]
    pub fn clear(&mut self) {
        let end = std::mem::take(&mut self.len);
        free(&mut self.slots[..end]);
    }

    /// The packets as DPDK takes them: `Mbuf` is transparent over a pointer.
    #[inline]
    pub(crate) fn used_slots(&mut self) -> *mut *mut rte_mbuf {
        self.slots.as_mut_ptr().cast()
    }

    /// The free slots, of which there are `room()`, for DPDK to fill from the first on.
    #[inline]
    pub(crate) fn free_slots(&mut self) -> *mut *mut rte_mbuf {
        self.slots[self.len..].as_mut_ptr().cast()
    }

    /// Takes over packets that were put into the free slots.
    ///
    /// # Safety
    /// The first `n` free slots hold packets that the caller owned and that meet the invariant of [`Mbuf`].
    #[inline]
    pub(crate) unsafe fn grow(&mut self, n: usize) {
        debug_assert!(n <= self.room());
        self.len += n;
    }

    /// Forgets the first packets, whose owner is another now, and moves the rest to the front.
    ///
    /// # Safety
    /// `n <= len()`, and those packets were given away.
    #[inline]
    pub(crate) unsafe fn forget_front(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        let rest = self.len - n;
        if rest > 0 {
            let slots = self.slots.as_mut_ptr();
            // SAFETY: both ranges lie in the array; what is overwritten is no longer ours.
            unsafe { std::ptr::copy(slots.add(n), slots, rest) };
        }
        self.len = rest;
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Burst {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Packets leaving a [`Burst`].
#[derive(Debug)]
pub struct Drain<'a> {
    burst: &'a mut Burst,
    next: usize,
    end: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        let slot = &self.burst.slots[self.next];
        self.next += 1;
        // SAFETY: slots from `next` to `end` held packets when the drain began, and each is passed once.
        Some(unsafe { slot.assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    #[inline]
    fn drop(&mut self) {
        free(&mut self.burst.slots[self.next..self.end]);
    }
}

/// Frees packets in one call.
#[inline]
fn free(slots: &mut [MaybeUninit<Mbuf>]) {
    if !slots.is_empty() {
        // SAFETY: called for slots that hold packets, which the owner no longer counts as its own.
        unsafe { dpdk_sys::rte_pktmbuf_free_bulk(slots.as_mut_ptr().cast(), slots.len() as c_uint) }
    }
}

const _: () = assert!(size_of::<Mbuf>() == size_of::<NonNull<rte_mbuf>>());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    #[test]
    fn order_is_kept_and_a_full_burst_hands_back() {
        let pool = sim::test_pool("bu-order", 127).expect("pool");
        let mut burst = Burst::new();
        for i in 0..Burst::CAPACITY as u8 {
            burst.push(pool.alloc_with(&[i]).expect("mbuf")).expect("room");
        }
        assert!(burst.is_full());
        let back = burst.push(pool.alloc_with(b"one too many").expect("mbuf")).expect_err("full");
        assert_eq!(back.data(), b"one too many");
        assert_eq!(burst.pop().expect("last").data(), [63]);
        assert_eq!(burst.as_slice()[0].data(), [0]);
        burst.as_mut_slice()[1].data_mut()[0] = 99;
        let seen: Vec<u8> = burst.drain().map(|m| m.data()[0]).collect();
        assert_eq!((seen.len(), seen[0], seen[1], seen[62]), (63, 0, 99, 62));
        assert!(burst.is_empty() && burst.pop().is_none());
        drop(back);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn dropping_frees_all() {
        let pool = sim::test_pool("bu-drop", 127).expect("pool");
        let mut burst = Burst::default();
        assert_eq!(pool.alloc_burst(&mut burst, 40), 40);
        assert_eq!(format!("{burst:?}").matches("Mbuf").count(), 40);
        burst.clear();
        assert_eq!((burst.len(), pool.in_use()), (0, 0));
        assert_eq!(pool.alloc_burst(&mut burst, 40), 40);
        drop(burst);
        assert_eq!(pool.in_use(), 0);
    }
}
