//! The control packet (RFC 5880, section 4.1).
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  ┌─────┬─────────┬───┬─┬─┬─┬─┬─┬─┬───────────────┬───────────────┐
//!  │Vers │  Diag   │Sta│P│F│C│A│D│M│  Detect Mult  │    Length     │
//!  ├─────┴─────────┴───┴─┴─┴─┴─┴─┴─┴───────────────┴───────────────┤
//!  │                       My Discriminator                        │
//!  │                      Your Discriminator                       │
//!  │                    Desired Min TX Interval                    │  microseconds
//!  │                   Required Min RX Interval                    │
//!  │                 Required Min Echo RX Interval                 │
//!  ├───────────────┬───────────────┬───────────────────────────────┤
//!  │   Auth Type   │   Auth Len    │    Authentication Data...     │  with the A bit
//!  └───────────────┴───────────────┴───────────────────────────────┘
//! ```

use crate::error::Discard;
use crate::fsm::State;

/// Octets of the mandatory section.
pub const MANDATORY: usize = 24;
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION_PRESENT: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// Why a session last changed its state (RFC 5880, section 4.1, Diag).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Diag {
    /// 0: No Diagnostic.
    #[default]
    None,
    /// 1: Control Detection Time Expired.
    ControlDetectionTimeExpired,
    /// 2: Echo Function Failed.
    EchoFunctionFailed,
    /// 3: Neighbor Signaled Session Down.
    NeighborSignaledSessionDown,
    /// 4: Forwarding Plane Reset.
    ForwardingPlaneReset,
    /// 5: Path Down.
    PathDown,
    /// 6: Concatenated Path Down.
    ConcatenatedPathDown,
    /// 7: Administratively Down.
    AdministrativelyDown,
    /// 8: Reverse Concatenated Path Down.
    ReverseConcatenatedPathDown,
    /// 9 to 31: not assigned.
    Reserved(u8),
}

impl Diag {
    /// From the low five bits.
    pub const fn from_bits(n: u8) -> Self {
        match n & 0x1f {
            0 => Self::None,
            1 => Self::ControlDetectionTimeExpired,
            2 => Self::EchoFunctionFailed,
            3 => Self::NeighborSignaledSessionDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            n => Self::Reserved(n),
        }
    }

    /// The number on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::None => 0,
            Self::ControlDetectionTimeExpired => 1,
            Self::EchoFunctionFailed => 2,
            Self::NeighborSignaledSessionDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Reserved(n) => n & 0x1f,
        }
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ControlDetectionTimeExpired => "control-detection-time-expired",
            Self::EchoFunctionFailed => "echo-function-failed",
            Self::NeighborSignaledSessionDown => "neighbor-signaled-session-down",
            Self::ForwardingPlaneReset => "forwarding-plane-reset",
            Self::PathDown => "path-down",
            Self::ConcatenatedPathDown => "concatenated-path-down",
            Self::AdministrativelyDown => "administratively-down",
            Self::ReverseConcatenatedPathDown => "reverse-concatenated-path-down",
            Self::Reserved(_) => "reserved",
        }
    }
}

/// The mandatory section. Version and M are not in it: 1 and clear, or the packet is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Diagnostic.
    pub diag: Diag,
    /// State of the sender.
    pub state: State,
    /// P: a Poll Sequence asks for a Final.
    pub poll: bool,
    /// F: the answer to a Poll.
    pub final_: bool,
    /// C: BFD of the sender survives its control plane.
    pub control_plane_independent: bool,
    /// D: the sender is in demand mode.
    pub demand: bool,
    /// Packets of the sender that make up the Detection Time.
    pub detect_mult: u8,
    /// The sender's discriminator, not zero.
    pub my_discriminator: u32,
    /// The receiver's, zero while unknown.
    pub your_discriminator: u32,
    /// Shortest interval at which the sender would like to send, in microseconds.
    pub desired_min_tx: u32,
    /// Shortest interval at which the sender can receive, in microseconds; 0: not periodically.
    pub required_min_rx: u32,
    /// Shortest interval of Echo packets that the sender loops back, in microseconds; 0: none.
    pub required_min_echo_rx: u32,
}

/// The authentication section, of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthSection<'a> {
    /// Auth Type.
    pub auth_type: u8,
    /// Authentication Data, Auth Len less two octets.
    pub data: &'a [u8],
}

/// A packet as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its mandatory section.
    pub packet: Packet,
    /// Its authentication section.
    pub auth: Option<AuthSection<'a>>,
    /// All of it as far as Length goes, which is what a hash covers.
    pub octets: &'a [u8],
}

impl Packet {
    /// Reads the payload of a datagram, and applies those rules of RFC 5880, section 6.8.6 that need no session, in
    /// their order. What follows Length is ignored.
    ///
    /// # Errors
    /// The reason to discard it.
    pub fn decode(payload: &[u8]) -> Result<Received<'_>, Discard> {
        let (head, _) = payload.split_first_chunk::<MANDATORY>().ok_or(Discard::Short)?;
        let [first, flags, detect_mult, length, words @ ..] = *head;
        if first >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let authenticated = flags & AUTHENTICATION_PRESENT != 0;
        let length = usize::from(length);
        if length < MANDATORY + if authenticated { 2 } else { 0 } {
            return Err(Discard::Short);
        }
        let octets = payload.get(..length).ok_or(Discard::Length)?;
        if detect_mult == 0 {
            return Err(Discard::DetectMult);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let ([my, your, desired_min_tx, required_min_rx, required_min_echo_rx], []) = words.as_chunks::<4>() else {
            return Err(Discard::Short);
        };
        let packet = Self {
            diag: Diag::from_bits(first),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            final_: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_mult,
            my_discriminator: u32::from_be_bytes(*my),
            your_discriminator: u32::from_be_bytes(*your),
            desired_min_tx: u32::from_be_bytes(*desired_min_tx),
            required_min_rx: u32::from_be_bytes(*required_min_rx),
            required_min_echo_rx: u32::from_be_bytes(*required_min_echo_rx),
        };
        if packet.my_discriminator == 0 {
            return Err(Discard::MyDiscriminator);
        }
        if packet.your_discriminator == 0 && matches!(packet.state, State::Init | State::Up) {
            return Err(Discard::State);
        }
        let auth = if authenticated { Some(auth_section(octets)?) } else { None };
        Ok(Received { packet, auth, octets })
    }

    /// Writes it, with an authentication section of `auth` octets (Auth Type and Auth Len included), or without one
    /// where that is empty. There is no section longer than 231 octets.
    pub fn encode(&self, auth: &[u8]) -> Vec<u8> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = self.state.bits() << 6
            | flag(self.poll, POLL)
            | flag(self.final_, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(!auth.is_empty(), AUTHENTICATION_PRESENT)
            | flag(self.demand, DEMAND);
        let length = u8::try_from(MANDATORY + auth.len()).unwrap_or(u8::MAX);
        let mut out = Vec::with_capacity(MANDATORY + auth.len());
        out.extend([VERSION << 5 | self.diag.bits(), flags, self.detect_mult, length]);
        for word in [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ] {
            out.extend(word.to_be_bytes());
        }
        out.extend_from_slice(auth);
        out
    }
}

fn auth_section(octets: &[u8]) -> Result<AuthSection<'_>, Discard> {
    let (head, rest) = octets.get(MANDATORY..).and_then(|s| s.split_first_chunk::<2>()).ok_or(Discard::Short)?;
    let [auth_type, auth_len] = *head;
    let data = usize::from(auth_len).checked_sub(2).and_then(|n| rest.get(..n)).ok_or(Discard::AuthLength)?;
    Ok(AuthSection { auth_type, data })
}

#[cfg(test)]
mod tests;
