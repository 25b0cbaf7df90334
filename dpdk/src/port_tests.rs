use super::*;
use crate::burst::Burst;
use crate::{lcore, sim};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn packets_pass_an_in_memory_port_and_nothing_leaks() {
    let pool = sim::test_pool("po-sim", 255).expect("pool");
    let (mut port, mut far) = sim::port("po-sim", 2, 63).expect("port");
    let mut queues = sim::start(&mut port, 2, &pool).expect("queues");
    assert_eq!((port.driver().expect("driver").as_str(), queues.len()), ("net_ring", 2));
    far[1].push(pool.alloc_with(b"in").expect("mbuf")).expect("room");
    let mut burst = Burst::new();
    assert_eq!(queues[0].0.burst(&mut burst), 0, "the other queue");
    assert_eq!(queues[1].0.burst(&mut burst), 1);
    assert_eq!(burst.as_slice()[0].data(), b"in");
    burst.as_mut_slice()[0].data_mut().copy_from_slice(b"ou");
    assert_eq!(queues[1].1.burst(&mut burst), 1);
    assert!(burst.is_empty());
    assert_eq!(far[1].pop().expect("sent").data(), b"ou");
    assert!(far[1].pop().is_none() && far[0].pop().is_none());
    let stats = port.stats().expect("stats");
    assert_eq!((stats.rx_packets, stats.tx_packets), (1, 1));
    // packets in the rings when all is dropped
    far[0].push(pool.alloc().expect("mbuf")).expect("room");
    burst.push(pool.alloc().expect("mbuf")).expect("room");
    assert_eq!(queues[0].1.burst(&mut burst), 1);
    drop((port, far, queues));
    assert_eq!(pool.in_use(), 0);
    sim::port("po-sim", 2, 63).expect("its names are free again");
}

#[test]
fn a_full_queue_hands_back_what_it_did_not_take() {
    let pool = sim::test_pool("po-full", 255).expect("pool");
    let (mut port, mut far) = sim::port("po-full", 1, 31).expect("port");
    let (mut rx, mut tx) = sim::start(&mut port, 1, &pool).expect("queues").remove(0);
    let mut burst = Burst::new();
    for i in 0..40u8 {
        burst.push(pool.alloc_with(&[i]).expect("mbuf")).expect("room");
    }
    assert_eq!(tx.burst(&mut burst), 31);
    assert_eq!(burst.as_slice().iter().map(|m| m.data()[0]).collect::<Vec<_>>(), (31..40).collect::<Vec<_>>());
    assert_eq!(tx.burst(&mut burst), 0);
    let mut out = Burst::new();
    assert_eq!(far[0].pop_burst(&mut out), 31);
    assert_eq!(out.drain().map(|m| m.data()[0]).collect::<Vec<_>>(), (0..31).collect::<Vec<_>>());
    assert_eq!((tx.burst(&mut burst), burst.len(), tx.burst(&mut burst)), (9, 0, 0));

    assert_eq!(pool.alloc_burst(&mut burst, 40), 40);
    assert_eq!((far[0].push_burst(&mut burst), burst.len()), (31, 9));
    assert!(far[0].push(pool.alloc().expect("mbuf")).is_err());
    assert_eq!(rx.burst(&mut burst), 31, "behind the nine");
    assert_eq!(pool.alloc_burst(&mut burst, 24), 24);
    assert_eq!(rx.burst(&mut burst), 0, "a full burst receives nothing");
}

#[test]
fn two_ports_on_a_wire_and_queues_keep_their_port() {
    let pool = sim::test_pool("po-wire", 63).expect("pool");
    let (mut a, mut b) = sim::wire_pair("po-wire-a", "po-wire-b", 1, 31).expect("ports");
    let (mut a_rx, mut a_tx) = sim::start(&mut a, 1, &pool).expect("queues").remove(0);
    let (mut b_rx, mut b_tx) = sim::start(&mut b, 1, &pool).expect("queues").remove(0);
    assert!(matches!(a.take_queues(), Err(Error::PortState { .. })));
    drop((a, b));
    assert!(matches!(Port::by_name("net_ring_po-wire-a"), Err(Error::PortInUse(_))));
    let worker = std::thread::spawn(move || {
        let _lcore = lcore::register().expect("lcore");
        let (mut burst, mut seen) = (Burst::new(), 0);
        // What the wire has no room for waits in the burst, also the last of it.
        while seen < 1000 || !burst.is_empty() {
            seen += b_rx.burst(&mut burst);
            b_tx.burst(&mut burst);
        }
    });
    let (mut burst, mut sent, mut back) = (Burst::new(), 0, 0);
    while back < 1000 {
        if sent < 1000 && burst.is_empty() {
            pool.alloc_burst(&mut burst, (1000 - sent).min(8));
        }
        sent += a_tx.burst(&mut burst);
        let mut got = Burst::new();
        back += a_rx.burst(&mut got);
    }
    worker.join().expect("worker");
    drop((burst, a_rx, a_tx));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn states_limits_and_missing_devices_are_told() {
    let pool = sim::test_pool("po-err", 63).expect("pool");
    let mut port = Port::attach("net_null_err").expect("port");
    assert!(matches!(Port::attach("net_null_err"), Err(Error::PortInUse(_))));
    assert!(matches!(port.start(), Err(Error::PortState { .. })));
    assert!(matches!(port.take_queues(), Err(Error::PortState { .. })));
    let many = PortConfig { queues: 5000, ..PortConfig::default() };
    assert!(matches!(port.configure(&many, &pool), Err(Error::TooMany { what: "queues", .. })));
    port.configure(&PortConfig::default(), &pool).expect("configured");
    assert!(matches!(port.configure(&PortConfig::default(), &pool), Err(Error::PortState { .. })));
    drop(port);
    Port::attach("net_null_err").expect("free again");
    let e = Port::attach("net_af_packet_err,iface=not-there").expect_err("no such interface");
    assert!(matches!(&e, Error::NoInterface { interface, .. } if interface == "not-there"), "{e}");
    assert_eq!(e.fault(), crate::Fault::Configuration);
    assert!(matches!(Port::attach("net_nonsense0"), Err(Error::NoDevice { .. })));
    assert!(matches!(Port::by_name("net_nonsense0"), Err(Error::NoDevice { .. })));
}

/// A veth pair of this process's own, removed with it.
struct Veth {
    a: String,
    b: String,
}

impl Veth {
    fn new() -> Option<Self> {
        let pid = std::process::id() % 100_000;
        let veth = Self { a: format!("swa{pid}"), b: format!("swb{pid}") };
        let ip = |args: &[&str]| Command::new("ip").args(args).status().is_ok_and(|s| s.success());
        if !ip(&["link", "add", &veth.a, "type", "veth", "peer", "name", &veth.b]) {
            return None;
        }
        for name in [&veth.a, &veth.b] {
            // no router solicitations in between
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").ok();
            ip(&["link", "set", name, "up"]).then_some(())?;
        }
        Some(veth)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        Command::new("ip").args(["link", "del", &self.a]).status().ok();
    }
}

/// Sends 32 frames from one end of a veth to the other, by two ports of the driver. A thread can change its network
/// namespace alone, and sockets of the driver are made in it.
fn frames_pass_a_veth(driver: &'static str) {
    let pool = sim::test_pool(&format!("po-{driver}"), 16_383).expect("pool");
    std::thread::spawn(move || {
        let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWNS);
        if let Err(e) = unshared {
            eprintln!("skipped: a network namespace cannot be made ({e}); run as root");
            return;
        }
        // sysfs shows the interfaces of the namespace in which it was mounted
        let sysfs = Command::new("sh").args(["-c", "mount --make-rprivate / && mount -t sysfs none /sys"]).status();
        let Some(veth) = sysfs.ok().filter(|s| s.success()).and_then(|_| Veth::new()) else {
            eprintln!("skipped: no veth pair can be made in a namespace (needs CAP_NET_ADMIN and `ip`)");
            return;
        };
        let open = |n: u8, iface: &str| {
            let mut port = Port::attach(&format!("{driver}_t{n},iface={iface}")).expect("attached");
            let queues = sim::start(&mut port, 1, &pool).expect("started").remove(0);
            (port, queues)
        };
        let (a, (_, mut a_tx)) = open(0, &veth.a);
        let (b, (mut b_rx, _)) = open(1, &veth.b);
        assert_ne!(a.mac().expect("mac"), b.mac().expect("mac"));
        assert!(a.mtu().expect("mtu") >= 1500 && a.link().expect("link").up);
        let mut burst = Burst::new();
        for i in 0..32u8 {
            let mut frame = [i; 64];
            frame[..6].fill(0xff);
            frame[12..14].copy_from_slice(&[0x88, 0xb5]);
            burst.push(pool.alloc_with(&frame).expect("mbuf")).expect("room");
        }
        assert_eq!(a_tx.burst(&mut burst), 32);
        let (mut got, end) = (Burst::new(), Instant::now() + Duration::from_secs(10));
        let mut seen = Vec::new();
        while seen.len() < 32 && Instant::now() < end {
            b_rx.burst(&mut got);
            seen.extend(got.drain().filter(|m| m.data()[12..14] == [0x88, 0xb5]).map(|m| m.data()[63]));
        }
        assert_eq!(seen, (0..32).collect::<Vec<_>>());
    })
    .join()
    .expect("thread");
}

#[test]
fn af_packet_carries_frames_over_a_veth() {
    frames_pass_a_veth("net_af_packet");
}

#[test]
fn af_xdp_carries_frames_over_a_veth() {
    frames_pass_a_veth("net_af_xdp");
}

/// The classic capture format: a header of 24 octets, and one of 16 before each frame.
#[test]
fn pcap_files_are_read_and_written() {
    let pool = sim::test_pool("po-pcap", 511).expect("pool");
    let dir = std::env::temp_dir().join(format!("sw-pcap-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("directory");
    let (input, output) = (dir.join("in.pcap"), dir.join("out.pcap"));
    let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    for i in 0..3u8 {
        capture.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 64, 0, 0, 0]);
        capture.extend_from_slice(&[i; 64]);
    }
    std::fs::write(&input, &capture).expect("written");
    let args = format!("net_pcap_t,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let mut port = Port::attach(&args).expect("attached");
    let (mut rx, mut tx) = sim::start(&mut port, 1, &pool).expect("started").remove(0);
    let mut burst = Burst::new();
    while burst.len() < 3 {
        assert!(rx.burst(&mut burst) > 0, "the file has three frames");
    }
    assert_eq!(burst.as_slice()[2].data(), [2; 64]);
    assert_eq!(tx.burst(&mut burst), 3);
    drop((port, rx, tx));
    let written = std::fs::read(&output).expect("output");
    std::fs::remove_dir_all(&dir).expect("removed");
    let frames = |file: &[u8]| file[24..].chunks(80).map(|f| f[16..].to_vec()).collect::<Vec<_>>();
    assert_eq!(frames(&written), frames(&capture));
    assert_eq!(pool.in_use(), 0);
}

/// IP, UDP and four octets, whose checksum field is as given.
fn datagram(to: &str, checksum: u16) -> Vec<u8> {
    let mut f = vec![0xff; 6];
    f.extend([2, 0, 0, 0, 0, 9]);
    if to.contains(':') {
        f.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 12, 17, 64]);
        f.extend(["2001:db8::2", to].iter().flat_map(|a| a.parse::<std::net::Ipv6Addr>().expect("address").octets()));
    } else {
        // 192.0.2.2 to 192.0.2.1: its header checksum is that of these octets
        f.extend([8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0xf6, 0xc9, 192, 0, 2, 2, 192, 0, 2, 1]);
    }
    f.extend([0x0f, 0xa0, 0x0f, 0xa1, 0, 12]);
    f.extend(checksum.to_be_bytes());
    f.extend(*b"sums");
    f
}

/// Linux takes a datagram only if its checksum is right, so it is the judge. 192.0.2.2:4000 to 192.0.2.1:4001 has the
/// pseudo-header's sum 0x8421 and the checksum 0x7ba8; 2001:db8::2 to 2001:db8::1 have 0x5b92 and 0xa437.
#[test]
fn a_port_computes_udp_checksums_where_asked() {
    let pool = sim::test_pool("po-sums", 4095).expect("pool");
    std::thread::spawn(move || {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            return eprintln!("skipped: a network namespace cannot be made; run as root");
        }
        let name = format!("swc{}", std::process::id() % 100_000);
        let mut tap = Port::attach(&format!("net_tap_sums,iface={name}")).expect("a tap");
        let (_, mut tx) = sim::start(&mut tap, 1, &pool).expect("started").remove(0);
        assert!(tx.sums_udp());
        let ip = |words: &str| {
            assert!(Command::new("ip").args(words.split(' ')).status().expect("ip").success(), "{words}");
        };
        ip(&format!("addr add 192.0.2.1/24 dev {name}"));
        ip(&format!("addr add 2001:db8::1/64 dev {name} nodad"));
        ip(&format!("link set {name} up"));
        for (to, pseudo, right) in [("192.0.2.1", 0x8421, 0x7ba8), ("2001:db8::1", 0x5b92, 0xa437)] {
            let socket = std::net::UdpSocket::bind((to, 4001)).expect("socket");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
            let mut send = |checksum: u16, ask: bool, mark: u8| {
                let mut mbuf = pool.alloc_with(&datagram(to, checksum)).expect("mbuf");
                *mbuf.data_mut().last_mut().expect("octets") = mark;
                if ask {
                    mbuf.ask_udp_checksum(to.contains(':'), 14, if to.contains(':') { 40 } else { 20 });
                }
                let mut burst = Burst::new();
                burst.push(mbuf).expect("room");
                assert_eq!(tx.burst(&mut burst), 1);
            };
            // As it is, wrong; asked for; as it is, right.
            send(pseudo, false, b's');
            send(pseudo, true, b'S');
            send(right, false, b's');
            let mut got = [0; 8];
            let mut next = || socket.recv(&mut got).map(|n| got[..n].to_vec()).ok();
            assert_eq!(next().as_deref(), Some(b"sumS".as_slice()), "{to}");
            assert_eq!(next().as_deref(), Some(b"sums".as_slice()), "{to}");
        }
    })
    .join()
    .expect("thread");
}
