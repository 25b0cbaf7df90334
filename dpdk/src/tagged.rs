//! A packet with what the application knows about it, kept in the packet's own descriptor.
//!
//! ```text
//!   rte_mbuf   ├── line 0: data, lengths, flags ──┼── line 1: next, pool ... │ dynfield1: 36 octets ──┤
//!                                                                            └── the tag
//! ```
//!
//! So a packet is one pointer, and goes from array to array as such, and its tag lies where the driver has been already.
//! DPDK gives `dynfield1` to whoever registers fields in it. Drivers write such fields (a time stamp) when they receive and
//! read them when they send only if a flag says so; we never set one, so that between the two the room is ours.

use crate::mbuf::{LinearizeError, Mbuf};
use crate::mempool::Mempool;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// Octets of room for a tag.
pub const ROOM: usize = 36;

/// A packet whose descriptor holds a `T`.
///
/// Invariant: the tag's room holds a valid `T`, of size up to [`ROOM`] and alignment up to 4, without a destructor (`Copy`).
/// So the packet is never lent as `&mut Mbuf`, in whose place another could be put.
#[repr(transparent)]
pub struct Tagged<T: Copy> {
    mbuf: Mbuf,
    _tag: PhantomData<T>,
}

impl<T: Copy> Tagged<T> {
    const FITS: () = assert!(size_of::<T>() <= ROOM && align_of::<T>() <= 4);

    /// Writes the tag.
    #[inline(always)]
    pub fn new(mbuf: Mbuf, tag: T) -> Self {
        let () = Self::FITS;
        // SAFETY: the room is 36 octets, aligned to 4, of a descriptor that is ours alone.
        unsafe { mbuf.tag_room().cast::<T>().write(tag) }
        Self { mbuf, _tag: PhantomData }
    }

    /// The packet, whose tag is lost.
    #[inline(always)]
    pub fn into_mbuf(self) -> Mbuf {
        self.mbuf
    }

    /// The tag.
    #[inline(always)]
    pub fn tag(&self) -> &T {
        // SAFETY: by the invariant there is a `T`, and nobody changes it while `self` is borrowed.
        unsafe { &*self.mbuf.tag_room().cast::<T>() }
    }

    /// The tag, to be changed.
    #[inline(always)]
    pub fn tag_mut(&mut self) -> &mut T {
        // SAFETY: by the invariant there is a `T`, and `self` is borrowed exclusively.
        unsafe { &mut *self.mbuf.tag_room().cast::<T>() }
    }

    /// See [`Mbuf::data_mut`].
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.mbuf.data_mut()
    }

    /// The octets and the tag at once.
    #[inline(always)]
    pub fn parts_mut(&mut self) -> (&mut [u8], &mut T) {
        let tag = self.mbuf.tag_room().cast::<T>();
        // SAFETY: as in `tag_mut`; the octets lie in the buffer, the tag in the descriptor in front of it.
        (self.mbuf.data_mut(), unsafe { &mut *tag })
    }

    /// See [`Mbuf::prepend`].
    #[inline(always)]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.mbuf.prepend(n)
    }

    /// See [`Mbuf::replace_front`].
    #[inline(always)]
    pub fn replace_front(&mut self, old: usize, new: usize) -> Option<&mut [u8]> {
        self.mbuf.replace_front(old, new)
    }

    /// See [`Mbuf::append`].
    #[inline(always)]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        self.mbuf.append(n)
    }

    /// See [`Mbuf::grow`]; with the tag.
    #[inline(always)]
    pub fn grow(&mut self, front: usize, back: usize) -> Option<(&mut [u8], &mut T)> {
        self.mbuf.grow(front, back)?;
        Some(self.parts_mut())
    }

    /// See [`Mbuf::adj`].
    #[inline(always)]
    #[must_use]
    pub fn adj(&mut self, n: usize) -> bool {
        self.mbuf.adj(n)
    }

    /// See [`Mbuf::trim`].
    #[inline(always)]
    #[must_use]
    pub fn trim(&mut self, n: usize) -> bool {
        self.mbuf.trim(n)
    }

    /// See [`Mbuf::ask_udp_checksum`].
    #[inline]
    pub fn ask_udp_checksum(&mut self, v6: bool, l2: u8, l3: u16) {
        self.mbuf.ask_udp_checksum(v6, l2, l3);
    }

    /// See [`Mbuf::linearize`]; the tag stays.
    #[inline]
    pub fn linearize(&mut self, pool: &Mempool) -> Result<(), LinearizeError> {
        if self.is_contiguous() {
            return Ok(());
        }
        let tag = *self.tag();
        let done = self.mbuf.linearize(pool);
        *self.tag_mut() = tag;
        done
    }
}

impl<T: Copy> Deref for Tagged<T> {
    type Target = Mbuf;

    #[inline(always)]
    fn deref(&self) -> &Mbuf {
        &self.mbuf
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Tagged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tagged").field("mbuf", &self.mbuf).field("tag", self.tag()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Tag {
        a: u32,
        b: Option<std::num::NonZeroU32>,
        c: [u8; 28],
    }

    #[test]
    fn a_tag_stays_with_its_packet() {
        let pool = sim::test_pool("tag-stay", 15).expect("pool");
        let tag = |a: u32| Tag { a, b: std::num::NonZeroU32::new(a), c: [a as u8; 28] };
        let mut packets: Vec<_> =
            (0..8).map(|i| Tagged::new(pool.alloc_with(&[i; 9]).expect("mbuf"), tag(i.into()))).collect();
        packets.reverse();
        for (i, p) in packets.iter_mut().enumerate() {
            let n = 7 - i as u8;
            assert_eq!((p.tag(), p.data()), (&tag(n.into()), &[n; 9][..]));
            let (data, tag) = p.parts_mut();
            (data[0], tag.a) = (77, 99);
            assert!(p.adj(1) && p.trim(1) && p.prepend(2).is_some() && p.append(3).is_some());
            assert_eq!((p.tag().a, p.tag().b, p.len()), (99, std::num::NonZeroU32::new(n.into()), 12));
        }
        packets.truncate(3);
        let mbuf = packets.pop().expect("one").into_mbuf();
        assert_eq!((mbuf.len(), pool.in_use()), (12, 3));
        drop((mbuf, packets));
        assert_eq!(pool.in_use(), 0);
    }
}
