//! Rules on a TAP, where the kernel's traffic control does what a card would do.

use dpdk::flow::{Rule, Target, Traffic};
use dpdk::{Burst, Port, PortConfig, sim};
use std::process::Command;
use std::time::{Duration, Instant};

const L2TP: Rule = Rule { v6: false, traffic: Traffic::Udp(1701), spi: (0, 0), target: Target::Queue(1) };
const ESP: Rule = Rule { v6: false, traffic: Traffic::Esp, spi: (0, 0), target: Target::BySpi(2) };

/// A UDP packet in Ethernet.
fn frame(from: u16, to: u16) -> [u8; 64] {
    let mut f = [0; 64];
    f[..6].fill(0xff);
    f[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    f[12..14].copy_from_slice(&[8, 0]);
    f[14..34].copy_from_slice(&[0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    f[34..36].copy_from_slice(&from.to_be_bytes());
    f[36..38].copy_from_slice(&to.to_be_bytes());
    f[39] = 30;
    f
}

/// A thread can change its network namespace alone.
#[test]
fn a_tap_puts_a_frame_into_the_queue_of_its_rule() {
    let pool = sim::test_pool("flow-tap", 4095).expect("pool");
    std::thread::spawn(move || {
        let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWNS);
        let sysfs = || Command::new("sh").args(["-c", "mount --make-rprivate / && mount -t sysfs none /sys"]).status();
        if unshared.is_err() || !sysfs().is_ok_and(|s| s.success()) {
            eprintln!("skipped: a network namespace cannot be made; run as root");
            return;
        }
        let probe: [&[&str]; 3] = [
            &["ip", "tuntap", "add", "probe", "mode", "tap", "multi_queue"],
            &["tc", "qdisc", "add", "dev", "probe", "root", "multiq"],
            &["ip", "link", "del", "probe"],
        ];
        let run = |words: &&[&str]| Command::new(words[0]).args(&words[1..]).status().is_ok_and(|s| s.success());
        if !probe.iter().all(run) {
            eprintln!("skipped: the kernel has no sch_multiq, by which a tap chooses queues: see interop 25");
            return;
        }
        let name = format!("swt{}", std::process::id() % 100_000);
        let mut tap = Port::attach(&format!("net_tap_flow,iface={name}")).expect("a tap");
        tap.configure(&PortConfig { queues: 2, ..PortConfig::default() }, &pool).expect("configured");
        tap.start().expect("started");
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").ok();
        // What the driver has no name for is refused, and leaves nothing behind: the rule before it can be given again.
        assert!(tap.steer(&[L2TP, ESP]).is_err());
        tap.steer(&[L2TP]).expect("taken");
        let mut queues = tap.take_queues().expect("queues");
        let mut wire = Port::attach(&format!("net_af_packet_flow,iface={name},qdisc_bypass=0")).expect("attached");
        let (_, mut tx) = sim::start(&mut wire, 1, &pool).expect("started").remove(0);
        // From many ports: without a rule they would be spread.
        let mut burst = Burst::new();
        for from in 1000..1016 {
            burst.push(pool.alloc_with(&frame(from, 1701 + from % 2)).expect("mbuf")).expect("room");
        }
        assert_eq!(tx.burst(&mut burst), 16);
        // By queue: how many of the rule's and of the others.
        let (mut got, end) = ([[0; 2]; 2], Instant::now() + Duration::from_secs(10));
        while got.iter().flatten().sum::<u32>() < 16 && Instant::now() < end {
            for ((rx, _), got) in queues.iter_mut().zip(&mut got) {
                let mut burst = Burst::new();
                rx.burst(&mut burst);
                for m in burst.drain().filter(|m| m.data().get(12..14) == Some(&[8, 0])) {
                    got[usize::from(m.data()[36..38] != 1701u16.to_be_bytes())] += 1;
                }
            }
        }
        assert_eq!((got[0][0], got[1][0], got[0][1] + got[1][1]), (0, 8, 8));
    })
    .join()
    .expect("thread");
}
