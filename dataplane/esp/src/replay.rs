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
/// Words kept in the hot part; longer windows use [`Wide`].
const NEAR: usize = 2;
/// Words that every [`Wide`] has: of a window of 1,024.
const BESIDE: usize = 16;

/// Bits of windows longer than 128. All zero: of no window.
#[derive(Clone, Debug, FromZeros)]
#[repr(C)]
pub struct Wide {
    words: [u64; BESIDE],
    /// In place of these, of a window longer than 1,024, which few SAs have.
    more: Option<Box<[u64; WIDE]>>,
}

impl Wide {
    const fn fits(size: u16) -> bool {
        size as usize <= 64 * BESIDE
    }

    fn words(&self, size: u16) -> &[u64] {
        if Self::fits(size) { &self.words } else { self.more.as_deref().map_or(&[], |more| more) }
    }

    fn words_mut(&mut self, size: u16) -> &mut [u64] {
        if Self::fits(size) { &mut self.words } else { self.more.as_deref_mut().map_or(&mut [], |more| more) }
    }
}

/// A window.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Window {
    top: u64,
    near: [u64; NEAR],
    size: u16,
    /// What an SA notes of what it carries, which fills the gap.
    pub(crate) note: u32,
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
        Self { top: 0, near: [0; NEAR], size, note: 0 }
    }

    /// The words that it needs beside itself.
    pub fn wide(&self) -> Wide {
        Wide { words: [0; BESIDE], more: (!Wide::fits(self.size)).then(|| Box::new([0; WIDE])) }
    }

    /// Highest sequence number authenticated.
    #[inline]
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// Whether `seq` may be new (before authentication).
    #[inline(always)]
    pub fn check(&self, wide: &Wide, seq: u64) -> bool {
        seq > self.top || self.size == 0 || self.is_gap(wide, seq)
    }

    /// Whether `seq`, which is not beyond the top, is in the window and was not seen.
    fn is_gap(&self, wide: &Wide, seq: u64) -> bool {
        // RFC 4303, section 3.3.3: the first packet is number 1.
        if seq == 0 || self.top - seq >= u64::from(self.size) {
            return false;
        }
        let (word, bit) = self.place(seq);
        let words = if self.is_near() { &self.near } else { wide.words(self.size) };
        words.get(word).is_some_and(|w| w & bit == 0)
    }

    /// Checks again and marks `seq` as seen (after authentication). `false`: drop the packet.
    #[inline(always)]
    pub fn accept(&mut self, wide: &mut Wide, seq: u64) -> bool {
        if seq > self.top {
            // Of the number after the top there is nothing to clear: its bit is set at once.
            if seq - self.top > 1 {
                self.pass(wide, seq);
            }
            self.top = seq;
        } else if self.size == 0 {
            return true;
        } else if !self.is_gap(wide, seq) {
            return false;
        }
        let (word, bit) = self.place(seq);
        if self.is_near() {
            self.near[word % NEAR] |= bit;
        } else if let Some(w) = wide.words_mut(self.size).get_mut(word) {
            *w |= bit;
        }
        true
    }

    /// Clears the bits of top+1 ..= seq.
    fn pass(&mut self, wide: &mut Wide, seq: u64) {
        let (mut left, mut next) = (seq - self.top, self.top.wrapping_add(1));
        let n = usize::from(self.size) / 64;
        let words = if self.is_near() { &mut self.near } else { wide.words_mut(self.size) };
        let Some(words) = words.get_mut(..n) else { return };
        if left >= u64::from(self.size) {
            words.fill(0);
            return;
        }
        let mask = u64::from(self.size) - 1;
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

    /// The word that has the bit of `seq`, and the bit. Without a window they mean nothing.
    #[inline(always)]
    fn place(&self, seq: u64) -> (usize, u64) {
        let at = seq & u64::from(self.size).wrapping_sub(1);
        ((at / 64) as usize, 1 << (at % 64))
    }

    /// Whether the words of the hot part are enough.
    #[inline(always)]
    const fn is_near(&self) -> bool {
        self.size as usize <= 64 * NEAR
    }

    /// The 64-bit number of a packet that carries `low` and comes in order, so that it is beyond the top, and new: what
    /// [`Self::extend`] and [`Self::check`] would tell, in fewer steps. `None`: leave it to them.
    #[inline(always)]
    pub const fn ahead(&self, low: u32) -> Option<u64> {
        let by = low.wrapping_sub(self.top as u32);
        // All windows are shorter than half of the numbers that 32 bits can tell apart.
        if by != 0 && by <= 1 << 31 { self.top.checked_add(by as u64) } else { None }
    }

    /// The 64-bit number of a packet that carries `low`: the one that lies in the window, or else the next beyond the top
    /// (RFC 4303, appendix A2.2). `None`: it would lie before the first one, or after the last.
    #[inline(always)]
    pub const fn extend(&self, low: u32) -> Option<u64> {
        // Without a window any order is accepted; the nearest number is the best guess.
        let size = if self.size == 0 { 1 << 31 } else { self.size as u32 };
        let top = self.top as u32;
        let behind = top.wrapping_sub(low);
        if behind < size {
            self.top.checked_sub(behind as u64)
        } else {
            self.top.checked_add(low.wrapping_sub(top) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn run(size: u16, table: &[(u64, bool)]) {
        let mut w = Window::new(size);
        let mut wide = w.wide();
        for (i, &(seq, expected)) in table.iter().enumerate() {
            assert_eq!(w.check(&wide, seq), expected, "check, size {size}, line {i}, seq {seq}");
            assert_eq!(w.accept(&mut wide, seq), expected, "accept, size {size}, line {i}, seq {seq}");
        }
    }

    #[test]
    fn window_table() {
        for size in [64, 128, 256, 1024, 4096] {
            let n = u64::from(size);
            #[rustfmt::skip]
            run(size, &[
                (0, false),                     // never sent
                (1, true), (1, false), (0, false),
                (9, true), (8, true), (7, true), (7, false), (9, false), (2, true),
                (n, true), (n - 1, true), (n, false), (1, false), (3, true),
                (n + 1, true),                  // 1 leaves the window, which is now 2 ..= n+1
                (1, false), (2, false), (4, true),
                (n + 3, true), (3, false), (5, true), (n + 2, true),
                (3 * n, true),                  // a leap that empties the window
                (2 * n, false), (2 * n + 1, true), (2 * n + 1, false), (3 * n, false), (3 * n - 1, true),
                (5 * n + 7, true), (5 * n + 7, false), (4 * n + 7, false), (4 * n + 8, true), (5 * n, true),
                (u64::MAX - 1, true), (u64::MAX, true), (u64::MAX, false), (u64::MAX - n, false),
                (u64::MAX - n + 1, true), (u64::MAX - n + 1, false), (1, false),
            ]);
        }
    }

    #[test]
    fn every_number_once_in_any_order_within_the_window() {
        for size in [64, 128, 512, 4096] {
            let n = u64::from(size);
            let forward: Vec<_> = (1..4 * n).map(|s| (s, true)).collect();
            run(size, &forward);
            let blocks: Vec<_> = (0..4).flat_map(|b| (1..=n).rev().map(move |s| (b * n + s, true))).collect();
            run(size, &blocks);
        }
    }

    #[test]
    fn sizes_and_the_switched_off_window() {
        for (asked, got) in [(0, 0), (1, 64), (64, 64), (65, 128), (100, 128), (4096, 4096), (9000, 4096)] {
            assert_eq!(Window::new(asked).size, got);
        }
        run(0, &[(5, true), (5, true), (1, true), (0, true)]);
    }

    #[test]
    fn extension_table() {
        let b = 1u64 << 32;
        for (size, top, low, expected) in [
            (64, 0, 1, Some(1)),
            (64, 0, u32::MAX, None),
            (64, 100, 101, Some(101)),
            (64, 100, 37, Some(37)),
            (64, 100, 36, Some(b + 36)),
            (64, b - 1, 0, Some(b)),
            (64, b - 1, u32::MAX, Some(b - 1)),
            (64, b - 1, u32::MAX - 63, Some(b - 64)),
            (64, b - 1, u32::MAX - 64, Some(2 * b - 65)),
            (64, b + 5, u32::MAX, Some(b - 1)),
            (64, b + 5, 6, Some(b + 6)),
            (64, b + 5, u32::MAX - 60, Some(b + (b - 1 - 60))),
            (64, b + 5, u32::MAX - 57, Some(b - 58)),
            (64, 7 * b + 62, u32::MAX, Some(7 * b - 1)),
            (64, 7 * b + 63, 0, Some(7 * b)),
            (64, 7 * b + 63, u32::MAX, Some(8 * b - 1)),
            (4096, 3 * b + 10, u32::MAX - 4000, Some(3 * b - 4001)),
            (64, u64::MAX, 5, None),
            (0, 3 * b, u32::MAX, Some(3 * b - 1)),
        ] {
            let w = Window { top, ..Window::new(size) };
            assert_eq!(w.extend(low), expected, "size {size}, top {top:#x}, low {low:#x}");
        }
    }

    proptest! {
        // Against the definition: the one number with these low bits that is in the window or less than 2^32 - size beyond it.
        #[test]
        fn extension_agrees_with_its_definition(size in prop::sample::select(vec![64u16, 128, 256, 4096]),
                                                high in prop::sample::select(vec![0u64, 1, 7, (1 << 32) - 1]),
                                                low in prop_oneof![any::<u32>(), 0u32..5000, u32::MAX - 5000..],
                                                by in prop_oneof![any::<u32>(), 0u32..5000, u32::MAX - 5000..]) {
            let top = high << 32 | u64::from(low);
            let low = low.wrapping_add(by);
            let lowest = i128::from(top) - i128::from(size) + 1;
            let number = (-1..3).map(|n| ((i128::from(high) + n) << 32) + i128::from(low));
            let expected = number.filter(|n| (lowest..lowest + (1 << 32)).contains(n)).find_map(|n| u64::try_from(n).ok());
            let w = Window { top, ..Window::new(size) };
            prop_assert_eq!(w.extend(low), expected);
            prop_assert!(w.ahead(low).is_none_or(|seq| seq > top && Some(seq) == expected));
            let off = Window { top, ..Window::new(0) };
            prop_assert!(off.ahead(low).is_none_or(|seq| seq > top && Some(seq) == off.extend(low)));
        }

        // Against the definition: new, or inside the window and not seen.
        #[test]
        fn agrees_with_a_set(size in prop::sample::select(vec![64u16, 128, 256, 4096]),
                             start in prop::sample::select(vec![1u64, (1 << 32) - 500, u64::MAX - 100_000]),
                             steps in prop::collection::vec((any::<bool>(), 0u64..6000), 0..400)) {
            let mut w = Window::new(size);
            let mut wide = w.wide();
            let (mut seen, mut top) = (HashSet::new(), 0u64);
            for (forward, by) in steps {
                let by = if by % 3 == 0 { by } else { by % 70 };
                let base = top.max(start);
                let seq = if forward { base.saturating_add(by) } else { base.saturating_sub(by) };
                let expected = seq != 0 && (seq > top || top - seq < u64::from(size)) && !seen.contains(&seq);
                prop_assert_eq!(w.accept(&mut wide, seq), expected, "seq {} top {}", seq, top);
                if expected {
                    seen.insert(seq);
                    top = top.max(seq);
                }
            }
        }
    }
}
