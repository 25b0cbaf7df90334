//! The TCP Authentication Option (RFC 5925) of Linux 6.7 and newer with CONFIG_TCP_AO: Master Key Tuples of a socket.
//!
//! The MKTs that we make have one KeyID for both directions and HMAC-SHA-1-96 (RFC 5926), and cover the other TCP options.
//! A key changes without a loss: the new MKT is added on both ends, each end asks for it ([`ask_for`], RNextKeyID), and the
//! other one changes when it has it (RFC 5925, section 8.1).
//!
//! A connection inherits from its listener the MKTs of all prefixes that its peer is in, as they are there. Two MKTs of one
//! socket whose prefixes overlap must differ in their ids.

use crate::{MAX_KEY, network, padded};
use ipnet::IpNet;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SetSockOpt, SockFlag, SockType, SockaddrStorage, socket};
use nix::{setsockopt_impl, sockopt_impl};
use std::io;
use std::os::fd::AsFd;
use zeroize::Zeroize;

const TCP_AO_ADD_KEY: i32 = 38;
const TCP_AO_DEL_KEY: i32 = 39;
const TCP_AO_INFO: i32 = 40;

/// First bits of the flags in all three structures.
const SET_CURRENT: u32 = 1;
const SET_RNEXT: u32 = 2;

/// `struct tcp_ao_add`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
#[doc(hidden)]
pub struct Add {
    address: SockaddrStorage,
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    receive_id: u8,
    mac_len: u8,
    key_flags: u8,
    key_len: u8,
    key: [u8; MAX_KEY],
}
const _: () = assert!(size_of::<Add>() == 288);

/// `struct tcp_ao_del`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
#[doc(hidden)]
pub struct Delete {
    address: SockaddrStorage,
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    receive_id: u8,
    current_key: u8,
    rnext: u8,
    key_flags: u8,
}
const _: () = assert!(size_of::<Delete>() == 144);

/// `struct tcp_ao_info_opt`.
#[derive(Clone, Copy, Default)]
#[repr(C, align(8))]
#[doc(hidden)]
pub struct Info {
    flags: u32,
    reserved: u16,
    current_key: u8,
    rnext: u8,
    counters: [u64; 5],
}
const _: () = assert!(size_of::<Info>() == 48);

sockopt_impl!(
    #[doc(hidden)]
    AddKey,
    SetOnly,
    libc::IPPROTO_TCP,
    TCP_AO_ADD_KEY,
    Add
);
sockopt_impl!(
    #[doc(hidden)]
    DeleteKey,
    SetOnly,
    libc::IPPROTO_TCP,
    TCP_AO_DEL_KEY,
    Delete
);
sockopt_impl!(
    #[doc(hidden)]
    InfoOption,
    SetOnly,
    libc::IPPROTO_TCP,
    TCP_AO_INFO,
    Info
);

/// Whether the kernel has TCP-AO.
pub fn is_supported() -> bool {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    socket.is_ok_and(|s| InfoOption.set(&s, &Info::default()) != Err(Errno::ENOPROTOOPT))
}

/// Adds the MKT `id` for `peers`. With `first`, a connecting socket begins with it.
///
/// # Errors
/// `InvalidInput` for a key that is empty or longer than [`MAX_KEY`]; what the kernel says: `EEXIST` if the id is taken,
/// `ENOPROTOOPT` without TCP-AO.
pub fn add_key(socket: &impl AsFd, peers: IpNet, id: u8, key: &[u8], first: bool) -> io::Result<()> {
    if key.is_empty() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut algorithm = [0; 64];
    algorithm.iter_mut().zip(b"hmac(sha1)").for_each(|(to, from)| *to = *from);
    let mut value = Add {
        address: network(peers),
        algorithm,
        interface: 0,
        flags: if first { SET_CURRENT | SET_RNEXT } else { 0 },
        reserved: 0,
        prefix: peers.prefix_len(),
        send_id: id,
        receive_id: id,
        mac_len: 12,
        key_flags: 0,
        key_len: key.len() as u8,
        key: padded(key)?,
    };
    let result = AddKey.set(socket, &value);
    value.key.zeroize();
    Ok(result?)
}

/// Removes the MKT `id` for `peers`, which are those that it was added for. A connection that uses it goes on with the MKT
/// `instead`; whether its peer has that one is not asked.
///
/// # Errors
/// `ENOENT` when there is none, `EBUSY` while a connection uses it and `instead` is none, `EINVAL` for a listening socket
/// and `instead`.
pub fn delete_key(socket: &impl AsFd, peers: IpNet, id: u8, instead: Option<u8>) -> io::Result<()> {
    let value = Delete {
        address: network(peers),
        interface: 0,
        flags: if instead.is_some() { SET_CURRENT | SET_RNEXT } else { 0 },
        reserved: 0,
        prefix: peers.prefix_len(),
        send_id: id,
        receive_id: id,
        current_key: instead.unwrap_or_default(),
        rnext: instead.unwrap_or_default(),
        key_flags: 0,
    };
    Ok(DeleteKey.set(socket, &value)?)
}

/// Asks the peer of a connection to send with the MKT `id` (RNextKeyID).
pub fn ask_for(socket: &impl AsFd, id: u8) -> io::Result<()> {
    Ok(InfoOption.set(socket, &Info { flags: SET_RNEXT, rnext: id, ..Info::default() })?)
}
