//! Counters: written by one worker each, read by anybody.
//!
//! Every packet is accounted for. On each worker, once it is idle:
//! received + injected + handed_in + generated = sent + punted + handed_out + sum(drops).

use crate::punt::PUNT_CLASSES;
use crate::softwire::MAX_SOFTWIRES;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter with a single writer: the increment is a plain load and store.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning worker may call it.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Current value.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Overwrites; only the owning worker may call it.
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}

/// The forwarding tables, by family: IPv4, IPv6. Written by the publisher.
#[derive(Debug, Default)]
pub struct FibCounters {
    /// Routes in them.
    pub routes: [Counter; 2],
    /// Routes that are wanted and do not fit.
    pub refused: [Counter; 2],
    /// Blocks in use by prefixes longer than /24.
    pub blocks: [Counter; 2],
}

/// A port, as its device tells about once a second. Written by the publisher.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// 1 while there is a link.
    pub up: Counter,
    /// Speed of the link in Mbit/s; 0 where it is not known.
    pub speed: Counter,
    /// Packets received.
    pub rx_packets: Counter,
    /// Octets received.
    pub rx_octets: Counter,
    /// Packets sent.
    pub tx_packets: Counter,
    /// Octets sent.
    pub tx_octets: Counter,
    /// Packets that the device has dropped because workers had left no room in its queues.
    pub rx_missed: Counter,
    /// Erroneous packets received.
    pub rx_errors: Counter,
    /// Packets not received for want of a buffer.
    pub rx_no_buffer: Counter,
    /// Packets not sent for an error.
    pub tx_errors: Counter,
}

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Why a packet was dropped: exactly one reason each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])* $name,)* }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Name in metrics and answers, snake case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

drop_reasons! {
    /// Frame too short, or a length field that contradicts the frame.
    Truncated = "truncated",
    /// Header fields that no valid packet has (version, header length, checksum).
    Malformed = "malformed",
    /// Ethertype that nobody handles here.
    UnknownEthertype = "unknown_ethertype",
    /// VLAN that is not configured on the port.
    UnknownVlan = "unknown_vlan",
    /// Not addressed to this port's Ethernet address.
    NotOurMac = "not_our_mac",
    /// Outer fragment that could not be reassembled (time-out, overlap, table full).
    Reassembly = "reassembly",
    /// The SPD says discard, or nothing matched.
    SpdDiscard = "spd_discard",
    /// The SPD demands ESP and the packet came in the clear (H1).
    SpdClear = "spd_clear",
    /// Transit traffic from the public zone.
    SpdTransit = "spd_transit",
    /// No SA has this SPI.
    SaUnknown = "sa_unknown",
    /// Addresses or encapsulation differ from the SA's.
    SaMismatch = "sa_mismatch",
    /// Sequence number outside the window or seen before (H21).
    EspReplay = "esp_replay",
    /// ICV wrong.
    EspIntegrity = "esp_integrity",
    /// Padding, lengths or next header wrong after decryption.
    EspMalformed = "esp_malformed",
    /// TFC dummy packet (next header 59).
    EspDummy = "esp_dummy",
    /// Decrypted packet outside the SA's traffic selectors.
    EspSelector = "esp_selector",
    /// Hard lifetime or sequence numbers used up.
    SaExpired = "sa_expired",
    /// The peer has no outbound SA: never sent in the clear.
    SaMissing = "sa_missing",
    /// L2TP header malformed, wrong version, or offset beyond the packet.
    L2tpMalformed = "l2tp_malformed",
    /// No session has these ids.
    SessionUnknown = "session_unknown",
    /// The session belongs to another SA's peer, or came in the clear (H19, H23, H49).
    SessionBinding = "session_binding",
    /// Outer addresses or ports differ from the tunnel's (H49).
    SessionAddress = "session_address",
    /// Data before the network layer opened (H12).
    SessionClosed = "session_closed",
    /// PPP frame malformed.
    PppMalformed = "ppp_malformed",
    /// Inner source outside the subscriber's addresses (H18).
    InnerSource = "inner_source",
    /// The session's filter denies it, or is not there.
    Filtered = "filtered",
    /// Beyond the subscriber's rate.
    RateUp = "rate_up",
    /// Beyond the rate to the subscriber.
    RateDown = "rate_down",
    /// Inner packet malformed.
    InnerMalformed = "inner_malformed",
    /// IP in IP between addresses that are no softwire's ends.
    SoftwireUnknown = "softwire_unknown",
    /// In the clear, or under another peer's SA, for a softwire that is protected.
    SoftwireClear = "softwire_clear",
    /// Inner source that is not routed into the softwire it came from (M9).
    SoftwireSource = "softwire_source",
    /// Congestion experienced outside, but the inner packet is not capable of ECN (RFC 6040, section 4.2).
    SoftwireEcn = "softwire_ecn",
    /// No route.
    NoRoute = "no_route",
    /// The route says so.
    Blackhole = "blackhole",
    /// Hop limit or TTL exceeded.
    TtlExceeded = "ttl_exceeded",
    /// Too big and not to be fragmented.
    TooBig = "too_big",
    /// Next hop not resolved yet.
    NeighbourUnresolved = "neighbour_unresolved",
    /// BFD over a single hop from further away: its TTL is not 255 (RFC 5881, section 5).
    BfdTtl = "bfd_ttl",
    /// Policed: the class's token bucket was empty.
    PuntPoliced = "punt_policed",
    /// Punt ring full.
    PuntFull = "punt_full",
    /// Hand-off ring to another worker full.
    HandoffFull = "handoff_full",
    /// No buffer.
    NoBuffer = "no_buffer",
    /// The port did not take it.
    TxFull = "tx_full",
    /// Keepalive or other packet that ends here on purpose (NAT keepalive).
    Consumed = "consumed",
    /// ICMP error not sent: rate limit or not allowed for this packet (RFC 4443, section 2.4).
    IcmpSuppressed = "icmp_suppressed",
    /// Protocol to one of our addresses that nobody serves.
    NoListener = "no_listener",
}

/// Number of drop reasons.
pub const DROP_REASONS: usize = DropReason::ALL.len();

/// One worker's counters.
#[derive(Debug)]
#[repr(align(64))]
pub struct WorkerCounters {
    /// Frames received from ports.
    pub received: Counter,
    /// Octets received from ports.
    pub received_octets: Counter,
    /// Packets taken from the inject ring.
    pub injected: Counter,
    /// Packets made by the worker itself (ICMP errors, fragments beyond the first).
    pub generated: Counter,
    /// Packets taken over from other workers.
    pub handed_in: Counter,
    /// Frames sent.
    pub sent: Counter,
    /// Octets sent.
    pub sent_octets: Counter,
    /// Packets given to the control plane, per class.
    pub punted: [Counter; PUNT_CLASSES],
    /// Packets given to other workers.
    pub handed_out: Counter,
    /// Fragments joined into another packet.
    pub joined: Counter,
    /// Drops per reason.
    pub drops: [Counter; DROP_REASONS],
    /// Polls.
    pub polls: Counter,
    /// Polls that found nothing.
    pub idle_polls: Counter,
    /// Last table op applied.
    pub applied: AtomicU64,
    /// Table ops that could not be applied (slot taken or unknown): a bug of the control plane.
    pub ops_refused: Counter,
    /// Packets that were to be traced and had no buffer for it; they went their way.
    pub trace_lost: Counter,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            received_octets: Counter::default(),
            injected: Counter::default(),
            generated: Counter::default(),
            handed_in: Counter::default(),
            sent: Counter::default(),
            sent_octets: Counter::default(),
            punted: Default::default(),
            handed_out: Counter::default(),
            joined: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            polls: Counter::default(),
            idle_polls: Counter::default(),
            applied: AtomicU64::new(0),
            ops_refused: Counter::default(),
            trace_lost: Counter::default(),
        }
    }
}

impl WorkerCounters {
    /// Drops for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }
}

/// Per-session counters; "in" is from the subscriber. The first line is what passed, the second what did not.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SessionCounters {
    /// IPv4 packets, inner octets from the subscriber.
    pub in_v4: [Counter; 2],
    /// IPv4 packets, inner octets to the subscriber.
    pub out_v4: [Counter; 2],
    /// IPv6 packets, inner octets from the subscriber.
    pub in_v6: [Counter; 2],
    /// IPv6 packets, inner octets to the subscriber.
    pub out_v6: [Counter; 2],
    /// Packets dropped as [`DropReason::RateUp`].
    pub rate_up: Counter,
    /// Packets dropped as [`DropReason::RateDown`].
    pub rate_down: Counter,
    /// Packets dropped as [`DropReason::Filtered`], both directions.
    pub filtered: Counter,
}

/// Per-softwire counters of one worker, inner octets; "in" is from the other AFBR.
#[derive(Debug, Default)]
pub struct SoftwireCounters {
    /// Packets and octets decapsulated.
    pub received: [Counter; 2],
    /// Packets and octets encapsulated.
    pub sent: [Counter; 2],
}

/// Per-SA counters. Packets and octets follow in turn: of many SAs they are some seconds late. Without an SA they are 0.
#[derive(Debug, Default)]
pub struct SaCounters {
    /// ESP packets.
    pub packets: Counter,
    /// Octets of ESP payload.
    pub octets: Counter,
    /// Packets dropped by the replay window (inbound).
    pub replayed: Counter,
    /// Packets whose ICV was wrong (inbound).
    pub integrity: Counter,
}

/// Everything one worker counts; slot-indexed parts have as many entries as its tables.
#[derive(Debug)]
pub struct Counters {
    /// Whole-worker counters.
    pub worker: WorkerCounters,
    /// By session slot; reset when a session is added.
    pub sessions: Box<[SessionCounters]>,
    /// By inbound SA slot; reset when an SA is added.
    pub sa_in: Box<[SaCounters]>,
    /// By outbound SA slot; reset when an SA is added.
    pub sa_out: Box<[SaCounters]>,
    /// By softwire number; never reset.
    pub softwires: Box<[SoftwireCounters]>,
}

impl Counters {
    /// For tables of the given sizes.
    pub fn new(sessions: usize, sas: usize) -> Self {
        Self {
            worker: WorkerCounters::default(),
            sessions: (0..sessions).map(|_| SessionCounters::default()).collect(),
            sa_in: (0..sas).map(|_| SaCounters::default()).collect(),
            sa_out: (0..sas).map(|_| SaCounters::default()).collect(),
            softwires: (0..MAX_SOFTWIRES).map(|_| SoftwireCounters::default()).collect(),
        }
    }
}
