//! NAT detection (RFC 7296, section 2.23): each end sends hashes of the addresses it believes in; the other compares
//! them with what the datagram really shows. A differing source hash: the sender is behind a NAT; a differing
//! destination hash: the receiver is.

use crate::message::Body;
use crate::payload::Builder;
use crate::payload::notify::NotifyType;
use aws_lc_rs::digest;
use std::net::{IpAddr, SocketAddr};

/// Who is behind a NAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// We are.
    pub local: bool,
    /// The peer is.
    pub remote: bool,
}

impl Nat {
    /// Whether ESP goes in UDP.
    pub fn any(self) -> bool {
        self.local || self.remote
    }

    /// Compares the peer's hashes with the addresses of its datagram. Without hashes the peer does not do NAT traversal.
    pub fn detect(body: &Body<'_>, spi_i: u64, spi_r: u64, local: SocketAddr, remote: SocketAddr) -> Self {
        let differs = |kind, address| {
            let mut sent = body.notifies.iter().filter(|n| n.kind == kind).peekable();
            let expected = hash(spi_i, spi_r, address);
            // Several source hashes: the peer does not know which address it sends from; one match suffices.
            sent.peek().is_some() && !sent.any(|n| n.data == expected.as_ref())
        };
        Self {
            local: differs(NotifyType::NAT_DETECTION_DESTINATION_IP, local),
            remote: differs(NotifyType::NAT_DETECTION_SOURCE_IP, remote),
        }
    }

    /// Adds our hashes. `pretend` spoils the source hash, so that the peer sees a NAT and encapsulates.
    pub fn announce(chain: &mut Builder, spi_i: u64, spi_r: u64, local: SocketAddr, remote: SocketAddr, pretend: bool) {
        let shown = if pretend { SocketAddr::new(local.ip(), 0) } else { local };
        chain.notify(NotifyType::NAT_DETECTION_SOURCE_IP, hash(spi_i, spi_r, shown).as_ref());
        chain.notify(NotifyType::NAT_DETECTION_DESTINATION_IP, hash(spi_i, spi_r, remote).as_ref());
    }
}

fn hash(spi_i: u64, spi_r: u64, address: SocketAddr) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&spi_i.to_be_bytes());
    context.update(&spi_r.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    context.update(&address.port().to_be_bytes());
    context.finish()
}
