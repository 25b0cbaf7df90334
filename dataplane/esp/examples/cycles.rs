//! Ticks of the time-stamp counter per packet for sealing and opening batches of 32 with AES-GCM-128, one SA:
//! `taskset -c 1 cargo run --release -p esp --example cycles`. Framing, window and lifetime are included; medians.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use dataplane_api::{
    Cipher, EspKey, EspSuite, Integrity, Lifetime, Mode, PeerId, SaIn, SaOut, SaOutId, Selector, Slot, Spi, WorkerId,
};
use esp::{Inbound, Outbound, framing};
use ipsec_mb::{Batch, Direction, Job, Key, Manager};
use std::num::NonZeroU32;
use std::time::Instant;

const N: usize = 32;

fn main() {
    let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None).unwrap();
    let key = EspKey::new(suite, &[7; 20]).unwrap();
    let (local, remote) = ([192, 0, 2, 1].into(), [198, 51, 100, 7].into());
    let peer = PeerId(NonZeroU32::MIN);
    let common = (Selector::ANY, Lifetime::default());
    let sa_in = SaIn {
        spi: Spi(0x0110_0001),
        peer,
        suite,
        key: key.clone(),
        esn: false,
        replay_window: 128,
        mode: Mode::Transport,
        local,
        remote,
        encap: None,
        selector: common.0,
        lifetime: common.1,
    };
    let sa_out = SaOut {
        id: SaOutId(Slot::new(WorkerId(0), 0, 1).unwrap()),
        spi: 0x0110_0001,
        peer,
        suite,
        key,
        esn: false,
        mode: Mode::Transport,
        local: remote,
        remote: local,
        encap: None,
        selector: common.0,
        lifetime: common.1,
    };
    let mut manager = Manager::new().unwrap();
    let (mut out, out_cold) = Outbound::new(&sa_out).unwrap();
    let (mut inn, mut in_cold) = Inbound::new(&sa_in).unwrap();
    let a = out.algorithm().unwrap();
    let key = Key::new(&manager, a, &[7; 16], &[]).unwrap();
    let hertz = calibrate();
    for payload in [64usize, 512, 1420] {
        let (head, pad) = (framing::head_len(a), framing::pad_len(a, payload));
        let mut packets = vec![vec![0u8; head + payload + framing::tail_len(a, payload)]; N];
        let (mut seal, mut open) = (Vec::new(), Vec::new());
        for _ in 0..4001 {
            let start = Instant::now();
            let mut batch = Batch::new();
            for p in &mut packets {
                let (seq, charge) = out.next(&out_cold, payload);
                assert!(charge.passes() && framing::write_head(p, a, out.spi(), seq));
                assert!(framing::write_trailer(&mut p[head + payload..], pad, 17));
                let seq_high = out.seq_high(seq);
                let job =
                    Job { algorithm: a, key: &key, direction: Direction::Seal, packet: p, salt: out.salt(), seq_high };
                batch.push(job).unwrap();
            }
            let outcome = manager.run(&mut batch);
            seal.push(start.elapsed().as_nanos());
            assert!((0..N).all(|i| outcome.good(i)));

            let start = Instant::now();
            let mut batch = Batch::new();
            let mut seqs = [0; N];
            for (p, s) in packets.iter_mut().zip(&mut seqs) {
                let (_, low) = framing::read_head(p).unwrap();
                *s = inn.check(&in_cold, low).unwrap();
                let job = Job {
                    algorithm: a,
                    key: &key,
                    direction: Direction::Open,
                    packet: p,
                    salt: inn.salt(),
                    seq_high: inn.seq_high(*s),
                };
                batch.push(job).unwrap();
            }
            let outcome = manager.run(&mut batch);
            for (i, p) in packets.iter().enumerate() {
                assert!(outcome.good(i) && inn.accept(&mut in_cold, seqs[i]));
                let (len, next) = framing::read_trailer(&p[head..p.len() - a.icv_len()]).unwrap();
                assert!(len == payload && inn.permits_transport(&in_cold, next, &p[head..head + len]));
                assert!(inn.charge(&in_cold, len).passes());
            }
            open.push(start.elapsed().as_nanos());
        }
        let ticks = |v: &mut Vec<u128>| {
            v.sort_unstable();
            let per = |n: u128| (n as f64 * hertz / 1e9 / N as f64).round();
            (per(v[v.len() / 100]), per(v[v.len() / 2]))
        };
        let ((s1, s), (o1, o)) = (ticks(&mut seal), ticks(&mut open));
        println!("{payload:5} octets: seal {s:4} (best {s1:4}), open {o:4} (best {o1:4}) ticks per packet");
    }
}

fn calibrate() -> f64 {
    // BogoMIPS is twice the frequency of the time-stamp counter.
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line =
        text.lines().find(|l| l.starts_with("bogomips")).and_then(|l| l.split(':').nth(1)?.trim().parse::<f64>().ok());
    line.unwrap_or(4000.0) / 2.0 * 1e6
}
