//! DHCPv6 messages between client and server (RFC 8415, section 8): type, transaction id of three octets, options.

use crate::lease::Kind;
use crate::option::{self, DhcpOption, Duid, Ia};

/// Message types (RFC 8415, section 7.3) between client and server; those between relay agents are in
/// [`crate::relay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MessageType {
    Solicit = 1,
    Advertise = 2,
    Request = 3,
    Confirm = 4,
    Renew = 5,
    Rebind = 6,
    Reply = 7,
    Release = 8,
    Decline = 9,
    Reconfigure = 10,
    InformationRequest = 11,
}

impl MessageType {
    fn from_code(code: u8) -> Option<Self> {
        use MessageType::*;
        let all = [
            Solicit,
            Advertise,
            Request,
            Confirm,
            Renew,
            Rebind,
            Reply,
            Release,
            Decline,
            Reconfigure,
            InformationRequest,
        ];
        all.into_iter().find(|t| *t as u8 == code)
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageType,
    /// Matches an answer to its question.
    pub transaction: [u8; 3],
    /// In the order of the wire.
    pub options: Vec<DhcpOption>,
}

impl Message {
    /// `None`: malformed, or not a message between client and server.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [code, a, b, c, rest @ ..] = bytes else { return None };
        let kind = MessageType::from_code(*code)?;
        Some(Self { kind, transaction: [*a, *b, *c], options: option::parse(rest)? })
    }

    /// The octets of the UDP payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind as u8];
        out.extend_from_slice(&self.transaction);
        option::encode(&self.options, &mut out);
        out
    }

    /// Who asks.
    pub fn client_id(&self) -> Option<&Duid> {
        self.options.iter().find_map(|o| if let DhcpOption::ClientId(duid) = o { Some(duid) } else { None })
    }

    /// Who answers, or is asked.
    pub fn server_id(&self) -> Option<&Duid> {
        self.options.iter().find_map(|o| if let DhcpOption::ServerId(duid) = o { Some(duid) } else { None })
    }

    /// The identity associations for addresses and for prefixes.
    pub(crate) fn associations(&self) -> impl Iterator<Item = (Kind, &Ia)> {
        self.options.iter().filter_map(|o| match o {
            DhcpOption::IaNa(ia) => Some((Kind::Address, ia)),
            DhcpOption::IaPd(ia) => Some((Kind::Prefix, ia)),
            _ => None,
        })
    }

    /// Whether the two-message exchange is wanted or confirmed.
    pub fn rapid_commit(&self) -> bool {
        self.options.contains(&DhcpOption::RapidCommit)
    }

    /// Whether the client's Option Request lists a code.
    pub fn requests(&self, code: u16) -> bool {
        self.options.iter().any(|o| matches!(o, DhcpOption::OptionRequest(codes) if codes.contains(&code)))
    }
}
