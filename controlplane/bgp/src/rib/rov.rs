//! Origin validation (RFC 6811): whether the AS that a route comes from may originate it.
//!
//! ```text
//!  VRP  10.0.0.0/16-20 AS 65001       a validated ROA payload: prefix, maximum length, AS
//!
//!  10.0.0.0/18 of AS 65001  valid     covered, not too long, the right AS
//!  10.0.0.0/24 of AS 65001  invalid   covered, but too long
//!  10.0.0.0/18 of AS 65002  invalid   covered, but another AS
//!  11.0.0.0/16              not found
//! ```

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

/// Validation state of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rov {
    /// A VRP matches.
    Valid,
    /// VRPs cover the prefix, and none matches.
    Invalid,
    /// No VRP covers the prefix.
    NotFound,
}

/// A validated ROA payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vrp {
    /// Prefix.
    pub prefix: IpNet,
    /// Longest prefix within it that the AS may originate.
    pub max_length: u8,
    /// The AS; 0 matches no route (RFC 6483, section 4).
    pub asn: u32,
}

/// All VRPs.
#[derive(Clone, Debug, Default)]
pub struct RovTable {
    vrps: JointPrefixMap<IpNet, Vec<(u8, u32)>>,
}

impl RovTable {
    /// Adds a VRP. Whether it was not there yet.
    pub fn insert(&mut self, vrp: Vrp) -> bool {
        let known = self.vrps.entry(vrp.prefix).or_default();
        let new = !known.contains(&(vrp.max_length, vrp.asn));
        if new {
            known.push((vrp.max_length, vrp.asn));
        }
        new
    }

    /// Takes a VRP away. Whether it was there.
    pub fn remove(&mut self, vrp: &Vrp) -> bool {
        let Some(known) = self.vrps.get_mut(&vrp.prefix) else { return false };
        let before = known.len();
        known.retain(|entry| *entry != (vrp.max_length, vrp.asn));
        let removed = known.len() < before;
        if known.is_empty() {
            self.vrps.remove(&vrp.prefix);
        }
        removed
    }

    /// The state of a route; `origin` is `None` when its AS_PATH ends with a set.
    pub fn validate(&self, prefix: &IpNet, origin: Option<u32>) -> Rov {
        let mut state = Rov::NotFound;
        for &(max_length, asn) in self.vrps.cover_values(prefix).flatten() {
            if asn != 0 && origin == Some(asn) && prefix.prefix_len() <= max_length {
                return Rov::Valid;
            }
            state = Rov::Invalid;
        }
        state
    }

    /// All VRPs, in order of their prefixes.
    pub fn iter(&self) -> impl Iterator<Item = Vrp> + '_ {
        let vrps = |(prefix, known): (IpNet, &'_ Vec<(u8, u32)>)| {
            known.clone().into_iter().map(move |(max_length, asn)| Vrp { prefix, max_length, asn })
        };
        self.vrps.iter().flat_map(vrps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vrp(prefix: &str, max_length: u8, asn: u32) -> Vrp {
        Vrp { prefix: prefix.parse().unwrap(), max_length, asn }
    }

    fn table(vrps: &[Vrp]) -> RovTable {
        let mut table = RovTable::default();
        vrps.iter().for_each(|vrp| assert!(table.insert(*vrp)));
        table
    }

    #[test]
    fn states() {
        let table = table(&[vrp("10.0.0.0/16", 20, 65001), vrp("2001:db8::/32", 48, 65001), vrp("12.0.0.0/8", 8, 0)]);
        let state = |prefix: &str, origin| table.validate(&prefix.parse().unwrap(), origin);
        assert_eq!(state("10.0.0.0/16", Some(65001)), Rov::Valid);
        assert_eq!(state("10.0.16.0/20", Some(65001)), Rov::Valid);
        assert_eq!(state("10.0.0.0/21", Some(65001)), Rov::Invalid);
        assert_eq!(state("10.0.0.0/18", Some(65002)), Rov::Invalid);
        assert_eq!(state("10.0.0.0/18", None), Rov::Invalid);
        assert_eq!(state("10.0.0.0/15", Some(65001)), Rov::NotFound);
        assert_eq!(state("11.0.0.0/16", Some(65001)), Rov::NotFound);
        assert_eq!(state("2001:db8:1::/48", Some(65001)), Rov::Valid);
        assert_eq!(state("12.0.0.0/8", Some(0)), Rov::Invalid);
    }

    #[test]
    fn any_vrp_that_matches_makes_valid() {
        let table = table(&[vrp("10.0.0.0/8", 8, 65009), vrp("10.0.0.0/16", 24, 65001), vrp("10.0.0.0/16", 16, 65002)]);
        let state = |origin| table.validate(&"10.0.0.0/24".parse().unwrap(), Some(origin));
        assert_eq!((state(65001), state(65002), state(65009)), (Rov::Valid, Rov::Invalid, Rov::Invalid));
    }

    #[test]
    fn vrps_come_and_go() {
        let (a, b) = (vrp("10.0.0.0/16", 20, 65001), vrp("10.0.0.0/16", 24, 65001));
        let mut table = table(&[a, b]);
        assert!(!table.insert(a));
        assert_eq!(table.iter().collect::<Vec<_>>(), [a, b]);
        let longer: IpNet = "10.0.0.0/24".parse().unwrap();
        assert!(table.remove(&b) && !table.remove(&b));
        assert_eq!(table.validate(&longer, Some(65001)), Rov::Invalid);
        assert!(table.remove(&a) && !table.remove(&a));
        assert_eq!(table.validate(&longer, Some(65001)), Rov::NotFound);
        assert_eq!(table.iter().count(), 0);
    }
}
