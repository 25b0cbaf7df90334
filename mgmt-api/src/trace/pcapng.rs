//! Files of packets (draft-ietf-opsawg-pcapng): Wireshark shows the comments, and each packet under its interface.
//!
//! ```text
//!   section header │ interface: raw IP, "inside" │ interface: Ethernet, a port's name │ ... │ enhanced packet │ ...
//!   a block: type │ length │ body │ options (code, length, value, padded to 4) │ length again
//! ```
//!
//! In the byte order of the network; times in nanoseconds.

use controlplane::northbound::TraceFrame;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// By which a reader sees the byte order.
const MAGIC: u32 = 0x1a2b_3c4d;
/// LINKTYPE_ETHERNET and LINKTYPE_RAW.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;
/// Options: end, comment, name of an interface, its resolution of time, the program that wrote the section.
const END: u16 = 0;
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const USER_APPLICATION: u16 = 4;

/// A file with these frames.
pub(super) fn file(frames: &[TraceFrame]) -> Vec<u8> {
    let mut out = Vec::new();
    block(&mut out, SECTION_HEADER, |body| {
        body.extend_from_slice(&MAGIC.to_be_bytes());
        // Version 1.0, length unknown.
        body.extend_from_slice(&[0, 1, 0, 0]);
        body.extend_from_slice(&[0xff; 8]);
        option(body, USER_APPLICATION, concat!("softwired ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(body, END, &[]);
    });
    interface(&mut out, RAW, "inside");
    let mut ports: Vec<&str> = Vec::new();
    for frame in frames {
        let number = match &frame.port {
            None => 0,
            Some(name) => {
                ports.iter().position(|p| p == name).unwrap_or_else(|| {
                    interface(&mut out, ETHERNET, name);
                    ports.push(name);
                    ports.len() - 1
                }) + 1
            }
        };
        block(&mut out, ENHANCED_PACKET, |body| packet(body, number as u32, frame));
    }
    out
}

fn interface(out: &mut Vec<u8>, link: u16, name: &str) {
    block(out, INTERFACE, |body| {
        body.extend_from_slice(&link.to_be_bytes());
        // Reserved; no limit is stated, each packet says how long it was.
        body.extend_from_slice(&[0; 6]);
        option(body, IF_NAME, name.as_bytes());
        option(body, IF_TSRESOL, &[9]);
        option(body, END, &[]);
    });
}

fn packet(body: &mut Vec<u8>, interface: u32, frame: &TraceFrame) {
    // Until the year 2554.
    let nanos = u64::try_from(frame.at.as_nanos()).unwrap_or(u64::MAX);
    body.extend_from_slice(&interface.to_be_bytes());
    body.extend_from_slice(&nanos.to_be_bytes());
    body.extend_from_slice(&(frame.octets.len() as u32).to_be_bytes());
    body.extend_from_slice(&u32::from(frame.length).to_be_bytes());
    body.extend_from_slice(&frame.octets);
    pad(body);
    option(body, COMMENT, frame.comment.as_bytes());
    option(body, END, &[]);
}

fn block(out: &mut Vec<u8>, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let length = (out.len() - start + 4) as u32;
    out.extend_from_slice(&length.to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
}

/// Values are far below 64 KiB: names of ports and comments of ours.
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    pad(out);
}

/// All that is in front is padded too.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::DataLink;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
    use pcap_file::pcapng::{Block, PcapNgReader};
    use std::time::Duration;

    fn frame(port: Option<&str>, length: u16, octets: &[u8]) -> TraceFrame {
        TraceFrame {
            at: Duration::new(1_795_000_000, 123_456_789),
            port: port.map(str::to_owned),
            length,
            octets: octets.to_vec(),
            comment: format!("packet of {length}, dropped"),
        }
    }

    #[test]
    fn another_reader_finds_what_was_written() {
        let frames = [
            frame(Some("access"), 1400, &[7; 256]),
            frame(None, 21, &[0x45; 21]),
            frame(Some("core"), 60, &[9; 60]),
            frame(Some("access"), 3, &[1; 3]),
        ];
        let file = file(&frames);
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let (mut links, mut names, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap().into_owned() {
                Block::InterfaceDescription(i) => {
                    let name = i.options.iter().find_map(|o| match o {
                        InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                        _ => None,
                    });
                    assert!(i.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
                    links.push(i.linktype);
                    names.push(name.unwrap());
                }
                Block::EnhancedPacket(p) => seen.push(p),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(links, [DataLink::RAW, DataLink::ETHERNET, DataLink::ETHERNET]);
        assert_eq!(names, ["inside", "access", "core"]);
        assert_eq!(seen.iter().map(|p| p.interface_id).collect::<Vec<_>>(), [1, 0, 2, 1]);
        for (p, f) in seen.iter().zip(&frames) {
            assert_eq!((&p.data[..], p.original_len, p.timestamp), (&f.octets[..], u32::from(f.length), f.at));
            assert_eq!(p.options, [EnhancedPacketOption::Comment(f.comment.clone().into())]);
        }
    }

    #[test]
    fn without_packets_it_is_a_file_too() {
        let file = file(&[]);
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        assert!(matches!(reader.next_block(), Some(Ok(Block::InterfaceDescription(_)))));
        assert!(reader.next_block().is_none());
    }
}
