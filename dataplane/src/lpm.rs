//! Longest-prefix match in the fast path: a table of 2^24 entries, and blocks of 256 for longer prefixes (DIR-24-8 of
//! Gupta, Lin and McKeown, continued octet by octet for IPv6).
//!
//! ```text
//!   address  | 24 bits | 8 bits | 8 bits | ...
//!                 │        │        └─► blocks[(n2, octet)] ─► word
//!                 │        └──────────► blocks[(n1, octet)] ─► word, or "block n2"
//!                 └───────────────────► first[24 bits] ──────► word, or "block n1"
//! ```
//!
//! An entry has the word of the longest prefix that covers it: an IPv4 lookup is one or two loads, that of an IPv6 /48 four.
//! Beside each entry stands the length of that prefix, which only changes look at: a new prefix takes the entries of its
//! range that belong to shorter ones, a deleted one gives its own to the prefix that covers it. Both touch no entry
//! twice and need no other memory. Blocks are made when they are needed and reused when nothing in them is longer than
//! what they hang on.
//!
//! DPDK 22.11's `rte_fib6` has the same tables, but its count of second-level tables grows with every change and never
//! shrinks, until it refuses all routes.

use dpdk::huge;

/// Says that an entry is the number of a block.
const BLOCK: u32 = 1 << 31;
/// Largest word.
pub const MAX_WORD: u32 = BLOCK - 1;
/// Bits of the first table.
const FIRST: u8 = 24;

/// There is no room for another block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no block is left")]
pub struct Full;

/// What an entry says: a word, and the length of the prefix that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Word of the prefix.
    pub word: u32,
    /// Its length.
    pub len: u8,
}

/// Entries with their lengths beside them.
#[derive(Debug, Default)]
struct Entries {
    words: Vec<u32>,
    lens: Vec<u8>,
}

/// A forwarding table of one family. Addresses are left-aligned in 128 bits.
#[derive(Debug)]
pub struct Lpm {
    first: Entries,
    blocks: Entries,
    free: Vec<u32>,
    made: u32,
    most: u32,
}

impl Lpm {
    /// An empty table with at most `blocks` blocks (1.25 KiB each). What is not used yet takes no memory.
    pub fn new(blocks: u32) -> Self {
        let first = Entries { words: vec![0; 1 << FIRST], lens: vec![0; 1 << FIRST] };
        huge::advise(&first.words);
        Self { first, blocks: Entries::default(), free: Vec::new(), made: 0, most: blocks.min(MAX_WORD >> 8) }
    }

    /// Blocks in use.
    pub fn blocks(&self) -> u32 {
        self.made - self.free.len() as u32
    }

    /// Octets of memory for all entries.
    pub fn memory(&self) -> usize {
        5 * (self.first.words.len() + self.blocks.words.capacity())
    }

    /// The word of an address; 0 where nothing matches.
    pub fn lookup(&self, address: Key) -> u32 {
        let found = self.begin((address.0 >> 96) as u32);
        if is_begun(found) { self.finish(address, found) } else { found }
    }

    /// The first load of a lookup, by the first 32 bits of the address: a word, or what [`Self::finish`] goes on with. Whoever
    /// looks many addresses up begins all of them first, so that they wait for memory together.
    #[inline(always)]
    pub fn begin(&self, start: u32) -> u32 {
        self.first.words.get((start >> 8) as usize).copied().unwrap_or(0)
    }

    /// Asks for what [`Self::begin`] will load.
    #[inline(always)]
    pub fn prefetch(&self, start: u32) {
        ipsec_mb::prefetch(self.first.words.as_ptr().wrapping_add((start >> 8) as usize), 0..1);
    }

    /// Asks for what [`Self::finish`] will load first.
    #[inline(always)]
    pub fn prefetch_block(&self, fourth: u8, begun: u32) {
        let at = slot(begun & MAX_WORD, usize::from(fourth));
        ipsec_mb::prefetch(self.blocks.words.as_ptr().wrapping_add(at), 0..1);
    }

    /// See [`Self::begin`].
    #[inline(always)]
    pub fn finish(&self, address: Key, begun: u32) -> u32 {
        let (mut word, mut shift) = (begun, 96);
        while is_begun(word) {
            let octet = (address.0 >> shift) as usize & 255;
            word = self.blocks.words.get(((word & MAX_WORD) as usize) << 8 | octet).copied().unwrap_or(0);
            shift -= 8;
        }
        word
    }

    /// Adds a prefix, or changes its word.
    pub fn add(&mut self, prefix: Key, len: u8, word: u32) -> Result<(), Full> {
        if self.missing(prefix, len) > self.most - self.blocks() {
            return Err(Full);
        }
        self.change(prefix, len, Leaf { word: word & MAX_WORD, len }, |owner| owner <= len);
        Ok(())
    }

    /// Deletes a prefix that was added. `cover` is the longest that is left of those that cover it, or 0 and 0.
    pub fn delete(&mut self, prefix: Key, len: u8, cover: Leaf) {
        self.change(prefix, len, cover, |owner| owner == len);
        self.collapse(prefix, len);
    }

    /// Blocks that have to be made before the range of a prefix has entries of its own.
    fn missing(&self, prefix: Key, len: u8) -> u32 {
        let (mut missing, mut depth) = (0, FIRST);
        let mut word = self.first.words[prefix.first()];
        while depth < len {
            missing += u32::from(word & BLOCK == 0);
            if word & BLOCK != 0 {
                word = self.blocks.words[slot(word & MAX_WORD, prefix.octet(depth))];
            }
            depth += 8;
        }
        missing
    }

    /// Gives the entries in the range of a prefix whose owners have the right length to `new`.
    fn change(&mut self, prefix: Key, len: u8, new: Leaf, owned: impl Fn(u8) -> bool + Copy) {
        if len <= FIRST {
            let from = prefix.first();
            for at in from..from + (1 << (FIRST - len)) {
                match self.first.words[at] {
                    word if word & BLOCK != 0 => self.fill(word & MAX_WORD, 0, 256, new, owned),
                    _ if owned(self.first.lens[at]) => self.first.set(at, new),
                    _ => {}
                }
            }
            return;
        }
        let mut depth = FIRST;
        let mut block = match self.first.words[prefix.first()] {
            word if word & BLOCK != 0 => word & MAX_WORD,
            _ => {
                let block = self.make(self.first.get(prefix.first()));
                self.first.words[prefix.first()] = BLOCK | block;
                block
            }
        };
        while depth + 8 < len {
            let at = slot(block, prefix.octet(depth));
            block = match self.blocks.words[at] {
                word if word & BLOCK != 0 => word & MAX_WORD,
                _ => {
                    let inner = self.make(self.blocks.get(at));
                    self.blocks.words[at] = BLOCK | inner;
                    inner
                }
            };
            depth += 8;
        }
        self.fill(block, prefix.octet(depth), 1 << (depth + 8 - len), new, owned);
    }

    fn fill(&mut self, block: u32, from: usize, count: usize, new: Leaf, owned: impl Fn(u8) -> bool + Copy) {
        for octet in from..from + count {
            let at = slot(block, octet);
            match self.blocks.words[at] {
                word if word & BLOCK != 0 => self.fill(word & MAX_WORD, 0, 256, new, owned),
                _ if owned(self.blocks.lens[at]) => self.blocks.set(at, new),
                _ => {}
            }
        }
    }

    /// A block all of whose entries say the same.
    fn make(&mut self, all: Leaf) -> u32 {
        let block = self.free.pop().unwrap_or(self.made);
        if block == self.made {
            self.made += 1;
            if self.blocks.words.len() == self.blocks.words.capacity() {
                // In smaller steps than a `Vec` takes by itself.
                let more = self.blocks.words.len() / 4 + (64 << 8);
                self.blocks.words.reserve_exact(more);
                self.blocks.lens.reserve_exact(more);
                huge::advise(self.blocks.words.spare_capacity_mut());
            }
            self.blocks.words.resize(slot(self.made, 0), all.word);
            self.blocks.lens.resize(slot(self.made, 0), all.len);
        }
        (0..256).for_each(|octet| self.blocks.set(slot(block, octet), all));
        block
    }

    /// Frees the blocks on the way to a prefix in which nothing is longer than what they hang on.
    fn collapse(&mut self, prefix: Key, len: u8) {
        let mut path = [(0, 0); 13];
        let (mut depth, mut n) = (FIRST, 0);
        let mut word = self.first.words[prefix.first()];
        while depth < len && word & BLOCK != 0 {
            path[n] = (word & MAX_WORD, depth);
            n += 1;
            word = self.blocks.words[slot(word & MAX_WORD, prefix.octet(depth))];
            depth += 8;
        }
        for i in (0..n).rev() {
            let (block, depth) = path[i];
            let range = slot(block, 0)..slot(block + 1, 0);
            let longer = self.blocks.lens[range.clone()].iter().any(|len| *len > depth);
            if longer || self.blocks.words[range].iter().any(|word| word & BLOCK != 0) {
                return;
            }
            let all = self.blocks.get(slot(block, 0));
            match i.checked_sub(1).map(|i| path[i]) {
                Some((outer, depth)) => self.blocks.set(slot(outer, prefix.octet(depth)), all),
                None => self.first.set(prefix.first(), all),
            }
            self.free.push(block);
        }
    }
}

/// Whether [`Lpm::begin`] has not found a word yet.
#[inline(always)]
pub const fn is_begun(word: u32) -> bool {
    word & BLOCK != 0
}

impl Entries {
    fn get(&self, at: usize) -> Leaf {
        Leaf { word: self.words[at], len: self.lens[at] }
    }

    fn set(&mut self, at: usize, leaf: Leaf) {
        (self.words[at], self.lens[at]) = (leaf.word, leaf.len);
    }
}

#[inline(always)]
fn slot(block: u32, octet: usize) -> usize {
    (block as usize) << 8 | octet
}

/// An address, left-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub u128);

impl Key {
    fn first(self) -> usize {
        (self.0 >> (128 - FIRST)) as usize
    }

    /// The octet after so many bits.
    fn octet(self, depth: u8) -> usize {
        (self.0 >> (120 - depth)) as usize & 255
    }
}

impl From<u32> for Key {
    #[inline]
    fn from(v4: u32) -> Self {
        Self(u128::from(v4) << 96)
    }
}

impl From<[u8; 16]> for Key {
    #[inline]
    fn from(v6: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(v6))
    }
}

impl From<std::net::IpAddr> for Key {
    fn from(address: std::net::IpAddr) -> Self {
        match address {
            std::net::IpAddr::V4(a) => a.to_bits().into(),
            std::net::IpAddr::V6(a) => Self(a.to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(s: &str) -> Key {
        s.parse::<std::net::IpAddr>().unwrap().into()
    }

    fn look(lpm: &Lpm, address: &str) -> u32 {
        lpm.lookup(key(address))
    }

    const NONE: Leaf = Leaf { word: 0, len: 0 };

    #[test]
    fn longest_match_change_delete_default() {
        let mut v4 = Lpm::new(8);
        v4.add(key("192.0.2.0"), 24, 24).unwrap();
        v4.add(key("192.0.2.129"), 32, MAX_WORD).unwrap();
        v4.add(key("192.0.2.128"), 25, 25).unwrap();
        let ask = |v4: &Lpm| ["192.0.2.1", "192.0.2.129", "192.0.2.130", "198.51.100.1"].map(|a| look(v4, a));
        assert_eq!(ask(&v4), [24, MAX_WORD, 25, 0]);
        v4.add(key("0.0.0.0"), 0, 1).unwrap();
        v4.add(key("192.0.2.0"), 24, 42).unwrap();
        assert_eq!(ask(&v4), [42, MAX_WORD, 25, 1]);
        v4.delete(key("192.0.2.129"), 32, Leaf { word: 25, len: 25 });
        v4.delete(key("192.0.2.128"), 25, Leaf { word: 42, len: 24 });
        assert_eq!((ask(&v4), v4.blocks()), ([42, 42, 42, 1], 0));
        v4.delete(key("0.0.0.0"), 0, NONE);
        assert_eq!(ask(&v4), [42, 42, 42, 0]);
    }

    #[test]
    fn a_full_table_says_so_and_stays_as_it_was_and_room_comes_back() {
        let mut v6 = Lpm::new(5);
        v6.add(key("2001:db8:0:1::"), 64, 1).unwrap();
        assert_eq!(v6.blocks(), 5);
        v6.add(key("2001:db8:0:2::"), 64, 2).unwrap();
        assert_eq!(v6.add(key("2001:db8:0:100::"), 64, 3), Err(Full));
        assert_eq!(["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:100::1"].map(|a| look(&v6, a)), [1, 2, 0]);
        for i in 0..10_000u128 {
            v6.delete(key("2001:db8:0:2::"), 64, NONE);
            v6.delete(key("2001:db8:0:1::"), 64, NONE);
            let other = Key(0x2001_0db8_0000_0000 << 64 | i << 72);
            v6.add(other, 64, 5).unwrap();
            v6.delete(other, 64, NONE);
            v6.add(key("2001:db8:0:1::"), 64, 1).unwrap();
            v6.add(key("2001:db8:0:2::"), 64, 2).unwrap();
        }
        assert_eq!(v6.blocks(), 5);
    }

    /// The longest of the prefixes that covers a key, shorter than `below`.
    fn cover(all: &BTreeMap<(u128, u8), u32>, key: u128, below: u8) -> Leaf {
        let found = all.iter().filter(|((p, len), _)| *len < below && key & mask(*len) == *p).max_by_key(|(k, _)| k.1);
        found.map_or(NONE, |((_, len), word)| Leaf { word: *word, len: *len })
    }

    fn mask(len: u8) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        // Few bits of the address vary, so that prefixes lie in each other.
        #[test]
        fn any_changes_give_what_a_search_gives(changes in prop::collection::vec((any::<u64>(), 8u8..=72, 1u32..9, any::<bool>()), 1..80)) {
            let spread = |bits: u64| u128::from(bits & 0x0300_0001_8181_0181) << 64;
            let mut lpm = Lpm::new(4096);
            let mut all = BTreeMap::new();
            for &(bits, len, word, add) in &changes {
                let prefix = spread(bits) & mask(len);
                if add {
                    lpm.add(Key(prefix), len, word).unwrap();
                    all.insert((prefix, len), word);
                } else if let Some((&(prefix, len), _)) = all.range((prefix, 0)..).next() {
                    all.remove(&(prefix, len));
                    lpm.delete(Key(prefix), len, cover(&all, prefix, len));
                }
                for &(bits, ..) in &changes {
                    prop_assert_eq!(lpm.lookup(Key(spread(bits))), cover(&all, spread(bits), 129).word);
                }
            }
            for (prefix, len) in all.keys().copied().collect::<Vec<_>>() {
                all.remove(&(prefix, len));
                lpm.delete(Key(prefix), len, cover(&all, prefix, len));
            }
            prop_assert_eq!(lpm.blocks(), 0);
        }
    }
}
