//! What comes out is what was to come out: every frame of a path, through the worker that is measured, opened by the far
//! end of its SA and compared with what went in.

use crate::bed::Ringed;
use crate::frame::{FAR, NEAR};
use crate::path::{Kind, Path};
use crate::world::{self, World};
use anyhow::{Context, ensure};
use dpdk::Burst;
use std::net::IpAddr;
use wire::ethernet::Ethernet;
use wire::ip::{self, Ip};
use wire::{checksum, ipv4, l2tp, ppp, udp};

/// Replay window of the SAs: the real one.
const WINDOW: u16 = 64;

/// Sends `FRAMES` packets, or one for each peer, and compares. Gives how many.
pub fn run(path: Path) -> anyhow::Result<usize> {
    let _lcore = crate::measure::start()?;
    compared(path, "proof", crate::measure::FRAMES.max(path.peers))
}

/// The same for so many packets. DPDK keeps names for good.
fn compared(path: Path, name: &str, count: usize) -> anyhow::Result<usize> {
    let mut world = World::new(path, WINDOW)?;
    let mut ringed = Ringed::new(&world, name, 0)?;
    ringed.bed.populate(&world)?;
    let mut out = Burst::new();
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(Burst::CAPACITY) {
        let frames: Vec<_> = batch.iter().map(|n| world.frame(n % path.peers, *n)).collect::<anyhow::Result<_>>()?;
        ringed.pass(&frames, &mut out)?;
        for (n, mbuf) in batch.iter().zip(out.as_slice()) {
            ensure!(mbuf.is_contiguous(), "packet {n} is in pieces");
            compare(&mut world, n % path.peers, *n, mbuf.data()).with_context(|| format!("packet {n} of {path}"))?;
        }
    }
    Ok(count)
}

/// The `n`-th frame that came out, which is to be of peer `i`.
fn compare(world: &mut World, i: usize, n: usize, frame: &[u8]) -> anyhow::Result<()> {
    let kind = world.path.kind;
    let eth = Ethernet::parse(frame).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    ensure!((eth.dst, &frame[6..12]) == (FAR, &NEAR[..]), "Ethernet addresses");
    let packet = &frame[eth.len..];
    let inner = match kind {
        kind if !kind.is_outbound() || kind == Kind::Forward => packet.to_vec(),
        Kind::Encap => outer(packet, ip::IPIP, world::GATEWAY6.into(), world::peer6(i).into())?.to_vec(),
        Kind::EspOut => {
            let (next, inner) = opened(world, i, packet)?;
            ensure!(next == ip::IPIP, "next header {next}");
            inner
        }
        _ => {
            let (next, datagram) = opened(world, i, packet)?;
            ensure!(next == ip::UDP, "next header {next}");
            tunnelled(&datagram, world.ends(i))?
        }
    };
    let mut expected = world.inner(i, n);
    if expected[0] >> 4 == 4 {
        ipv4::decrement_ttl(&mut expected);
        ensure!(checksum::of(&inner[..ipv4::HEADER]) == 0, "the inner header's checksum is wrong");
    } else {
        expected[7] -= 1;
    }
    ensure!(inner == expected, "the inner packet is another: {inner:02x?} instead of {expected:02x?}");
    Ok(())
}

/// What a packet between these addresses carries.
fn outer(packet: &[u8], protocol: u8, src: IpAddr, dst: IpAddr) -> anyhow::Result<&[u8]> {
    let h = Ip::parse(packet).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    ensure!((h.src, h.dst, h.protocol, h.len) == (src, dst, protocol, packet.len()), "outer header: {h:?}");
    ensure!(src.is_ipv6() || checksum::of(&packet[..h.header_len]) == 0, "the outer header's checksum is wrong");
    Ok(&packet[h.header_len..])
}

fn opened(world: &mut World, i: usize, packet: &[u8]) -> anyhow::Result<(u8, Vec<u8>)> {
    let (src, dst) = world.ends(i);
    if !world.path.kind.is_behind_nat() {
        return world.opened(i, outer(packet, ip::ESP, src, dst)?);
    }
    let udp = udp::Udp::parse(outer(packet, ip::UDP, src, dst)?).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    ensure!((udp.src_port(), udp.dst_port()) == (world::NATT, world::NATT), "ports");
    world.opened(i, udp.payload())
}

/// The packet in PPP in L2TP.
fn tunnelled(datagram: &[u8], (src, dst): (IpAddr, IpAddr)) -> anyhow::Result<Vec<u8>> {
    let udp = udp::Udp::parse(datagram).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    ensure!(udp.checksum_ok(src, dst), "UDP checksum");
    ensure!((udp.src_port(), udp.dst_port()) == (l2tp::PORT, l2tp::PORT), "ports");
    let h = l2tp::Header::parse(udp.payload()).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    ensure!(!h.control && (h.tunnel, h.session) == (1, 1), "L2TP: {h:?}");
    let frame = &udp.payload()[h.len..h.end];
    let (protocol, len) = ppp::protocol(frame).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let version = frame[len..].first().map(|b| b >> 4);
    ensure!(
        matches!((protocol, version), (world::PPP_IPV4, Some(4)) | (world::PPP_IPV6, Some(6))),
        "PPP protocol {protocol:#x}"
    );
    Ok(frame[len..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the workers take for few: their SAs and sessions are asked for far ahead, after the first round by what each SA has
    /// brought before.
    #[test]
    fn packets_of_many_sas_come_out_as_those_of_one() -> anyhow::Result<()> {
        const PEERS: usize = 2500;
        dpdk::sim::eal().map_err(|e| anyhow::anyhow!("{e}"))?;
        let _lcore = dpdk::lcore::register()?;
        for kind in ["l2tp4-out", "l2tp4-in", "esp-out", "esp-in"] {
            let path = Path::named(&format!("{kind}-64-{PEERS}")).context(kind)?;
            assert_eq!(compared(path, kind, 2 * PEERS)?, 2 * PEERS);
        }
        Ok(())
    }
}
