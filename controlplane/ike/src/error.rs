//! Errors, named after whose fault they are.

use crate::payload::PayloadType;
use crate::payload::notify::NotifyType;
use thiserror::Error;

/// The octets do not follow the format. The text says what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub &'static str);

/// Why a message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A payload we do not know has its critical bit set (RFC 7296, section 2.5).
    #[error("unsupported critical payload {}", .0.0)]
    UnsupportedCritical(PayloadType),
    /// Another major version (section 2.5).
    #[error("major version {0}")]
    MajorVersion(u8),
}

/// Why an IKE SA could not be set up or was lost; carried by events.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// No acceptable proposal on either side.
    #[error("no proposal chosen")]
    NoProposal,
    /// The peer's identity is not in the PAD.
    #[error("unknown identity")]
    UnknownIdentity,
    /// A credential was wrong; the text never holds a secret.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// The peer refused our authentication.
    #[error("the peer refused our authentication")]
    RefusedByPeer,
    /// The peer answered with this error notification.
    #[error("the peer answered with error {}", .0.0)]
    Notified(NotifyType),
    /// The peer sent something that breaks the protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// No answer to an exchange.
    #[error("no answer")]
    Timeout,
    /// The child SA could not be negotiated.
    #[error("traffic selectors unacceptable")]
    TrafficSelectors,
    /// Key exchange or key derivation failed.
    #[error("cryptography: {0}")]
    Crypto(&'static str),
    /// We ran out of something, for example inbound SPIs.
    #[error("resources exhausted: {0}")]
    Resources(&'static str),
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Self {
        Self::Protocol(error.0)
    }
}

/// Why the configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{entry}: {reason}")]
pub struct ConfigError {
    /// Name of the PAD entry.
    pub entry: String,
    /// What is wrong, with the requirement where there is one.
    pub reason: String,
}

/// Why a call on the endpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// No PAD entry has that name.
    #[error("no such PAD entry")]
    UnknownPad,
    /// No such peer, or it is not established.
    #[error("no such peer")]
    UnknownPeer,
    /// No such child SA.
    #[error("no such child SA")]
    UnknownChild,
    /// No such EAP conversation, or it is the peer's turn in it.
    #[error("no EAP conversation waits for this")]
    UnknownEap,
    /// Not an EAP packet of the right code, or too long.
    #[error("not the EAP packet that belongs here")]
    EapPacket,
    /// MOBIKE is not agreed on with the peer, or it is the one that moves.
    #[error("MOBIKE is not agreed on")]
    NoMobike,
    /// Random numbers, key generation or an SPI could not be had.
    #[error("resources exhausted")]
    Resources,
}
