//! TCP-AO on connections over the loopback interface, on a kernel that has it.

#![allow(clippy::unwrap_used)]

mod common;

use common::{HOSTS, LONG, SHORT, connect, host, listener, talks};
use ipnet::IpNet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use tcp_options::ao::{add_key, ask_for, delete_key};
use tcp_options::set_md5_key;

const FIRST: &[u8] = b"correct-horse";
const SECOND: &[u8] = b"battery-staple";

/// Both ends of a connection with the MKT 1.
fn connection(address: &str) -> (TcpListener, TcpStream, TcpStream) {
    let l = listener(address);
    add_key(&l, host(address), 1, FIRST, false).unwrap();
    let c = connect(&l, LONG, |s| add_key(s, host(address), 1, FIRST, true).unwrap()).unwrap();
    let (a, _) = l.accept().unwrap();
    (l, c, a)
}

/// Gives a connecting socket what it talks to these with.
type Prepare = fn(&socket2::Socket, IpNet);

fn errno(result: std::io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn the_same_key_talks_and_nothing_else_does() {
    for address in HOSTS {
        let (l, mut c, mut a) = connection(address);
        assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{address}");
        let others: [(&str, Prepare); 4] = [
            ("another key", |s, to| add_key(s, to, 1, SECOND, true).unwrap()),
            ("another id", |s, to| add_key(s, to, 2, FIRST, true).unwrap()),
            ("unsigned", |_, _| ()),
            ("MD5", |s, to| set_md5_key(s, to, FIRST).unwrap()),
        ];
        for (what, prepare) in others {
            let e = connect(&l, SHORT, |s| prepare(s, host(address))).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::TimedOut, "{address}, {what}: {e}");
        }
        // Who signs is not answered without a signature either.
        let open = listener(address);
        assert!(connect(&open, SHORT, |s| add_key(s, host(address), 1, FIRST, true).unwrap()).is_err(), "{address}");
        assert!(connect(&open, LONG, |_| ()).is_ok(), "{address}");
    }
}

#[test]
fn a_key_of_80_octets() {
    let l = listener("::1");
    add_key(&l, host("::1"), 255, &[1; 80], false).unwrap();
    assert!(connect(&l, LONG, |s| add_key(s, host("::1"), 255, &[1; 80], true).unwrap()).is_ok());
}

#[test]
fn a_key_of_a_range() {
    for (range, address) in [("127.0.0.0/8", "127.0.0.1"), ("::/0", "::1")] {
        let range: IpNet = range.parse().unwrap();
        let l = listener(address);
        add_key(&l, range, 1, FIRST, false).unwrap();
        let mut c = connect(&l, LONG, |s| add_key(s, host(address), 1, FIRST, true).unwrap()).unwrap();
        let (mut a, _) = l.accept().unwrap();
        assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{range}");
        assert!(connect(&l, SHORT, |_| ()).is_err(), "{range}");
        // Within the range an id is taken, on the listening socket and on what it has accepted.
        assert_eq!(errno(add_key(&l, host(address), 1, SECOND, false)), Some(libc::EEXIST));
        assert_eq!(errno(add_key(&a, host(address), 1, SECOND, false)), Some(libc::EEXIST));
        // A connection's key goes by the range that it came with.
        add_key(&a, range, 2, SECOND, false).unwrap();
        add_key(&c, host(address), 2, SECOND, false).unwrap();
        assert_eq!(errno(delete_key(&a, host(address), 1, Some(2))), Some(libc::ENOENT));
        delete_key(&a, range, 1, Some(2)).unwrap();
        delete_key(&c, host(address), 1, Some(2)).unwrap();
        assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{range}");
    }
}

/// Writes and reads on both ends without a pause, until it is told to stop.
struct Flow {
    stop: Arc<AtomicBool>,
    received: [Arc<AtomicUsize>; 2],
    tasks: Vec<JoinHandle<()>>,
}

impl Flow {
    fn start(ends: [&TcpStream; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let received: [Arc<AtomicUsize>; 2] = Default::default();
        let mut tasks = Vec::new();
        for (end, received) in ends.iter().zip(&received) {
            end.set_read_timeout(Some(LONG)).unwrap();
            let (mut writer, mut reader) = (end.try_clone().unwrap(), end.try_clone().unwrap());
            let (stop, received) = (Arc::clone(&stop), Arc::clone(received));
            tasks.push(spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    writer.write_all(&[7; 100]).unwrap();
                    sleep(SHORT / 100);
                }
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            }));
            tasks.push(spawn(move || {
                let mut buffer = [0; 4096];
                while let n @ 1.. = reader.read(&mut buffer).unwrap() {
                    assert!(buffer[..n].iter().all(|octet| *octet == 7));
                    received.fetch_add(n, Ordering::Relaxed);
                }
            }));
        }
        Self { stop, received, tasks }
    }

    /// Both ends receive what was written after this was called.
    fn goes_on(&self) -> bool {
        let counts = || [0, 1].map(|i| self.received[i].load(Ordering::Relaxed));
        let before = counts();
        // More than can have been on its way.
        (0..500).any(|_| {
            sleep(SHORT / 30);
            counts().iter().zip(before).all(|(now, before)| *now >= before + 1000)
        })
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(self.received[0].load(Ordering::Relaxed) % 100, 0);
        assert_eq!(self.received[1].load(Ordering::Relaxed) % 100, 0);
    }
}

#[test]
fn a_key_changes_while_octets_flow() {
    for address in HOSTS {
        let (l, c, a) = connection(address);
        let peer = host(address);
        let flow = Flow::start([&c, &a]);
        assert!(flow.goes_on(), "{address}");
        // One end is early: it asks for a key that the other one has not, which goes on with the old one.
        for s in [&c, &a] {
            assert_eq!(errno(ask_for(s, 2)), Some(libc::ENOENT));
            assert_eq!(errno(delete_key(s, peer, 1, None)), Some(libc::EBUSY));
        }
        add_key(&l, peer, 2, SECOND, false).unwrap();
        add_key(&a, peer, 2, SECOND, false).unwrap();
        ask_for(&a, 2).unwrap();
        assert!(flow.goes_on(), "{address}");
        assert_eq!(errno(delete_key(&a, peer, 1, None)), Some(libc::EBUSY));
        // The other one follows, and the old key is no longer in use.
        add_key(&c, peer, 2, SECOND, false).unwrap();
        ask_for(&c, 2).unwrap();
        assert!(flow.goes_on(), "{address}");
        for s in [&c, &a] {
            delete_key(s, peer, 1, None).unwrap();
        }
        delete_key(&l, peer, 1, None).unwrap();
        assert!(flow.goes_on(), "{address}");
        flow.finish();
        // New connections take the new key, and not the old one.
        assert!(connect(&l, LONG, |s| add_key(s, peer, 2, SECOND, true).unwrap()).is_ok(), "{address}");
        assert!(connect(&l, SHORT, |s| add_key(s, peer, 1, FIRST, true).unwrap()).is_err(), "{address}");
    }
}

#[test]
fn a_key_in_use_goes_when_another_one_is_named() {
    for address in HOSTS {
        let (l, mut c, mut a) = connection(address);
        let peer = host(address);
        for s in [&c, &a] {
            add_key(s, peer, 2, SECOND, false).unwrap();
        }
        // One end is early, and takes the other one along.
        delete_key(&a, peer, 1, Some(2)).unwrap();
        assert!(talks(&mut a, &mut c), "{address}");
        assert!(talks(&mut c, &mut a), "{address}");
        delete_key(&c, peer, 1, Some(2)).unwrap();
        assert!(talks(&mut c, &mut a) && talks(&mut a, &mut c), "{address}");
        assert_eq!(errno(delete_key(&l, peer, 1, Some(1))), Some(libc::EINVAL));
        assert_eq!(errno(delete_key(&l, peer, 2, None)), Some(libc::ENOENT));
    }
}

#[test]
fn each_peer_of_a_listener_has_its_own_protection() {
    let [signs, old, open] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|a| a.parse::<IpAddr>().unwrap());
    let (l, us) = (listener("127.0.0.1"), host("127.0.0.1"));
    add_key(&l, signs.into(), 1, FIRST, false).unwrap();
    set_md5_key(&l, old.into(), FIRST).unwrap();
    let prepare: [Prepare; 3] =
        [|s, to| add_key(s, to, 1, FIRST, true).unwrap(), |s, to| set_md5_key(s, to, FIRST).unwrap(), |_, _| ()];
    for (i, from) in [signs, old, open].into_iter().enumerate() {
        for (j, prepare) in prepare.iter().enumerate() {
            let connected = connect(&l, if i == j { LONG } else { SHORT }, |s| {
                s.bind(&SocketAddr::new(from, 0).into()).unwrap();
                prepare(s, us);
            });
            assert_eq!(connected.is_ok(), i == j, "{from} {j}: {connected:?}");
        }
    }
    // One signature for one peer.
    assert_eq!(errno(set_md5_key(&l, signs.into(), SECOND)), Some(libc::EKEYREJECTED));
    assert_eq!(errno(add_key(&l, old.into(), 1, SECOND, false)), Some(libc::EKEYREJECTED));
}
