//! Packet traces: what one packet met on its way through a worker, node by node.
//!
//! ```text
//!   control plane ── TableOp::Trace(filter, 1 in N) ──► worker: frames that match, or may match once decrypted
//!                 ◄── ring of TracePacket ───────────── a packet at its end, with a copy of its headers at each node
//!                 ─── ring of empty ones ─────────────►
//! ```
//!
//! Buffers travel in a circle. When a worker has none left, the packet goes on untraced and is counted as
//! [`WorkerCounters::trace_lost`](crate::WorkerCounters::trace_lost). A packet that crosses to another worker leaves one part on each, with
//! the same number.

use crate::{DropReason, IpPrefix, PeerId, PortId, PuntClass, SessionId, Spi, WorkerId};
use std::num::NonZeroU32;
use std::time::Instant;

/// Octets copied of a packet at each node.
pub const TRACE_OCTETS: usize = 256;
/// Nodes noted of a packet; of more, the last ones overwrite each other.
pub const TRACE_HOPS: usize = 14;
/// Buffers of a worker, and thus packets traced at a time.
pub const TRACE_BUFFERS: usize = 256;

/// Which packets are traced; what is not said matches all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Source. This and the next three must hold of the same IP header, the outer one or one that it carries.
    pub source: Option<IpPrefix>,
    /// Destination.
    pub destination: Option<IpPrefix>,
    /// Protocol above IP.
    pub protocol: Option<u8>,
    /// Source or destination port of TCP or UDP.
    pub port: Option<u16>,
    /// Session it comes out of or goes into.
    pub session: Option<SessionId>,
    /// Port it came in by.
    pub ingress: Option<PortId>,
    /// Only packets that end in a drop.
    pub dropped: bool,
}

impl TraceFilter {
    /// Whether it says anything of headers.
    pub fn has_headers(&self) -> bool {
        self.source.is_some() || self.destination.is_some() || self.protocol.is_some() || self.port.is_some()
    }
}

/// What a worker is to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSpec {
    /// Number of the trace.
    pub trace: u32,
    /// Which packets.
    pub filter: TraceFilter,
    /// One in so many of the frames that match, or may match once decrypted.
    pub sample: NonZeroU32,
}

macro_rules! nodes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Where a packet is: on its way into a node, or at its end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum TraceNode { $($(#[doc = $doc])* $name,)* }

        impl TraceNode {
            /// Name in answers.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

nodes! {
    /// Received from a port; the octets are those of the frame.
    Rx = "rx",
    /// Headers are read, the SPD asked.
    Classify = "classify",
    /// ESP is opened.
    EspIn = "esp-in",
    /// Came out of ESP.
    Decrypted = "decrypted",
    /// L2TP and PPP are taken off.
    L2tpIn = "l2tp-in",
    /// The outer IP header of a softwire is taken off.
    Decap = "decap",
    /// The packet is routed.
    Forward = "forward",
    /// PPP and L2TP are put on.
    L2tpOut = "l2tp-out",
    /// The outer IP header of a softwire is put on.
    Encap = "encap",
    /// ESP is put on.
    EspOut = "esp-out",
    /// The outer packet is routed.
    Output = "output",
    /// Queued for a port; the octets are those of the frame.
    Tx = "tx",
    /// Given to the control plane or the host stack.
    Punt = "punt",
    /// Given to another worker.
    HandOff = "hand-off",
    /// Joined, as a fragment, with others.
    Joined = "joined",
    /// Dropped.
    Drop = "drop",
}

/// A packet at a node.
#[derive(Clone, Copy, Debug)]
pub struct TraceHop {
    /// The node.
    pub node: TraceNode,
    /// Peer whose SA protected it, or is to protect it.
    pub peer: Option<PeerId>,
    /// Inbound SA that protected it.
    pub spi: Option<Spi>,
    /// Session it came out of or goes into.
    pub session: Option<SessionId>,
    /// Octets of the frame (`Rx`, `Tx`), else of the packet from its IP header on; 0 where there is no copy.
    pub len: u16,
    octets: [u8; TRACE_OCTETS],
}

impl TraceHop {
    const NOWHERE: Self =
        Self { node: TraceNode::Rx, peer: None, spi: None, session: None, len: 0, octets: [0; TRACE_OCTETS] };

    /// The first octets.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len).min(TRACE_OCTETS)]
    }
}

/// How a packet ended on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEnd {
    /// A port took it.
    Sent(PortId),
    /// The control plane has it.
    Punted(PuntClass),
    /// Another worker has it, and traces it on.
    HandedOff(WorkerId),
    /// A fragment: what it is joined with shows the rest.
    Joined,
    /// Dropped.
    Dropped(DropReason),
}

impl TraceEnd {
    const fn node(self) -> TraceNode {
        match self {
            Self::Sent(_) => TraceNode::Tx,
            Self::Punted(_) => TraceNode::Punt,
            Self::HandedOff(_) => TraceNode::HandOff,
            Self::Joined => TraceNode::Joined,
            Self::Dropped(_) => TraceNode::Drop,
        }
    }
}

/// A traced packet, or the part of it that one worker saw.
#[derive(Clone, Debug)]
pub struct TracePacket {
    /// Number of the trace.
    pub trace: u32,
    /// Number of the packet; the same in all parts of it.
    pub id: u32,
    /// Where.
    pub worker: WorkerId,
    /// When that worker took it.
    pub at: Instant,
    /// Port it came in by.
    pub port: PortId,
    /// Another worker has seen it before.
    pub continued: bool,
    /// A header was seen that the filter asks for.
    pub headers: bool,
    /// The session was seen that the filter asks for.
    pub session: bool,
    /// How it ended.
    pub end: TraceEnd,
    hops: [TraceHop; TRACE_HOPS],
    count: u8,
}

impl TracePacket {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            trace: 0,
            id: 0,
            worker: WorkerId(0),
            at: Instant::now(),
            port: PortId(0),
            continued: false,
            headers: false,
            session: false,
            end: TraceEnd::Joined,
            hops: [TraceHop::NOWHERE; TRACE_HOPS],
            count: 0,
        }
    }

    /// The nodes in order.
    pub fn hops(&self) -> &[TraceHop] {
        &self.hops[..usize::from(self.count)]
    }

    /// Forgets the nodes of the packet before.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Notes a node, with `octets` of the packet there.
    pub fn visit(
        &mut self,
        node: TraceNode,
        (peer, spi, session): (Option<PeerId>, Option<Spi>, Option<SessionId>),
        octets: &[u8],
    ) {
        let n = usize::from(self.count).min(TRACE_HOPS - 1);
        self.count = n as u8 + 1;
        let hop = &mut self.hops[n];
        (hop.node, hop.peer, hop.spi, hop.session) = (node, peer, spi, session);
        hop.len = octets.len().min(usize::from(u16::MAX)) as u16;
        let copied = octets.len().min(TRACE_OCTETS);
        hop.octets[..copied].copy_from_slice(&octets[..copied]);
    }

    /// Notes how it ended; what was sent has been noted at `Tx` already.
    pub fn finish(&mut self, end: TraceEnd) {
        self.end = end;
        if !matches!(end, TraceEnd::Sent(_)) {
            self.visit(end.node(), (None, None, None), &[]);
        }
    }
}

impl Default for TracePacket {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_noted_whatever_came_before() {
        let mut p = TracePacket::new();
        for _ in 0..2 * TRACE_HOPS {
            p.visit(TraceNode::Forward, (None, None, None), &[7; 1000]);
        }
        p.finish(TraceEnd::Dropped(DropReason::TtlExceeded));
        assert_eq!((p.hops().len(), p.hops().last().map(|h| h.node)), (TRACE_HOPS, Some(TraceNode::Drop)));
        assert_eq!((p.hops()[0].len, p.hops()[0].octets()), (1000, &[7; TRACE_OCTETS][..]));
        assert!(p.hops()[TRACE_HOPS - 1].octets().is_empty());
        p.clear();
        assert!(p.hops().is_empty());
    }
}
