//! One packet in DPDK's buffers.
//!
//! ```text
//!  buffer   ├─ headroom ─┼──────── data() ────────┼─ tailroom ─┤        prepend ◄─┤        ├─► append
//!                        │◄──────── len() ───────►│                        adj ├─►            ◄─┤ trim
//!  segments: first ─► next ─► next          pkt_len() is the sum of their lengths
//! ```
//!
//! Most packets are one segment. Longer chains come from reassembly and from jumbo frames; `data()` is then the first
//! segment only, and [`Mbuf::linearize`] makes one of all.

use crate::mempool::Mempool;
use dpdk_sys::rte_mbuf;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Flags of received packets (`RTE_MBUF_F_RX_*`).
mod rx {
    pub const VLAN: u64 = 1 << 0;
    pub const RSS_HASH: u64 = 1 << 1;
    pub const L4_CKSUM_BAD: u64 = 1 << 3;
    pub const IP_CKSUM_BAD: u64 = 1 << 4;
    pub const VLAN_STRIPPED: u64 = 1 << 6;
}

/// Flags of packets to be sent (`RTE_MBUF_F_TX_*`).
mod tx {
    pub const UDP_CKSUM: u64 = 3 << 52;
    pub const IPV4: u64 = 1 << 55;
    pub const IPV6: u64 = 1 << 56;
}

/// Octets of UDP's header.
const UDP_HEADER: u8 = 8;

/// An owned packet. Dropping it gives all its segments back to their pools.
///
/// Invariant: `raw` is a valid chain that nothing else refers to; in each segment `data_off + data_len <= buf_len`, and
/// the first one's `pkt_len` and `nb_segs` are right.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<rte_mbuf>,
}

// SAFETY: an owned packet is plain memory that any thread may use and free (pools are thread-safe).
unsafe impl Send for Mbuf {}

/// Why a chain could not be made one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinearizeError {
    /// The pool is exhausted.
    #[error("no free buffer")]
    NoBuffer,
    /// Its buffers are too small.
    #[error("packet is longer than a buffer")]
    TooLong,
}

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `raw` meets the invariant of [`Mbuf`] and is owned by the caller.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Self {
        Self { raw }
    }

    /// Gives ownership away.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<rte_mbuf> {
        let raw = self.raw;
        std::mem::forget(self);
        raw
    }

    #[inline]
    fn head(&self) -> &rte_mbuf {
        // SAFETY: valid and ours by the invariant; no `&mut` to it while `self` is borrowed.
        unsafe { self.raw.as_ref() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: valid and ours by the invariant, and `self` is borrowed exclusively.
        unsafe { self.raw.as_mut() }
    }

    /// The last segment; the first for most packets.
    #[inline]
    fn tail_mut(&mut self) -> &mut rte_mbuf {
        let mut last = self.raw;
        // SAFETY: `next` links the segments of our chain and is null in the last.
        while let Some(next) = NonNull::new(unsafe { last.as_ref() }.next) {
            last = next;
        }
        // SAFETY: a segment of our chain, and `self` is borrowed exclusively.
        unsafe { last.as_mut() }
    }

    /// Octets of the first segment.
    #[inline]
    pub fn data(&self) -> &[u8] {
        segment_data(self.head())
    }

    /// Octets of the first segment.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let (data, len) = (self.data_ptr(), self.len());
        // SAFETY: `data_len` octets from `data_off` on lie in the segment's buffer, which is ours alone.
        unsafe { std::slice::from_raw_parts_mut(data, len) }
    }

    /// Length of the first segment.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        usize::from(self.head().data_len)
    }

    /// Length of the packet, all segments.
    #[inline]
    pub fn pkt_len(&self) -> usize {
        self.head().pkt_len as usize
    }

    /// Octets of each segment, first to last.
    pub fn segments(&self) -> Segments<'_> {
        Segments { next: Some(self.raw), _packet: PhantomData }
    }

    /// Number of segments.
    #[inline]
    pub fn segment_count(&self) -> usize {
        usize::from(self.head().nb_segs)
    }

    /// Whether `data()` is the whole packet.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.head().nb_segs == 1
    }

    /// Octets free in front of the data.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.head().data_off)
    }

    /// Octets free behind the data of the last segment.
    #[inline]
    pub fn tailroom(&mut self) -> usize {
        segment_tailroom(self.tail_mut())
    }

    /// Puts `n` octets of undefined contents in front and returns them; `None` when the headroom is too small.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let head = self.head_mut();
        let n16 = u16::try_from(n).ok()?;
        head.data_off = head.data_off.checked_sub(n16)?;
        // cannot overflow: the sum is at most the old data_off + data_len
        head.data_len += n16;
        head.pkt_len += u32::from(n16);
        self.data_mut().get_mut(..n)
    }

    /// Adds `n` octets of undefined contents at the end (of the last segment) and returns them; `None` when the
    /// tailroom is too small.
    #[inline]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let tail = self.tail_mut();
        if n > segment_tailroom(tail) {
            return None;
        }
        // within the tailroom, so both fit into 16 bits
        let old = usize::from(tail.data_len);
        tail.data_len += n as u16;
        let data = segment_ptr(tail);
        self.head_mut().pkt_len += n as u32;
        // SAFETY: the n octets behind the old data lie in the segment's buffer, which is ours alone.
        Some(unsafe { std::slice::from_raw_parts_mut(data.add(old), n) })
    }

    /// Cuts `n` octets off the front; `false` (and nothing done) when the first segment is shorter.
    #[inline]
    #[must_use]
    pub fn adj(&mut self, n: usize) -> bool {
        let head = self.head_mut();
        if n > usize::from(head.data_len) {
            return false;
        }
        head.data_len -= n as u16;
        head.data_off += n as u16;
        head.pkt_len -= n as u32;
        true
    }

    /// Cuts `old` octets off the front and puts `new` of undefined contents there, which it returns; `None` (and nothing done)
    /// when the first segment is shorter, or the headroom too small.
    #[inline(always)]
    pub fn replace_front(&mut self, old: usize, new: usize) -> Option<&mut [u8]> {
        let head = self.head_mut();
        if old > usize::from(head.data_len) {
            return None;
        }
        // The end of the data stays where it is, so that offset and length stay within the buffer, and fit into 16 bits.
        head.data_off = (usize::from(head.data_off) + old).checked_sub(new)? as u16;
        let more = new.wrapping_sub(old);
        head.data_len = head.data_len.wrapping_add(more as u16);
        head.pkt_len = head.pkt_len.wrapping_add(more as u32);
        // SAFETY: the data, which is ours alone, has no fewer octets.
        Some(unsafe { std::slice::from_raw_parts_mut(segment_ptr(head), new) })
    }

    /// Opens `front` octets before the data and `back` behind it, of undefined contents, and gives all of it; `None` (and nothing
    /// done) unless the packet is one segment with that much room.
    #[inline(always)]
    pub fn grow(&mut self, front: usize, back: usize) -> Option<&mut [u8]> {
        let head = self.head_mut();
        let (off, len) = (usize::from(head.data_off), usize::from(head.data_len));
        let room = usize::from(head.buf_len) - off - len;
        if front > off || back > room || head.nb_segs != 1 {
            return None;
        }
        let total = front + len + back;
        // No more than the buffer, so that all of them fit into 16 bits.
        (head.data_off, head.data_len, head.pkt_len) = ((off - front) as u16, total as u16, total as u32);
        Some(self.data_mut())
    }

    /// Cuts `n` octets off the end; `false` (and nothing done) when the last segment is shorter.
    #[inline]
    #[must_use]
    pub fn trim(&mut self, n: usize) -> bool {
        let tail = self.tail_mut();
        if n > usize::from(tail.data_len) {
            return false;
        }
        tail.data_len -= n as u16;
        self.head_mut().pkt_len -= n as u32;
        true
    }

    /// Makes one segment of a chain. The data moves into the first segment if it fits there, else into a buffer of
    /// `pool`; on an error the packet is as it was.
    pub fn linearize(&mut self, pool: &Mempool) -> Result<(), LinearizeError> {
        if self.is_contiguous() {
            return Ok(());
        }
        let total = self.pkt_len();
        if total - self.len() <= segment_tailroom(self.head()) {
            self.gather();
            return Ok(());
        }
        if total > usize::from(pool.data_room()) {
            return Err(LinearizeError::TooLong);
        }
        let mut whole = pool.alloc().ok_or(LinearizeError::NoBuffer)?;
        let mut rest = whole.append(total).ok_or(LinearizeError::TooLong)?;
        for segment in self.segments() {
            // pkt_len is the sum of the segments
            let (now, later) = rest.split_at_mut(segment.len());
            now.copy_from_slice(segment);
            rest = later;
        }
        whole.copy_receive_fields(self);
        *self = whole;
        Ok(())
    }

    /// Moves all data into the first segment, whose tailroom is known to suffice, and frees the others.
    fn gather(&mut self) {
        let Some(rest) = NonNull::new(std::mem::replace(&mut self.head_mut().next, std::ptr::null_mut())) else {
            return;
        };
        let head = self.head_mut();
        let (segments, length) = (head.nb_segs, head.pkt_len);
        head.nb_segs = 1;
        head.pkt_len = u32::from(head.data_len);
        // SAFETY: what was behind the first segment is a chain of its own once its head's counts are set, and ours.
        let mut rest = unsafe { Mbuf::from_raw(rest) };
        rest.head_mut().nb_segs = segments - 1;
        rest.head_mut().pkt_len = length - u32::from(self.head().data_len);
        for segment in rest.segments() {
            if let Some(room) = self.append(segment.len()) {
                room.copy_from_slice(segment);
            }
        }
    }

    /// What the NIC said about `other` holds for this copy of it.
    fn copy_receive_fields(&mut self, other: &Mbuf) {
        let from = other.head();
        let to = self.head_mut();
        to.port = from.port;
        to.ol_flags = from.ol_flags;
        to.vlan_tci = from.vlan_tci;
        to.__bindgen_anon_1 = from.__bindgen_anon_1;
        to.__bindgen_anon_2 = from.__bindgen_anon_2;
    }

    /// The port it arrived on, where the driver says so (in-memory ports do not), or as set.
    #[inline]
    pub fn port(&self) -> u16 {
        self.head().port
    }

    /// Notes a port.
    #[inline]
    pub fn set_port(&mut self, port: u16) {
        self.head_mut().port = port;
    }

    /// The NIC's RSS hash, if it computed one.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        let head = self.head();
        // SAFETY: every member of the union is an integer, any bits are a valid value.
        let hash = unsafe { head.__bindgen_anon_2.hash.rss };
        (head.ol_flags & rx::RSS_HASH != 0).then_some(hash)
    }

    /// The tag (TCI) of a received frame from which the driver removed it: it is not in the data then.
    #[inline]
    pub fn stripped_vlan(&self) -> Option<u16> {
        const BOTH: u64 = rx::VLAN | rx::VLAN_STRIPPED;
        let head = self.head();
        (head.ol_flags & BOTH == BOTH).then_some(head.vlan_tci)
    }

    /// Whether the NIC found the IPv4 header's or the TCP or UDP checksum to be wrong.
    #[inline]
    pub fn has_bad_checksum(&self) -> bool {
        self.head().ol_flags & (rx::IP_CKSUM_BAD | rx::L4_CKSUM_BAD) != 0
    }

    /// Has the port compute the checksum of the UDP datagram behind `l2` octets of Ethernet header and `l3` of IP header. The
    /// checksum field holds the folded sum of the pseudo-header, and the port can do it ([`TxQueue::sums_udp`]).
    ///
    /// [`TxQueue::sums_udp`]: crate::TxQueue::sums_udp
    #[inline]
    pub fn ask_udp_checksum(&mut self, v6: bool, l2: u8, l3: u16) {
        self.set_header_lengths(l2, l3, UDP_HEADER);
        self.head_mut().ol_flags |= tx::UDP_CKSUM | if v6 { tx::IPV6 } else { tx::IPV4 };
    }

    /// Start of the data, for libraries that take (pointer, length). Valid for `len()` octets while the packet lives
    /// and is not prepended to or cut.
    #[inline]
    pub fn data_ptr(&mut self) -> *mut u8 {
        segment_ptr(self.head())
    }

    /// Where [`crate::Tagged`] keeps its tag: [`crate::tagged::ROOM`] octets aligned to 4, of the descriptor.
    #[inline(always)]
    pub(crate) fn tag_room(&self) -> *mut u8 {
        // SAFETY: a place in the descriptor, which is valid by the invariant; no reference to it is made.
        unsafe { (&raw mut (*self.raw.as_ptr()).dynfield1).cast() }
    }

    /// The mbuf itself, as an identity: for cookies such as `user_data` of an asynchronous job.
    #[inline]
    pub fn as_ptr(&self) -> *const () {
        self.raw.as_ptr().cast_const().cast()
    }

    /// Asks the CPU to load the descriptor (where data, length and port are).
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.raw.as_ptr().cast());
    }

    /// Asks the CPU to load the first cache line of the data; the descriptor should be there already.
    #[inline]
    pub fn prefetch_data(&self) {
        prefetch(segment_ptr(self.head()));
    }

    /// Sets the lengths of the headers of link, network and transport, which rte_ip_frag and ports that compute checksums
    /// read.
    pub(crate) fn set_header_lengths(&mut self, l2: u8, l3: u16, l4: u8) {
        // l2_len is the low 7 bits of tx_offload, l3_len the next 9, l4_len 8 more
        self.head_mut().__bindgen_anon_3.tx_offload =
            u64::from(l2 & 0x7f) | u64::from(l3 & 0x1ff) << 7 | u64::from(l4) << 16;
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: ours, and not used again.
        unsafe { dpdk_sys::sw_mbuf_free(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("pkt_len", &self.pkt_len()).field("segments", &self.segment_count()).finish()
    }
}

/// Iterator over the segments of a packet.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    next: Option<NonNull<rte_mbuf>>,
    _packet: PhantomData<&'a Mbuf>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // SAFETY: a segment of the packet that is borrowed for 'a.
        let segment: &'a rte_mbuf = unsafe { self.next?.as_ref() };
        self.next = NonNull::new(segment.next);
        Some(segment_data(segment))
    }
}

const _: () = assert!(
    std::mem::offset_of!(rte_mbuf, dynfield1) + crate::tagged::ROOM == size_of::<rte_mbuf>()
        && std::mem::offset_of!(rte_mbuf, dynfield1).is_multiple_of(4)
);

#[inline]
fn segment_ptr(segment: &rte_mbuf) -> *mut u8 {
    // SAFETY: data_off <= buf_len, so the pointer stays in the buffer (or one past it), which is not at address 0.
    unsafe {
        let data = segment.buf_addr.cast::<u8>().add(usize::from(segment.data_off));
        std::hint::assert_unchecked(!data.is_null());
        data
    }
}

#[inline]
fn segment_data(segment: &rte_mbuf) -> &[u8] {
    // SAFETY: by the invariant of Mbuf, whose segment this is, these octets lie in its buffer and nobody writes to them
    // while it is borrowed.
    unsafe { std::slice::from_raw_parts(segment_ptr(segment), usize::from(segment.data_len)) }
}

#[inline]
fn segment_tailroom(segment: &rte_mbuf) -> usize {
    usize::from(segment.buf_len - segment.data_off - segment.data_len)
}

#[inline]
fn prefetch(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch does not fault, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[cfg(test)]
mod tests {
    use crate::mempool::HEADROOM;
    use crate::sim;

    #[test]
    fn a_fresh_packet_is_empty_between_its_rooms() {
        let pool = sim::test_pool("mb-fresh", 7).expect("pool");
        let mut m = pool.alloc().expect("mbuf");
        assert_eq!((m.len(), m.pkt_len(), m.segment_count()), (0, 0, 1));
        assert_eq!((m.headroom(), m.tailroom()), (usize::from(HEADROOM), usize::from(pool.data_room())));
        assert!(m.data().is_empty() && m.is_contiguous());
        assert_eq!((m.rss_hash(), m.stripped_vlan(), m.has_bad_checksum()), (None, None, false));
        m.set_port(7);
        assert_eq!(m.port(), 7);
    }

    #[test]
    fn both_ends_grow_and_shrink() {
        let pool = sim::test_pool("mb-ends", 7).expect("pool");
        let mut m = pool.alloc_with(b"payload").expect("mbuf");
        m.prepend(4).expect("headroom").copy_from_slice(b"head");
        m.append(4).expect("tailroom").copy_from_slice(b"tail");
        assert_eq!(m.data(), b"headpayloadtail");
        assert_eq!((m.len(), m.pkt_len()), (15, 15));
        assert!(m.adj(4) && m.trim(4));
        assert_eq!(m.data(), b"payload");
        m.data_mut()[0] = b'P';
        assert_eq!(m.segments().collect::<Vec<_>>(), [b"Payload"]);
        assert!(m.adj(7) && m.data().is_empty());
        assert!(!m.adj(1) && !m.trim(1));
    }

    #[test]
    fn a_front_is_replaced() {
        let pool = sim::test_pool("mb-front", 7).expect("pool");
        let mut m = pool.alloc_with(b"old payload").expect("mbuf");
        m.replace_front(3, 6).expect("room").copy_from_slice(b"newer ");
        assert_eq!((m.data(), m.pkt_len()), (&b"newer  payload"[..], 14));
        m.replace_front(6, 0).expect("nothing").copy_from_slice(b"");
        m.replace_front(0, usize::from(HEADROOM) + 3).expect("all the headroom").fill(1);
        assert_eq!((m.headroom(), m.len()), (0, usize::from(HEADROOM) + 11));
        let all = m.data().to_vec();
        assert!(m.replace_front(0, 1).is_none() && m.replace_front(all.len() + 1, 0).is_none());
        assert!(m.replace_front(usize::MAX, usize::MAX).is_none());
        assert_eq!((m.data(), m.pkt_len()), (&all[..], all.len()));
    }

    #[test]
    fn both_ends_grow_at_once() {
        let pool = sim::test_pool("mb-grow", 7).expect("pool");
        let mut m = pool.alloc_with(b"old").expect("mbuf");
        let all = m.grow(2, 3).expect("room");
        all[..2].copy_from_slice(b"a ");
        all[5..].copy_from_slice(b"er.");
        assert_eq!((m.data(), m.pkt_len()), (&b"a older."[..], 8));
        let (front, back) = (m.headroom(), m.tailroom());
        for (f, b) in [(front + 1, 0), (0, back + 1), (usize::MAX, 0), (0, usize::MAX), (usize::MAX, usize::MAX)] {
            assert!(m.grow(f, b).is_none(), "{f} {b}");
        }
        assert_eq!((m.data(), m.pkt_len()), (&b"a older."[..], 8));
        assert_eq!(m.grow(front, back).expect("all of it").len(), 8 + front + back);
        assert_eq!((m.headroom(), m.tailroom()), (0, 0));
    }

    #[test]
    fn an_exhausted_room_changes_nothing() {
        let pool = sim::test_pool("mb-full", 7).expect("pool");
        let mut m = pool.alloc_with(b"x").expect("mbuf");
        assert!(m.prepend(usize::from(HEADROOM) + 1).is_none());
        assert!(m.prepend(65536 + 1).is_none());
        assert!(m.append(usize::from(pool.data_room())).is_none());
        assert!(m.append(usize::MAX).is_none());
        assert_eq!((m.data(), m.pkt_len()), (&b"x"[..], 1));
        m.prepend(usize::from(HEADROOM)).expect("exactly the headroom");
        assert_eq!(m.headroom(), 0);
        assert!(m.prepend(1).is_none());
        m.append(usize::from(pool.data_room()) - 1).expect("exactly the tailroom");
        assert_eq!(m.tailroom(), 0);
        assert!(m.append(1).is_none());
        assert_eq!(m.pkt_len(), usize::from(HEADROOM) + usize::from(pool.data_room()));
    }

    #[test]
    fn packets_come_from_the_pool_reset() {
        let pool = sim::test_pool("mb-reset", 1).expect("pool");
        let mut m = pool.alloc_with(b"used").expect("mbuf");
        m.set_port(3);
        m.adj(2).then_some(()).expect("cut");
        drop(m);
        let m = pool.alloc().expect("the same buffer");
        assert_eq!((m.len(), m.headroom()), (0, usize::from(HEADROOM)));
        assert!(pool.alloc_with(&[0; 9000]).is_none());
    }
}
