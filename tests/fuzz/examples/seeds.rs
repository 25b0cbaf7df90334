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
    radius()?;
    let reply =
        [&[7, 1, 2, 3, 0, 3, 0, 40, 0, 0, 0, 1][..], &[0; 8], &[0, 5, 0, 24], &[0x20; 16], &[0, 0, 1, 0, 0, 0, 2, 0]];
    let reply = reply.concat();
    let envelope = [&[13, 0][..], &[0x20; 32], &[0, 18, 0, 3, b's', b'-', b'1', 0, 9, 0, reply.len() as u8], &reply];
    write("dhcp6", "relay-reply", &envelope.concat())?;
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

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// The examples of RFC 2865, section 7 and RFC 5997, section 6.1; what FreeRADIUS and radclient sent; attributes.
fn radius() -> std::io::Result<()> {
    for (name, hex) in [
        (
            "request-pap",
            "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003",
        ),
        (
            "request-chap",
            "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f70707379031316e97557c316185895f293ff63440772750406c0a80110050600000014060600000002070600000001",
        ),
        (
            "accept",
            "0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000000d06000000010c06000005dc",
        ),
        ("status", "0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3"),
        (
            "accounting",
            "040000457d9a72564e1eac7493b9b3b15508dff250122148a8749d5c64a799769ed47237697d2806000000012c033737066ab13b801a100000fde7030a0000000200000000",
        ),
        ("accounting-response", "05000014233555dad81a6bdad4982accb9e99d6a"),
        (
            "coa",
            "2bf80045a9bc4736570704cc33327163c657c1c501066e656d6f2c03371a0c0000fde70a06000013882104010237066b07948950123b725dbc126d1628e30d334cfb53dd25",
        ),
        (
            "disconnect",
            "28fa0045fac1e393827b1d270733b6008dc4f4e701066e656d6f2c03371a0c0000fde70a06000013882104010237066b0794895012160d30bd11a4b47d025557a8cb321bd3",
        ),
        ("challenge", "0b00002a000000000000000000000000000000004f0701070007011807737461746521067878787a1a040000"),
        ("attributes", "6114004020010db80001000200000000000000016006000c2fff7b0800382001 0db80817636c61737320"),
    ] {
        write("radius", name, &octets(hex))?;
    }
    write("radius", "accept-freeradius", &octets(FREERADIUS))?;
    write("radius", "route", b"192.168.1.0/24 192.168.1.1 1 2 -1 3 400")?;
    write("radius", "route6", b"2000:0:0:106::/64 2000::106:a00:20ff:fe99:a998 1")
}

const FREERADIUS: &str = "
02000166442d2b6d99fe6727ef022a9123467b7f0806c00002076114003020010db80007000000000000000000007b14003820010db8
000800000000000000000000600a0000000000000005161d3139382e35312e3130302e302f3234203139322e302e322e372031631632
3030313a6462383a393a3a2f3438203a3a2031400601000003410601000001430c013139322e302e322e3145150181cdb7e62a803afd
40e7a3b385dc48729e871a0c000001371c06c00002351a3a0000013711348b3b4bf3194c3f9b0abe84d257c125f33940864ccb1a1ae0
f2006f22898df4c4dda1aa02ae88d08563f22a46ae8518f7a84f1a3a00000137103491273b285c38473c70596ca06d7a9b59859a6470
b70cef774cec1d852f84ade55264956bbe65b035a0277a4ab477708c9e241a0c0000fde70a06000186a01a100000fde7030a00000002
000000001a0c0000372a0706000f42405012f56d9f633bf9fdbd26f0e2207a9d0666";

/// IKEv1: the first message of Windows 10 (whole, and in fragments), messages of a capture of strongSwan (ipsec.cap of
/// cloudshark.org), some of them decrypted and behind the type of their first payload; the rest by hand.
fn ikev1() -> std::io::Result<()> {
    for (name, hex) in [
        (
            "windows",
            "080fd6f205d3879d00000000000000000110020000000000000001980d0000d40000000100000001000000c80101\
            0005030000280101000080010007800e0100800200028004001480030001800b0001000c00040000708003000028\
            0201000080010007800e0080800200028004001380030001800b0001000c00040000708003000028030100008001\
            0007800e0100800200028004000e80030001800b0001000c00040000708003000024040100008001000580020002\
            8004000e80030001800b0001000c000400007080000000240501000080010005800200028004000280030001800b\
            0001000c0004000070800d00001801528bbbc00696121849ab9a1c5b2a51000000010d0000181e2b516905991c7d\
            7c96fcbfb587e461000000090d0000144a131c81070358455c5728f20e95452f0d00001490cb80913ebb696e0863\
            81b5ec427b1f0d0000144048b7d56ebce88525e7de7f00d6c2d30d000014fb1de3cdf341b7ea16b7e5be0855f120\
            0d00001426244d38eddb61b3172a36e3d0cfb81900000014e3a5966a76379fe707228231e5ce8652",
        ),
        (
            "main-3",
            "c6d1459285150c7e6e961f01bf179b350410020000000000000000e40a000084a812a5fbfcbae82c7df0deaec212\
            0fe8a9b7e82fc1ce7ad16e38e0687d3eb04f4c9ab88fe3d3baed7da3cbf3ddec86cf95b0dde87ee086ab236e06d1\
            7c459fef8e2fc94d804be9af45e744c207ef987512d68dd2edf1ca57e91c98dc2688f77a57900aed18f368cbfb8d\
            4b46bea5e48a53cb88cd515a17dd1d032d1c79540f86140000147483e964d559378a5555777464ad7ad914000018\
            7048b170a54fa1c16582dce008d059de9295d7d300000018c9e46dddfcc29d4ef72ba4da66d4720687e469e5",
        ),
        ("refusal", "c6d1459285150c7e00000000000000000b10050000000000000000280000000c000000010100000e"),
        (
            "quick-decrypted",
            "0801000018fa8ce37eac9adcffc9d4fbddde170ac8279657b90a0000300000000100000001000000240003040108\
            79355b0000001800030000800400018001000180020e108005000205000014164a3716bca17e52552c52155dec89\
            1a0500001004000000ac10cd00ffffff000000001004000000ac10c800ffffff0000000000",
        ),
        ("main-decrypted", "050800000c01000000c0a88ccd000000183321b19237fb86a3231239d2049260d1b4a6e0e700000000"),
        (
            "natt-decrypted",
            "081500001811111111111111111111111111111111111111111500000c01000000c0a8000a0000000c01000000c6\
            336401",
        ),
        (
            "dpd-decrypted",
            "080b0000182222222222222222222222222222222222222222000000200000000101108d28010101010101010102\
            0202020202020200000007",
        ),
        ("delete", "0000000103040002c0ffee0100000002"),
        ("delete-isakmp", "000000010110000101010101010101010202020202020202"),
        (
            "quick-offer",
            "00000001000000010000002c01030401000003e700000020010c00008001000180020e108003000e800400048005\
            000280060100",
        ),
        ("id", "011106a5c0a8000a"),
        ("id-subnet", "04000000c0000200ffffff00"),
        (
            "fragments",
            "d0000000d000010100080fd6f205d3879d00000000000000000110020000000000000001980d0000d40000000100\
            000001000000c801010005030000280101000080010007800e0100800200028004001480030001800b0001000c00\
            0400007080030000280201000080010007800e0080800200028004001380030001800b0001000c00040000708003\
            0000280301000080010007800e0100800200028004000e80030001800b0001000c00040000708003000024040100\
            0080010005800200028004000e80030001800b0001000c0004d0000000d000010200000070800000002405010000\
            80010005800200028004000280030001800b0001000c0004000070800d00001801528bbbc00696121849ab9a1c5b\
            2a51000000010d0000181e2b516905991c7d7c96fcbfb587e461000000090d0000144a131c81070358455c5728f2\
            0e95452f0d00001490cb80913ebb696e086381b5ec427b1f0d0000144048b7d56ebce88525e7de7f00d6c2d30d00\
            0014fb1de3cdf341b7ea16b7e5be0855f1200d00001426244d38eddb61b3172a36e3d0cfb81900000014e3a5966a\
            76379fe710000000100001030107228231e5ce8652",
        ),
    ] {
        write("ikev1", name, &octets(hex))?;
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    packets()?;
    ikev1()?;
    // Conversations: the target, the codec its messages are for, choices, actions (after the link's two).
    let talks: [(&str, &str, &[u8], &[u8]); 5] = [
        ("ppp_link", "ppp", &[0, 1, 2, 3, 4, 8, 12, 16, 20, 24], &[4, 2]),
        ("dhcp6_pair", "dhcp6", &[0, 3, 4], &[2, 3]),
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
