//! Anti-replay window (RFC 4303, section 3.4.3 and appendix A; ring of words after RFC 6479).
//!
//! The window covers the `size` sequence numbers up to `top`, the highest one authenticated. Bit `seq mod size` says
//! whether `seq` was seen, so the window never shifts; when `top` advances, the bits of the numbers it passes are
//! cleared.
//!
//! ```text
//!          top-size+1                  top
//!   too old │ 1 0 1 1 1 0 1 ... 1 1 0 1 │ beyond: new
//! ```
//!
//! With extended sequence numbers a packet carries the low 32 bits; the high ones are the only choice that puts
//! the number into the window or less than 2^32 - size beyond it (appendix A2.2).

use zerocopy::FromZeros;

/// Largest window.
pub const MAX: u16 = 4096;
/// Words of the largest window.
pub const WIDE: usize = MAX as usize / 64;
/// Words kept in the hot part; longer windows use the cold part's.
const NEAR: usize = 2;

/// Bits of windows longer than 128.
pub type Wide = [u64; WIDE];

/// A window.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Window {
    top: u64,
    near: [u64; NEAR],
    size: u16,
    unused: [u16; 3],
}

impl Window {
    /// For `size` packets, rounded up to a power of two from 64 to 4096; 0 switches replay protection off.
    pub const fn new(size: u16) -> Self {
        let size = match size {
            0 => 0,
            1..=64 => 64,
            s if s >= MAX => MAX,
            s => s.next_power_of_two(),
        };
        Self { top: 0, near: [0; NEAR], size, unused: [0; 3] }
    }

    /// Highest sequence number authenticated.
    #[inline]
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// Whether `seq` may be new (before authentication).
    #[inline]
    pub fn check(&self, wide: &Wide, seq: u64) -> bool {
        if self.size == 0 {
            return true;
        }
        // RFC 4303, section 3.3.3: the first packet is number 1.
        if seq == 0 {
            return false;
        }
        if seq > self.top {
            return true;
        }
        if self.top - seq >= u64::from(self.size) {
            return false;
        }
        let (word, bit) = self.place(seq);
        self.words(wide).get(word).is_some_and(|w| w & bit == 0)
    }

    /// Checks again and marks `seq` as seen (after authentication). `false`: drop the packet.
    #[inline]
    pub fn accept(&mut self, wide: &mut Wide, seq: u64) -> bool {
        if !self.check(wide, seq) {
            return false;
        }
        if self.size == 0 {
            self.top = self.top.max(seq);
            return true;
        }
        if seq > self.top {
            self.pass(wide, seq);
        }
        let (word, bit) = self.place(seq);
        if let Some(w) = self.words_mut(wide).get_mut(word) {
            *w |= bit;
        }
        true
    }

    // Clears the bits of top+1 ..= seq and moves the top.
    fn pass(&mut self, wide: &mut Wide, seq: u64) {
        let mut left = seq - self.top;
        let mut next = self.top.wrapping_add(1);
        self.top = seq;
        let mask = u64::from(self.size) - 1;
        let words = self.words_mut(wide);
        if left > mask {
            words.fill(0);
            return;
        }
        while left > 0 {
            let n = (64 - next % 64).min(left);
            let run = if n == 64 { u64::MAX } else { ((1 << n) - 1) << (next % 64) };
            if let Some(w) = words.get_mut(((next & mask) / 64) as usize) {
                *w &= !run;
            }
            left -= n;
            next = next.wrapping_add(n);
        }
    }

    #[inline]
    fn place(&self, seq: u64) -> (usize, u64) {
        let at = seq & (u64::from(self.size) - 1);
        ((at / 64) as usize, 1 << (at % 64))
    }

    #[inline]
    fn words<'a>(&'a self, wide: &'a Wide) -> &'a [u64] {
        let n = usize::from(self.size) / 64;
        if n <= NEAR { &self.near[..n] } else { &wide[..n] }
    }

    #[inline]
    fn words_mut<'a>(&'a mut self, wide: &'a mut Wide) -> &'a mut [u64] {
        let n = usize::from(self.size) / 64;
        if n <= NEAR { &mut self.near[..n] } else { &mut wide[..n] }
    }

    /// The 64-bit number of a packet that carries `low` (RFC 4303, appendix A2.2). `None`: it would lie before the
    /// first one.
    #[inline]
    pub const fn extend(&self, low: u32) -> Option<u64> {
        // Without a window any order is accepted; the nearest number is the best guess.
        let size = if self.size == 0 { 1 << 31 } else { self.size as u32 };
        let (top_high, top_low) = ((self.top >> 32) as u32, self.top as u32);
        let bottom = top_low.wrapping_sub(size - 1);
        let high = if top_low >= size - 1 {
            // Case A: the window lies within one subspace of 2^32 numbers.
            if low >= bottom { Some(top_high) } else { top_high.checked_add(1) }
        } else if low >= bottom {
            // Case B: it reaches back into the previous one.
            top_high.checked_sub(1)
        } else {
            Some(top_high)
        };
        match high {
            Some(high) => Some((high as u64) << 32 | low as u64),
            None => None,
        }
    }
}
