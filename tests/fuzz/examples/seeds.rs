//! Writes the seed corpora anew: conversations that go well, their messages, and packets made by hand.
//!
//! `cargo run --example seeds`, in tests/fuzz. Files of other names (`crash-...`) stay.

use softwire_fuzz::script::step;
use softwire_fuzz::{run, transcript};
use std::path::Path;

fn write(target: &str, name: &str, data: &[u8]) -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&directory)?;
    run(target, data);
    std::fs::write(directory.join(name), data)
}

/// A conversation: the choice, `rounds` of seven messages each, then actions of the owner, with messages between.
fn script(choice: u8, rounds: usize, actions: &[u8]) -> Vec<u8> {
    let mut out = vec![choice];
    (0..rounds).for_each(|_| out.extend(step(1, 7, 0, &[])));
    for action in actions {
        out.extend(step(4, 7, 3, &[*action]));
        out.extend(step(1, 7, 0, &[]));
    }
    out
}

fn ones_complement(data: &[u8]) -> u16 {
    let sum = data.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
    p[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    let sum = ones_complement(&p);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.extend_from_slice(payload);
    p
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    p[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    p.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    p.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    p.extend_from_slice(payload);
    p
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = [port.to_be_bytes(), port.to_be_bytes(), (8 + payload.len() as u16).to_be_bytes(), [0, 0]].concat();
    p.extend_from_slice(payload);
    p
}

fn ethernet(tag: Option<u16>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    tag.into_iter().for_each(|t| p.extend([0x8100u16.to_be_bytes(), t.to_be_bytes()].concat()));
    p.extend_from_slice(&ethertype.to_be_bytes());
    p.extend_from_slice(payload);
    p
}

const TCP_SYN: &[u8] = &[0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4];

fn packets() -> std::io::Result<()> {
    let inner = ipv4(6, TCP_SYN);
    let data = [&[0x40, 2, 0, 0, 0, 1, 0, 1, 0xff, 3, 0, 0x21][..], &inner].concat();
    let mut data = data;
    let len = data.len() as u16;
    data[2..4].copy_from_slice(&len.to_be_bytes());
    write("wire", "l2tp-data", &ethernet(Some(7), 0x0800, &ipv4(17, &udp(1701, &data))))?;
    write(
        "wire",
        "esp-in-udp",
        &ethernet(None, 0x0800, &ipv4(17, &udp(4500, &[1, 16, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4]))),
    )?;
    write("wire", "tcp6", &ethernet(None, 0x86dd, &ipv6(6, TCP_SYN)))?;
    let fragment = [&[60, 0, 0, 1, 0, 0, 0, 5][..], &[17, 0, 1, 4, 0, 0, 0, 0], &udp(53, b"question")].concat();
    write("wire", "extensions6", &ipv6(44, &fragment))?;
    write("wire", "hop-by-hop6", &ipv6(0, &[58, 0, 5, 2, 0, 0, 1, 0, 128, 0, 0, 0, 0, 1, 0, 1]))?;
    write("wire", "ping", &ipv4(1, &[8, 0, 0xf7, 0xfd, 0, 1, 0, 1]))?;
    for choice in 0..4 {
        write("esp", &format!("transport{choice}"), &[&[choice, 17][..], &udp(1701, &data)].concat())?;
        write("esp", &format!("tunnel{choice}"), &[&[choice | 12, 4][..], &inner].concat())?;
    }
    write("esp", "tunnel6-padded", &[&[8, 41][..], &ipv6(6, TCP_SYN), &[0; 32]].concat())?;
    let advertisement = [
        &[134, 0, 0, 0, 64, 0x40, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 1, 0, 0, 0, 0, 5, 0xdc],
        &[25, 3, 0, 0, 0, 0, 7, 8, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53],
    ]
    .concat();
    write("dhcp6", "advertisement", &advertisement)?;
    // Type, reserved; an address; a selector; a proposal with one transform and its key length.
    write("ike", "identity", &[2, 0, 0, 0, b'a', b'.', b'e', b'x'])?;
    write("ike", "selector", &[1, 0, 0, 0, 7, 17, 0, 16, 6, 165, 6, 165, 192, 0, 2, 1, 192, 0, 2, 1])?;
    let proposal = [0, 0, 0, 24, 1, 3, 4, 1, 1, 2, 3, 4, 0, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0];
    write("ike", "proposal", &proposal)?;
    write("ike", "delete", &[3, 4, 0, 1, 1, 2, 3, 4])?;
    write("ike", "eap", &[48, 0, 0, 0, 13, 2, 7, 0, 9, 1, b'a', b'l', b'e', b'x'])?;
    let auth = [
        &[35, 39, 0, 0, 12, 2, 0, 0, 0, b'a', b'.', b'e', b'x'][..],
        &[33, 0, 0, 8, 2, 0, 0, 0],
        &[44, 0, 0, 28],
        &proposal,
        &[45, 0, 0, 24, 1, 0, 0, 0, 7, 17, 0, 16, 6, 165, 6, 165, 192, 0, 2, 1, 192, 0, 2, 1],
        &[0, 0, 0, 24, 1, 0, 0, 0, 7, 17, 0, 16, 0, 0, 255, 255, 192, 0, 2, 2, 192, 0, 2, 2],
    ]
    .concat();
    write("ike", "decrypted", &auth)
}

fn main() -> std::io::Result<()> {
    packets()?;
    // Conversations: the target, the codec its messages are for, choices, actions (after the link's two).
    let talks: [(&str, &str, &[u8], &[u8]); 5] = [
        ("ppp_link", "ppp", &[0, 1, 2, 3, 4], &[4, 2]),
        ("dhcp6_pair", "dhcp6", &[0, 3], &[2, 3]),
        ("l2tp_pair", "l2tp", &[0, 1, 3], &[6, 2, 8, 5]),
        ("ike_pair", "ike", &[0, 1, 2, 4, 8, 16, 57, 72], &[4, 5, 6, 7, 2, 10, 12]),
        ("bfd_pair", "bfd", &[0, 1, 2, 3], &[2, 4, 12, 7]),
    ];
    for (target, codec, choices, actions) in talks {
        for choice in choices {
            let whole = script(*choice, 4, actions);
            write(target, &format!("talk{choice}"), &whole)?;
            let mut changed = script(*choice, 0, &[]);
            for at in 0..8u16 {
                changed.extend(step(1, (at % 3) as u8, 2, &[&(at * 5 + 4).to_be_bytes()[..], &[0x7f]].concat()));
            }
            write(target, &format!("changed{choice}"), &changed)?;
            let messages = transcript(target, &whole);
            assert!(messages.len() > 3, "{target} {choice}: nothing was said");
            for (n, message) in messages.iter().take(10).enumerate() {
                write(codec, &format!("{choice}-{n:02}"), message)?;
                if n < 3 {
                    let raw = [&[*choice][..], &step(1, 1, (n % 2) as u8, message), &step(5, 7, 0, &[])].concat();
                    write(target, &format!("raw{choice}-{n}"), &raw)?;
                }
            }
        }
    }
    // Sessions that stay up while their owner changes something: no pause is as long as a Detection Time.
    for (name, actions) in [("timing", [12, 9, 30]), ("admin", [2, 5, 4]), ("gone", [6, 6, 7])] {
        let mut quick = script(2, 2, &[]);
        for action in actions {
            quick.extend(step(1, 7, 3, &[action]));
            (0..4).for_each(|_| quick.extend(step(1, 7, 0, &[])));
        }
        write("bfd_pair", name, &quick)?;
    }
    for (name, script) in softwire_fuzz::bgp_speaker::seeds() {
        write("bgp_speaker", &name, &script)?;
        assert!(softwire_fuzz::bgp_speaker::speaker(&script) > 0, "bgp_speaker {name}: no session");
    }
    write("config", "listeners", CONFIG.as_bytes())?;
    write("config", "bgp", BGP.as_bytes())?;
    write("config", "empty", b"{}\n")
}

const CONFIG: &str = include_str!("seed.yaml");
const BGP: &str = include_str!("bgp.yaml");
