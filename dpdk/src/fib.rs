//! Longest-prefix match in the fast path: DPDK's FIBs, which look up a burst of addresses at a time.
//!
//! - [`Fib4`] is DIR24-8: a table indexed by the first 24 bits (64 MiB) whose entries are a next hop or the number of a
//!   second-level table (`tbl8`, 1 KiB) for longer prefixes. A lookup costs one or two loads.
//! - [`Fib6`] is a trie of the same kind: 24 bits, then a `tbl8` per further octet. A /48 whose neighbours differ takes
//!   three of them, so it needs many; running out is [`Error::FibFull`], and the route is then not in.
//!
//! A lookup returns the number given with the route, or the default. There is no RCU in DPDK 22.11: Rust's borrow rules
//! keep lookups and changes apart, and a publisher changes a FIB that no worker reads.

use crate::error::{Errno, Error, Result, c_name};
use dpdk_sys::{rte_fib, rte_fib_conf, rte_fib6, rte_fib6_conf};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ptr::NonNull;

/// Largest next hop: 4-octet entries, one bit of which tells a next hop from a second-level table.
pub const MAX_NEXT_HOP: u32 = (1 << 31) - 1;

/// Longest name, NUL included.
const NAME_SIZE: usize = 50;

/// An IPv4 forwarding table.
#[derive(Debug)]
pub struct Fib4 {
    raw: NonNull<rte_fib>,
    name: String,
}

/// An IPv6 forwarding table.
#[derive(Debug)]
pub struct Fib6 {
    raw: NonNull<rte_fib6>,
    name: String,
}

// SAFETY: a FIB is memory without ties to a thread.
unsafe impl Send for Fib4 {}
// SAFETY: lookups, all that `&self` offers, only read.
unsafe impl Sync for Fib4 {}
// SAFETY: as Fib4.
unsafe impl Send for Fib6 {}
// SAFETY: as Fib4.
unsafe impl Sync for Fib6 {}

impl Fib4 {
    /// Makes a table for `max_routes` routes and `tbl8` groups of prefixes longer than /24 (rounded up to a multiple
    /// of 64); `default` is the result where no route matches.
    pub fn new(name: &str, max_routes: u32, tbl8: u32, default: u32) -> Result<Self> {
        crate::eal::require()?;
        let (c, max_routes) = limits(name, max_routes, default)?;
        // SAFETY: integers and a union of integers: zeroes are a valid value.
        let mut conf: rte_fib_conf = unsafe { MaybeUninit::zeroed().assume_init() };
        conf.type_ = dpdk_sys::RTE_FIB_DIR24_8;
        conf.default_nh = u64::from(default);
        conf.max_routes = max_routes;
        conf.__bindgen_anon_1.dir24_8.nh_sz = dpdk_sys::RTE_FIB_DIR24_8_4B;
        conf.__bindgen_anon_1.dir24_8.num_tbl8 = tbl8;
        // SAFETY: the EAL runs; name and configuration are copied.
        let raw = unsafe { dpdk_sys::rte_fib_create(c.as_ptr(), -1, &mut conf) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::create("FIB", name, Errno::last()))?;
        Ok(Self { raw, name: name.to_owned() })
    }

    /// Adds a route or changes its next hop. Host bits of `prefix` are ignored.
    pub fn add(&mut self, prefix: Ipv4Addr, len: u8, next_hop: u32) -> Result<()> {
        check_route(&self.name, len, 32, next_hop)?;
        // SAFETY: the table is ours alone while borrowed exclusively; the length is in range.
        let ret = unsafe { dpdk_sys::rte_fib_add(self.raw.as_ptr(), mask4(prefix, len), len, u64::from(next_hop)) };
        changed(&self.name, ret)
    }

    /// Deletes a route.
    pub fn delete(&mut self, prefix: Ipv4Addr, len: u8) -> Result<()> {
        check_route(&self.name, len, 32, 0)?;
        // SAFETY: as in `add`.
        let ret = unsafe { dpdk_sys::rte_fib_delete(self.raw.as_ptr(), mask4(prefix, len), len) };
        changed(&self.name, ret)
    }

    /// Looks up addresses (as numbers, `Ipv4Addr::to_bits`). As many as the shorter slice has.
    #[inline]
    pub fn lookup_bulk(&self, addresses: &[u32], next_hops: &mut [u64]) {
        let n = addresses.len().min(next_hops.len()) as c_int;
        // SAFETY: n addresses are read (the parameter lacks a const), n results written. It cannot fail: nothing is
        // null.
        unsafe {
            let addresses = addresses.as_ptr().cast_mut();
            dpdk_sys::rte_fib_lookup_bulk(self.raw.as_ptr(), addresses, next_hops.as_mut_ptr(), n);
        }
    }
}

impl Drop for Fib4 {
    fn drop(&mut self) {
        // SAFETY: ours, and not used again.
        unsafe { dpdk_sys::rte_fib_free(self.raw.as_ptr()) }
    }
}

impl Fib6 {
    /// Makes a table for `max_routes` routes with `tbl8` second-level tables; `default` is the result where no route
    /// matches.
    pub fn new(name: &str, max_routes: u32, tbl8: u32, default: u32) -> Result<Self> {
        crate::eal::require()?;
        let (c, max_routes) = limits(name, max_routes, default)?;
        // SAFETY: integers and a union of integers: zeroes are a valid value.
        let mut conf: rte_fib6_conf = unsafe { MaybeUninit::zeroed().assume_init() };
        conf.type_ = dpdk_sys::RTE_FIB6_TRIE;
        conf.default_nh = u64::from(default);
        conf.max_routes = max_routes;
        conf.__bindgen_anon_1.trie.nh_sz = dpdk_sys::RTE_FIB6_TRIE_4B;
        conf.__bindgen_anon_1.trie.num_tbl8 = tbl8;
        // SAFETY: the EAL runs; name and configuration are copied.
        let raw = unsafe { dpdk_sys::rte_fib6_create(c.as_ptr(), -1, &mut conf) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::create("FIB", name, Errno::last()))?;
        Ok(Self { raw, name: name.to_owned() })
    }

    /// Adds a route or changes its next hop. Host bits of `prefix` are ignored.
    pub fn add(&mut self, prefix: Ipv6Addr, len: u8, next_hop: u32) -> Result<()> {
        check_route(&self.name, len, 128, next_hop)?;
        let ip = mask6(prefix, len);
        // SAFETY: the table is ours alone while borrowed exclusively; 16 octets are read; the length is in range.
        let ret = unsafe { dpdk_sys::rte_fib6_add(self.raw.as_ptr(), ip.as_ptr(), len, u64::from(next_hop)) };
        changed(&self.name, ret)
    }

    /// Deletes a route.
    pub fn delete(&mut self, prefix: Ipv6Addr, len: u8) -> Result<()> {
        check_route(&self.name, len, 128, 0)?;
        let ip = mask6(prefix, len);
        // SAFETY: as in `add`.
        let ret = unsafe { dpdk_sys::rte_fib6_delete(self.raw.as_ptr(), ip.as_ptr(), len) };
        changed(&self.name, ret)
    }

    /// Looks up addresses (`Ipv6Addr::octets`). As many as the shorter slice has.
    #[inline]
    pub fn lookup_bulk(&self, addresses: &[[u8; 16]], next_hops: &mut [u64]) {
        let n = addresses.len().min(next_hops.len()) as c_int;
        // SAFETY: as Fib4::lookup_bulk.
        unsafe {
            let addresses = addresses.as_ptr().cast_mut();
            dpdk_sys::rte_fib6_lookup_bulk(self.raw.as_ptr(), addresses, next_hops.as_mut_ptr(), n);
        }
    }
}

impl Drop for Fib6 {
    fn drop(&mut self) {
        // SAFETY: ours, and not used again.
        unsafe { dpdk_sys::rte_fib6_free(self.raw.as_ptr()) }
    }
}

fn limits(name: &str, max_routes: u32, default: u32) -> Result<(std::ffi::CString, c_int)> {
    let most = c_int::MAX / 4;
    let asked = c_int::try_from(max_routes).ok().filter(|&r| r <= most).ok_or_else(|| Error::TooMany {
        what: "routes",
        name: name.to_owned(),
        asked: u64::from(max_routes),
        most: most as u64,
    })?;
    check_route(name, 0, 0, default)?;
    Ok((c_name(name, NAME_SIZE)?, asked))
}

fn check_route(name: &str, len: u8, bits: u8, next_hop: u32) -> Result<()> {
    let what = if len > bits {
        "prefix length out of range"
    } else if next_hop > MAX_NEXT_HOP {
        "next hop out of range (31 bits)"
    } else {
        return Ok(());
    };
    Err(Error::BadRoute { name: name.to_owned(), what })
}

fn changed(name: &str, ret: c_int) -> Result<()> {
    use nix::errno::Errno as E;
    let full = |what| Err(Error::FibFull { name: name.to_owned(), what });
    match E::from_raw(-ret) {
        _ if ret >= 0 => Ok(()),
        E::ENOENT => Err(Error::NoRoute(name.to_owned())),
        E::ENOSPC => full("no second-level table (tbl8) is left"),
        E::ENOMEM => full("no room for another route is left"),
        _ => Err(Error::BadRoute { name: name.to_owned(), what: "refused by DPDK" }),
    }
}

fn mask4(prefix: Ipv4Addr, len: u8) -> u32 {
    prefix.to_bits() & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

fn mask6(prefix: Ipv6Addr, len: u8) -> [u8; 16] {
    (prefix.to_bits() & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    fn v4(s: &str) -> Ipv4Addr {
        s.parse().expect("IPv4 address")
    }

    fn v6(s: &str) -> Ipv6Addr {
        s.parse().expect("IPv6 address")
    }

    fn look4(fib: &Fib4, addresses: &[&str]) -> Vec<u64> {
        let mut out = vec![u64::MAX; addresses.len()];
        fib.lookup_bulk(&addresses.iter().map(|a| v4(a).to_bits()).collect::<Vec<_>>(), &mut out);
        out
    }

    fn look6(fib: &Fib6, addresses: &[&str]) -> Vec<u64> {
        let mut out = vec![u64::MAX; addresses.len()];
        fib.lookup_bulk(&addresses.iter().map(|a| v6(a).octets()).collect::<Vec<_>>(), &mut out);
        out
    }

    #[test]
    fn ipv4_longest_match_change_delete_default() {
        sim::eal().expect("EAL");
        let mut fib = Fib4::new("f4", 100, 8, 7).expect("FIB");
        let ask = ["192.0.2.1", "192.0.2.129", "192.0.2.130", "198.51.100.1"];
        assert_eq!(look4(&fib, &ask), [7; 4]);
        fib.add(v4("192.0.2.0"), 24, 24).expect("add");
        fib.add(v4("192.0.2.129"), 32, MAX_NEXT_HOP).expect("add");
        fib.add(v4("192.0.2.200"), 25, 25).expect("host bits are ignored");
        let most = u64::from(MAX_NEXT_HOP);
        assert_eq!(look4(&fib, &ask), [24, most, 25, 7]);
        fib.add(v4("0.0.0.0"), 0, 1).expect("default route");
        assert_eq!(look4(&fib, &ask), [24, most, 25, 1]);
        fib.add(v4("192.0.2.0"), 24, 42).expect("change");
        fib.delete(v4("192.0.2.129"), 32).expect("delete");
        fib.delete(v4("192.0.2.128"), 25).expect("delete");
        fib.delete(v4("0.0.0.0"), 0).expect("delete");
        assert_eq!(look4(&fib, &ask), [42, 42, 42, 7]);
        assert!(matches!(fib.delete(v4("192.0.2.129"), 32), Err(Error::NoRoute(_))));
        assert!(matches!(fib.add(v4("192.0.2.0"), 33, 1), Err(Error::BadRoute { .. })));
        assert!(matches!(fib.add(v4("192.0.2.0"), 24, MAX_NEXT_HOP + 1), Err(Error::BadRoute { .. })));
        assert!(matches!(Fib4::new("f4", 100, 8, 7), Err(Error::Exists { .. })));
    }

    #[test]
    fn ipv6_longest_match_delete_default() {
        sim::eal().expect("EAL");
        let mut fib = Fib6::new("f6", 100, 256, 7).expect("FIB");
        let ask = ["2001:db8:1::1", "2001:db8:1:2::1", "2001:db8:2::1", "fe80::1"];
        assert_eq!(look6(&fib, &ask), [7; 4]);
        fib.add(v6("2001:db8::"), 32, 32).expect("add");
        fib.add(v6("2001:db8:1::"), 48, 48).expect("add");
        fib.add(v6("2001:db8:1:2::1"), 128, 128).expect("add");
        assert_eq!(look6(&fib, &ask), [48, 128, 32, 7]);
        fib.delete(v6("2001:db8:1:2::1"), 128).expect("delete");
        fib.delete(v6("2001:db8:1::"), 48).expect("delete");
        fib.add(v6("::"), 0, 1).expect("default route");
        assert_eq!(look6(&fib, &ask), [32, 32, 32, 1]);
        assert!(matches!(fib.delete(v6("2001:db8:1::"), 48), Err(Error::NoRoute(_))));
        assert!(matches!(fib.add(v6("::"), 129, 1), Err(Error::BadRoute { .. })));
    }

    #[test]
    fn exhaustion_is_told_and_changes_nothing() {
        sim::eal().expect("EAL");
        let mut fib = Fib4::new("f4-small", 1000, 2, 0).expect("FIB");
        // DPDK rounds the number of second-level tables up to 64
        for i in 0..64u32 {
            fib.add(Ipv4Addr::from_bits(0x0a00_0001 | i << 8), 32, i + 1).expect("a tbl8 each");
        }
        assert!(matches!(fib.add(v4("10.0.64.1"), 32, 3), Err(Error::FibFull { .. })));
        assert_eq!(look4(&fib, &["10.0.0.1", "10.0.63.1", "10.0.64.1"]), [1, 64, 0]);
        fib.delete(v4("10.0.0.1"), 32).expect("delete");
        fib.add(v4("10.0.64.1"), 32, 3).expect("there is room again");
        let mut fib = Fib6::new("f6-small", 100, 8, 0).expect("FIB");
        assert!(matches!(fib.add(v6("2001:db8::1"), 128, 1), Err(Error::FibFull { .. })));
        assert_eq!(look6(&fib, &["2001:db8::1"]), [0]);
        fib.add(v6("2001:db8::"), 40, 2).expect("a shorter one still fits");
        assert_eq!(look6(&fib, &["2001:db8::1"]), [2]);
    }
}
