//! Socket options that protect TCP sessions of routing protocols, as Linux has them and neither std nor socket2 does:
//! the TCP MD5 signature (RFC 2385), TCP-AO ([`ao`], RFC 5925), and the Generalized TTL Security Mechanism (RFC 5082).
//!
//! A key belongs to a peer's addresses. On a listening socket there are the keys of all peers, and a connection inherits
//! the key of its own; on a connecting socket the key stands before `connect`. Kernel and peers agree on nothing: a
//! segment that is not signed as it should be is dropped without a word.

#![forbid(unsafe_code)]

pub mod ao;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::sys::socket::{SetSockOpt, SockaddrStorage, sockopt};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use zeroize::Zeroize;

/// Octets that a key may have, in both mechanisms.
pub const MAX_KEY: usize = 80;

/// `struct tcp_md5sig` of linux/tcp.h.
#[derive(Clone, Copy)]
#[repr(C)]
#[doc(hidden)]
pub struct Md5Signature {
    address: SockaddrStorage,
    flags: u8,
    prefix: u8,
    key_len: u16,
    interface: i32,
    key: [u8; MAX_KEY],
}
const _: () = assert!(size_of::<Md5Signature>() == 216);

/// TCP_MD5SIG_FLAG_PREFIX: the address is a prefix.
const PREFIX: u8 = 1;

sockopt_impl!(
    #[doc(hidden)]
    Md5Option,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_MD5SIG_EXT,
    Md5Signature
);
sockopt_impl!(
    #[doc(hidden)]
    MinTtl,
    Both,
    libc::IPPROTO_IP,
    libc::IP_MINTTL,
    i32
);
sockopt_impl!(
    #[doc(hidden)]
    MinHopCount,
    Both,
    libc::IPPROTO_IPV6,
    libc::IPV6_MINHOPCOUNT,
    i32
);

/// Segments from and to `peers` are signed with `key` from now on, in every state of the socket. A connection's own key
/// is that of the peer's host prefix.
///
/// # Errors
/// `InvalidInput` for a key that is empty or longer than [`MAX_KEY`]; what the kernel says: `ENOPROTOOPT` without
/// CONFIG_TCP_MD5SIG, `EINVAL` for an address of another family than the socket's.
pub fn set_md5_key(socket: &impl AsFd, peers: IpNet, key: &[u8]) -> io::Result<()> {
    if key.is_empty() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    md5(socket, peers, key)
}

/// Segments from and to exactly these peers need no signature any more.
///
/// # Errors
/// `ENOENT` when they had no key.
pub fn delete_md5_key(socket: &impl AsFd, peers: IpNet) -> io::Result<()> {
    md5(socket, peers, &[])
}

fn md5(socket: &impl AsFd, peers: IpNet, key: &[u8]) -> io::Result<()> {
    let mut value = Md5Signature {
        address: network(peers),
        flags: PREFIX,
        prefix: peers.prefix_len(),
        key_len: key.len() as u16,
        interface: 0,
        key: padded(key)?,
    };
    let result = Md5Option.set(socket, &value);
    value.key.zeroize();
    Ok(result?)
}

/// What is sent has this TTL or hop limit. `peer` tells the family.
pub fn set_ttl(socket: &impl AsFd, peer: IpAddr, ttl: u8) -> io::Result<()> {
    let ttl = i32::from(ttl);
    Ok(if peer.is_ipv4() { sockopt::Ipv4Ttl.set(socket, &ttl) } else { sockopt::Ipv6Ttl.set(socket, &ttl) }?)
}

/// Segments that arrive with a lower TTL or hop limit are dropped; 0 lets all pass. `peer` tells the family.
pub fn set_min_ttl(socket: &impl AsFd, peer: IpAddr, ttl: u8) -> io::Result<()> {
    let ttl = i32::from(ttl);
    Ok(if peer.is_ipv4() { MinTtl.set(socket, &ttl) } else { MinHopCount.set(socket, &ttl) }?)
}

fn network(peers: IpNet) -> SockaddrStorage {
    SocketAddr::new(peers.network(), 0).into()
}

fn padded(key: &[u8]) -> io::Result<[u8; MAX_KEY]> {
    let mut padded = [0; MAX_KEY];
    padded.get_mut(..key.len()).ok_or(Errno::EINVAL)?.copy_from_slice(key);
    Ok(padded)
}
