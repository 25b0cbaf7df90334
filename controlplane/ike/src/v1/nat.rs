//! NAT detection (RFC 3947, section 3.2): hashes of the addresses that the sender believes in, the receiver's first.

use super::crypto::Hash;
use super::payload::{Body, kind};
use super::vendor::NatT;
use crate::event::Meta;
use crate::payload::{Builder, PayloadType};
use crate::sa::nat::Nat;
use std::net::{IpAddr, SocketAddr};

/// Of an ISAKMP SA: (initiator's, responder's) cookie.
type Cookies = (u64, u64);

fn hash(hash: Hash, (i, r): Cookies, address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    let (i, r) = (i.to_be_bytes(), r.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => hash.hash(&[&i, &r, &ip.octets(), &port]),
        IpAddr::V6(ip) => hash.hash(&[&i, &r, &ip.octets(), &port]),
    }
}

/// Compares the peer's hashes with the addresses of its datagram. Without hashes the peer does not do NAT traversal.
pub(super) fn detect(body: &Body<'_>, with: Hash, cookies: Cookies, path: Meta) -> Nat {
    let Some((ours, theirs)) = body.nat_d.split_first().filter(|(_, theirs)| !theirs.is_empty()) else {
        return Nat::default();
    };
    let remote = hash(with, cookies, path.remote);
    Nat { local: **ours != hash(with, cookies, path.local), remote: !theirs.contains(&&remote[..]) }
}

/// Adds our hashes. `pretend` spoils the one of our own address, so that the peer sees a NAT and encapsulates.
pub(super) fn announce(chain: &mut Builder, natt: NatT, with: Hash, cookies: Cookies, path: Meta, pretend: bool) {
    let shown = if pretend { SocketAddr::new(path.local.ip(), 0) } else { path.local };
    for address in [path.remote, shown] {
        chain.raw(nat_d(natt), &hash(with, cookies, address));
    }
}

fn nat_d(natt: NatT) -> PayloadType {
    if natt == NatT::Rfc { kind::NAT_D } else { kind::NAT_D_DRAFT }
}

/// The type of NAT-OA.
pub(super) fn nat_oa(natt: NatT) -> PayloadType {
    if natt == NatT::Rfc { kind::NAT_OA } else { kind::NAT_OA_DRAFT }
}
