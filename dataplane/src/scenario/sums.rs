//! UDP checksums of a port that computes them: a TAP, behind which Linux takes a datagram only if its checksum is right.

use super::packets::*;
use super::*;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;
use wire::ip as proto;

#[test]
fn linux_takes_what_the_port_has_summed() {
    let body = || {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            return eprintln!("skipped: a network namespace cannot be made; run as root");
        }
        let name = format!("swp{}", std::process::id() % 100_000);
        pools();
        let mut b = Bench::over(&format!("net_tap_bench,iface={name}"));
        let run = |words: String| assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success());
        let neighbours = ["192.0.2.9", "2001:db8:ff::9"];
        for address in ["192.0.2.9/24", "2001:db8:ff::9/64 nodad"] {
            run(format!("addr add {address} dev {name}"));
        }
        run(format!("link set {name} up"));
        // What the TAP sends goes to the interface, whose address is its own.
        let mac = b.mac(0);
        b.publish(&neighbours.map(|n| SnapshotOp::NeighbourAdd(PortId(0), ip(n), mac)));
        for (local, remote) in
            [("192.0.2.1:1701", "192.0.2.9:1701"), ("[2001:db8:ff::1]:1701", "[2001:db8:ff::9]:1701")]
        {
            let outer = OuterPath { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
            b.op(0, TableOp::SessionSet(Session { mtu: 1500, outer, ..session() }));
            let socket = UdpSocket::bind(remote).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            // The last does not fit: it is summed here, before it is split.
            for (i, size) in [1, 64, 1300, 1472].into_iter().enumerate() {
                let payload: Vec<u8> = (0..size).map(|n| (n * 7 + i) as u8).collect();
                b.push(0, 1, &frame(1, &packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &payload)));
                b.poll();
                let mut got = [0; 2000];
                let n = socket.recv(&mut got).unwrap_or_else(|e| panic!("{remote}, {size} octets: {e}"));
                assert!(got[..n].ends_with(&payload), "{remote}, {size} octets");
            }
        }
    };
    std::thread::spawn(body).join().unwrap();
}
