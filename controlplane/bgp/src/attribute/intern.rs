//! One copy of each set of attributes, however many routes have it.

use super::Attributes;
use std::collections::HashSet;
use std::sync::Arc;

const SWEEP_FLOOR: usize = 4096;

/// All sets of attributes in use. Sets that only the interner still holds go when it has doubled since the last time.
#[derive(Debug)]
pub struct Interner {
    sets: HashSet<Arc<Attributes>>,
    sweep_at: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self { sets: HashSet::new(), sweep_at: SWEEP_FLOOR }
    }
}

impl Interner {
    /// The one copy that equals `attributes`.
    pub fn intern(&mut self, attributes: Arc<Attributes>) -> Arc<Attributes> {
        if let Some(known) = self.sets.get(&attributes) {
            return Arc::clone(known);
        }
        if self.sets.len() >= self.sweep_at {
            self.sweep();
        }
        self.sets.insert(Arc::clone(&attributes));
        attributes
    }

    /// Lets go of what nobody else holds.
    pub fn sweep(&mut self) {
        self.sets.retain(|set| Arc::strong_count(set) > 1);
        self.sweep_at = SWEEP_FLOOR.max(2 * self.sets.len());
        self.sets.shrink_to(self.sweep_at);
    }

    /// All sets.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Attributes>> {
        self.sets.iter()
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::NextHop;
    use std::net::{IpAddr, Ipv4Addr};

    fn set(n: u32) -> Arc<Attributes> {
        Arc::new(Attributes::new(NextHop::from(IpAddr::V4(Ipv4Addr::from_bits(n)))))
    }

    #[test]
    fn equal_sets_are_one() {
        let mut interner = Interner::default();
        let (a, b) = (interner.intern(set(1)), interner.intern(set(1)));
        assert!(Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &interner.intern(set(2))));
        assert_eq!(interner.len(), 2);
    }

    #[test]
    fn sets_that_nobody_holds_go() {
        let mut interner = Interner::default();
        let held = interner.intern(set(0));
        for n in 1..20_000 {
            interner.intern(set(n));
            assert!(interner.len() <= SWEEP_FLOOR);
        }
        assert!(Arc::ptr_eq(&held, &interner.intern(set(0))));
        interner.sweep();
        assert_eq!(interner.len(), 1);
    }
}
