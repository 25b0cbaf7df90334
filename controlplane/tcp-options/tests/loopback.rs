//! The options on connections over the loopback interface.

#![allow(clippy::unwrap_used)]

mod common;

use common::{HOSTS, LONG, SHORT, connect, host, listener, talks};
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use tcp_options::{ao, delete_md5_key, set_md5_key, set_min_ttl, set_ttl};

#[test]
fn the_same_md5_key_talks_and_another_does_not() {
    for address in HOSTS {
        let l = listener(address);
        set_md5_key(&l, host(address), b"correct-horse").unwrap();
        let mut c = connect(&l, LONG, |s| set_md5_key(s, host(address), b"correct-horse").unwrap()).unwrap();
        let (mut a, _) = l.accept().unwrap();
        assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{address}");
        for prepare in [|s: &_, a| set_md5_key(s, a, b"wrong-horse!!").unwrap(), |_: &_, _| ()] {
            let e = connect(&l, SHORT, |s| prepare(s, host(address))).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::TimedOut, "{address}: {e}");
        }
    }
}

#[test]
fn a_key_of_a_range_and_one_of_a_peer_in_it() {
    let l = listener("127.0.0.1");
    set_md5_key(&l, "127.0.0.0/8".parse().unwrap(), b"of-the-range").unwrap();
    let ranged = |s: &_| set_md5_key(s, host("127.0.0.1"), b"of-the-range").unwrap();
    assert!(connect(&l, LONG, ranged).is_ok());
    // The longest prefix decides.
    set_md5_key(&l, host("127.0.0.1"), b"of-the-peer!").unwrap();
    assert!(connect(&l, SHORT, ranged).is_err());
    delete_md5_key(&l, host("127.0.0.1")).unwrap();
    assert!(connect(&l, LONG, ranged).is_ok());
    assert!(delete_md5_key(&l, host("127.0.0.1")).is_err());
}

#[test]
fn a_key_changes_on_an_established_connection() {
    let l = listener("127.0.0.1");
    set_md5_key(&l, host("127.0.0.1"), b"first-key-12").unwrap();
    let mut c = connect(&l, LONG, |s| set_md5_key(s, host("127.0.0.1"), b"first-key-12").unwrap()).unwrap();
    let (mut a, _) = l.accept().unwrap();
    assert!(talks(&mut c, &mut a));
    // One end is early: what it sends is dropped, and sent again when the other end has the key, too.
    set_md5_key(&c, host("127.0.0.1"), b"second-key-1").unwrap();
    assert!(!talks(&mut c, &mut a));
    set_md5_key(&a, host("127.0.0.1"), b"second-key-1").unwrap();
    a.set_read_timeout(Some(LONG)).unwrap();
    assert!(a.read(&mut [0; 8]).is_ok_and(|n| n > 0));
    assert!(talks(&mut a, &mut c));
}

#[test]
fn keys_that_cannot_be() {
    let l = listener("127.0.0.1");
    for key in [&[][..], &[1; 81]] {
        assert_eq!(set_md5_key(&l, host("127.0.0.1"), key).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(ao::add_key(&l, host("127.0.0.1"), 1, key, false).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(set_md5_key(&l, host("127.0.0.1"), &[1; 80]).is_ok());
    assert_eq!(set_md5_key(&l, host("::1"), &[1; 80]).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn gtsm_drops_what_comes_from_far_away() {
    for address in HOSTS {
        let peer: IpAddr = address.parse().unwrap();
        let l = listener(address);
        set_ttl(&l, peer, 255).unwrap();
        set_min_ttl(&l, peer, 255).unwrap();
        let near = |s: &_| {
            set_ttl(s, peer, 255).unwrap();
            set_min_ttl(s, peer, 255).unwrap();
        };
        let mut c = connect(&l, LONG, near).unwrap();
        let (mut a, _) = l.accept().unwrap();
        assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{address}");
        let far = |s: &_| set_ttl(s, peer, 254).unwrap();
        assert_eq!(connect(&l, SHORT, far).unwrap_err().kind(), ErrorKind::TimedOut, "{address}");
        // On the established connection, too.
        set_min_ttl(&a, peer, 255).unwrap();
        set_ttl(&c, peer, 254).unwrap();
        assert!(!talks(&mut c, &mut a), "{address}");
    }
}

#[test]
fn without_tcp_ao_in_the_kernel_a_key_is_refused() {
    let l = listener("127.0.0.1");
    let added = ao::add_key(&l, host("127.0.0.1"), 1, b"correct-horse", false);
    assert_eq!(added.is_ok(), ao::is_supported(), "{added:?}");
    if let Err(e) = added {
        assert_eq!(e.raw_os_error(), Some(libc::ENOPROTOOPT));
        assert!(ao::ask_for(&l, 1).is_err() && ao::delete_key(&l, host("127.0.0.1"), 1, None).is_err());
    }
}
