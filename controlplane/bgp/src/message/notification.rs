//! NOTIFICATION (RFC 4271, section 4.5): the last message of a session says why it ends.
//!
//! ```text
//! | Error code (1) | Error subcode (1) |  Data ...  |
//! ```

use super::family::Family;

/// A NOTIFICATION to send, or one received. As an error it is what the peer is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code: 1 message header, 2 OPEN, 3 UPDATE, 4 Hold Timer, 5 FSM, 6 Cease, 7 ROUTE-REFRESH, 8 Send Hold Timer.
    pub code: u8,
    /// Error subcode, 0 is unspecific.
    pub subcode: u8,
    /// Data that belongs to the code.
    pub data: Vec<u8>,
}

const HEADER: u8 = 1;
const OPEN: u8 = 2;
const UPDATE: u8 = 3;
const HOLD_TIMER: u8 = 4;
const FSM: u8 = 5;
const CEASE: u8 = 6;
const ROUTE_REFRESH: u8 = 7;
const SEND_HOLD_TIMER: u8 = 8;

const SHUTDOWN: u8 = 2;
const RESET: u8 = 4;
const HARD_RESET: u8 = 9;

impl Notification {
    fn new(code: u8, subcode: u8, data: impl Into<Vec<u8>>) -> Self {
        Self { code, subcode, data: data.into() }
    }

    /// The marker is not all ones.
    pub fn not_synchronized() -> Self {
        Self::new(HEADER, 1, [])
    }

    /// A length outside what the type of message allows; the erroneous length.
    pub fn bad_message_length(length: u16) -> Self {
        Self::new(HEADER, 2, length.to_be_bytes())
    }

    /// A type of message that is not known.
    pub fn bad_message_type(message_type: u8) -> Self {
        Self::new(HEADER, 3, [message_type])
    }

    /// An OPEN that cannot be read.
    pub fn malformed_open() -> Self {
        Self::new(OPEN, 0, [])
    }

    /// Not version 4.
    pub fn unsupported_version() -> Self {
        Self::new(OPEN, 1, 4u16.to_be_bytes())
    }

    /// AS 0 (RFC 7607), or not the AS that is configured.
    pub fn bad_peer_as() -> Self {
        Self::new(OPEN, 2, [])
    }

    /// BGP identifier 0, or our own within the AS (RFC 6286).
    pub fn bad_bgp_identifier() -> Self {
        Self::new(OPEN, 3, [])
    }

    /// An optional parameter other than capabilities.
    pub fn unsupported_optional_parameter() -> Self {
        Self::new(OPEN, 4, [])
    }

    /// A hold time of 1 or 2 seconds, or less than is accepted.
    pub fn unacceptable_hold_time() -> Self {
        Self::new(OPEN, 6, [])
    }

    /// A capability that the session needs is missing (RFC 5492, section 5); the capabilities, encoded.
    pub fn unsupported_capability(capabilities: Vec<u8>) -> Self {
        Self::new(OPEN, 7, capabilities)
    }

    /// The roles of both sides do not correspond (RFC 9234, section 4.2).
    pub fn role_mismatch() -> Self {
        Self::new(OPEN, 11, [])
    }

    /// The lengths in an UPDATE do not fit, or MP_REACH_NLRI or MP_UNREACH_NLRI is there twice.
    pub fn malformed_attribute_list() -> Self {
        Self::new(UPDATE, 1, [])
    }

    /// The attribute, whole, says that it is well-known and is not.
    pub fn unrecognized_well_known(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 2, attribute)
    }

    /// A mandatory attribute is missing.
    pub fn missing_well_known(code: u8) -> Self {
        Self::new(UPDATE, 3, [code])
    }

    /// Flags that conflict with the attribute's type; the attribute, whole.
    pub fn attribute_flags(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 4, attribute)
    }

    /// A length that conflicts with the attribute's type; the attribute, whole.
    pub fn attribute_length(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 5, attribute)
    }

    /// An ORIGIN that is not defined; the attribute, whole.
    pub fn invalid_origin(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 6, attribute)
    }

    /// A NEXT_HOP that is no host's address; the attribute, whole.
    pub fn invalid_next_hop(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 8, attribute)
    }

    /// An optional attribute whose value is wrong; the attribute, whole.
    pub fn optional_attribute(attribute: Vec<u8>) -> Self {
        Self::new(UPDATE, 9, attribute)
    }

    /// NLRI or Withdrawn Routes are syntactically incorrect.
    pub fn invalid_network_field() -> Self {
        Self::new(UPDATE, 10, [])
    }

    /// An AS_PATH that is syntactically incorrect.
    pub fn malformed_as_path() -> Self {
        Self::new(UPDATE, 11, [])
    }

    /// Nothing was heard for the hold time.
    pub fn hold_timer_expired() -> Self {
        Self::new(HOLD_TIMER, 0, [])
    }

    /// Nothing could be sent for the send hold time (RFC 9687).
    pub fn send_hold_timer_expired() -> Self {
        Self::new(SEND_HOLD_TIMER, 0, [])
    }

    /// A message of this type is unexpected in OpenSent (RFC 6608).
    pub fn unexpected_in_open_sent(message_type: u8) -> Self {
        Self::new(FSM, 1, [message_type])
    }

    /// A message of this type is unexpected in OpenConfirm (RFC 6608).
    pub fn unexpected_in_open_confirm(message_type: u8) -> Self {
        Self::new(FSM, 2, [message_type])
    }

    /// A message of this type is unexpected in Established (RFC 6608).
    pub fn unexpected_in_established(message_type: u8) -> Self {
        Self::new(FSM, 3, [message_type])
    }

    /// More prefixes of the family than `limit` (RFC 4486).
    pub fn maximum_prefixes(family: Family, limit: u32) -> Self {
        let mut data = family.afi().to_be_bytes().to_vec();
        data.push(family.safi());
        data.extend_from_slice(&limit.to_be_bytes());
        Self::new(CEASE, 1, data)
    }

    /// The session is shut down by its operator; `message` is for the peer's (RFC 9003).
    pub fn administrative_shutdown(message: &str) -> Self {
        Self::new(CEASE, SHUTDOWN, communication(message))
    }

    /// The neighbour is no longer configured.
    pub fn peer_deconfigured() -> Self {
        Self::new(CEASE, 3, [])
    }

    /// The session is reset by its operator; `message` is for the peer's (RFC 9003).
    pub fn administrative_reset(message: &str) -> Self {
        Self::new(CEASE, RESET, communication(message))
    }

    /// The connection is not wanted.
    pub fn connection_rejected() -> Self {
        Self::new(CEASE, 5, [])
    }

    /// The configuration has changed in a way that needs a new session.
    pub fn other_configuration_change() -> Self {
        Self::new(CEASE, 6, [])
    }

    /// Of two connections this is the one to go (RFC 4271, section 6.8).
    pub fn connection_collision() -> Self {
        Self::new(CEASE, 7, [])
    }

    /// Out of resources.
    pub fn out_of_resources() -> Self {
        Self::new(CEASE, 8, [])
    }

    /// `why`, and without graceful restart (RFC 8538, section 3.1).
    pub fn hard_reset(why: &Self) -> Self {
        let mut data = vec![why.code, why.subcode];
        data.extend_from_slice(&why.data);
        Self::new(CEASE, HARD_RESET, data)
    }

    /// BFD says that the path is down (RFC 9384).
    pub fn bfd_down() -> Self {
        Self::new(CEASE, 10, [])
    }

    /// A ROUTE-REFRESH of another length than 23; the message, whole (RFC 7313, section 5).
    pub fn invalid_refresh_length(message: &[u8]) -> Self {
        Self::new(ROUTE_REFRESH, 1, message)
    }

    /// Whether it forbids graceful restart (RFC 8538).
    pub fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (CEASE, HARD_RESET)
    }

    /// What a Hard Reset says besides: why the session ends (RFC 8538, section 3.1).
    pub fn hard_reset_reason(&self) -> Option<Self> {
        let (&[code, subcode], data) = self.data.split_first_chunk().filter(|_| self.is_hard_reset())?;
        Some(Self::new(code, subcode, data)).filter(|inner| !inner.is_hard_reset())
    }

    /// What the peer's operator wrote, if this is a shutdown or a reset that carries UTF-8 (RFC 9003, section 2).
    pub fn shutdown_communication(&self) -> Option<&str> {
        if self.code != CEASE || !matches!(self.subcode, SHUTDOWN | RESET) {
            return None;
        }
        let (&length, text) = self.data.split_first()?;
        std::str::from_utf8(text.get(..usize::from(length))?).ok().filter(|text| !text.is_empty())
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (&[code, subcode], data) = body.split_first_chunk()?;
        Some(Self::new(code, subcode, data))
    }

    /// Writes the body; data beyond `max` octets of message is cut.
    pub(super) fn encode(&self, max: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.code, self.subcode]);
        out.extend(self.data.iter().take(max.saturating_sub(super::HEADER_LEN + 2)));
    }
}

/// A length octet and at most 255 octets of whole characters.
fn communication(message: &str) -> Vec<u8> {
    let text = &message[..message.floor_char_boundary(255)];
    let mut data = vec![text.len() as u8];
    data.extend_from_slice(text.as_bytes());
    data
}

impl std::fmt::Display for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match (self.code, self.subcode) {
            (HEADER, 1) => "connection not synchronized",
            (HEADER, 2) => "bad message length",
            (HEADER, 3) => "bad message type",
            (OPEN, 1) => "unsupported version number",
            (OPEN, 2) => "bad peer AS",
            (OPEN, 3) => "bad BGP identifier",
            (OPEN, 4) => "unsupported optional parameter",
            (OPEN, 6) => "unacceptable hold time",
            (OPEN, 7) => "unsupported capability",
            (OPEN, 11) => "role mismatch",
            (OPEN, _) => "OPEN message error",
            (UPDATE, 1) => "malformed attribute list",
            (UPDATE, 2) => "unrecognized well-known attribute",
            (UPDATE, 3) => "missing well-known attribute",
            (UPDATE, 4) => "attribute flags error",
            (UPDATE, 5) => "attribute length error",
            (UPDATE, 6) => "invalid ORIGIN attribute",
            (UPDATE, 8) => "invalid NEXT_HOP attribute",
            (UPDATE, 9) => "optional attribute error",
            (UPDATE, 10) => "invalid network field",
            (UPDATE, 11) => "malformed AS_PATH",
            (UPDATE, _) => "UPDATE message error",
            (HOLD_TIMER, _) => "hold timer expired",
            (FSM, 1) => "unexpected message in OpenSent",
            (FSM, 2) => "unexpected message in OpenConfirm",
            (FSM, 3) => "unexpected message in Established",
            (FSM, _) => "finite state machine error",
            (CEASE, 1) => "maximum number of prefixes reached",
            (CEASE, SHUTDOWN) => "administrative shutdown",
            (CEASE, 3) => "peer de-configured",
            (CEASE, RESET) => "administrative reset",
            (CEASE, 5) => "connection rejected",
            (CEASE, 6) => "other configuration change",
            (CEASE, 7) => "connection collision resolution",
            (CEASE, 8) => "out of resources",
            (CEASE, HARD_RESET) => "hard reset",
            (CEASE, 10) => "BFD down",
            (CEASE, _) => "cease",
            (ROUTE_REFRESH, 1) => "invalid ROUTE-REFRESH length",
            (SEND_HOLD_TIMER, _) => "send hold timer expired",
            _ => "unknown error",
        };
        write!(f, "{name} ({}/{})", self.code, self.subcode)?;
        if let Some(inner) = self.hard_reset_reason() {
            return write!(f, ": {inner}");
        }
        match self.shutdown_communication() {
            Some(text) => write!(f, ": {text:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Notification {}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn maximum_prefixes_names_family_and_limit() {
        let n = Notification::maximum_prefixes(Family::Ipv6Unicast, 250_000);
        assert_eq!((n.code, n.subcode, n.data), (6, 1, hex!("0002 01 0003d090").to_vec()));
    }

    #[test]
    fn a_hard_reset_says_why() {
        let why = Notification::administrative_reset("patch");
        let hard = Notification::hard_reset(&why);
        assert_eq!(hard.hard_reset_reason(), Some(why.clone()));
        assert_eq!(hard.to_string(), "hard reset (6/9): administrative reset (6/4): \"patch\"");
        assert_eq!(why.hard_reset_reason(), None);
        // One within another, and one that is cut short, say nothing.
        assert_eq!(Notification::hard_reset(&hard).to_string(), "hard reset (6/9)");
        assert_eq!(Notification { data: vec![6], ..hard }.to_string(), "hard reset (6/9)");
    }

    #[test]
    fn a_communication_is_read_back() {
        let n = Notification::administrative_shutdown("weekly update");
        assert_eq!(n.data[0], 13);
        assert_eq!(n.shutdown_communication(), Some("weekly update"));
        assert_eq!(n.to_string(), "administrative shutdown (6/2): \"weekly update\"");
        assert_eq!(Notification::administrative_reset("").shutdown_communication(), None);
    }

    #[test]
    fn a_communication_is_cut_between_characters() {
        let n = Notification::administrative_shutdown(&"ä".repeat(200));
        assert_eq!((n.data[0], n.data.len()), (254, 255));
        assert_eq!(n.shutdown_communication().map(|t| t.chars().count()), Some(127));
    }

    #[test]
    fn a_broken_communication_is_none() {
        let mut n = Notification::administrative_shutdown("abc");
        n.data[0] = 4;
        assert_eq!(n.shutdown_communication(), None);
        n.data = vec![2, 0xc3, 0x28];
        assert_eq!(n.shutdown_communication(), None);
        assert_eq!(Notification::bfd_down().shutdown_communication(), None);
    }

    #[test]
    fn a_hard_reset_carries_the_reason() {
        let n = Notification::hard_reset(&Notification::administrative_shutdown("x"));
        assert_eq!(n.data, hex!("06 02 01 78"));
        assert_eq!(n.to_string(), "hard reset (6/9): administrative shutdown (6/2): \"x\"");
        let nested = Notification::hard_reset(&Notification::hard_reset(&n));
        assert_eq!(nested.to_string(), "hard reset (6/9)");
        assert!(n.is_hard_reset() && !Notification::hold_timer_expired().is_hard_reset());
    }
}
