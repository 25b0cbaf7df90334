//! What can go wrong, and whose fault it is: a message that is refused ([`Refused`], counted, nobody disturbed), a
//! tunnel that ends ([`DownReason`]), a request of our own side that cannot be met ([`ConnectError`]).

use std::fmt;

/// A datagram that is no control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than a header.
    #[error("shorter than a control message header")]
    Short,
    /// The T bit is clear.
    #[error("a data message")]
    NotControl,
    /// Not L2TPv2 (RFC 2661, section 3.1: silently discarded).
    #[error("version {0}")]
    Version(u8),
    /// L or S clear, or O set.
    #[error("flags {0:#06x}")]
    Flags(u16),
    /// Length does not fit the datagram.
    #[error("length {0} does not fit the datagram")]
    Length(u16),
}

macro_rules! refused {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a message was dropped. Each is counted, see [`Stats`](crate::Stats).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refused { $($(#[$doc])* $name,)* }

        impl Refused {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Name of the counter.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

refused! {
    /// No valid control message header.
    Header = "header",
    /// The tunnel exists, but not for the binding that carried the message (H23, H49).
    Binding = "binding",
    /// The tunnel's binding, but not its addresses and ports (H49, H51).
    Address = "address",
    /// No such tunnel.
    UnknownTunnel = "unknown_tunnel",
    /// No such session in the tunnel.
    UnknownSession = "unknown_session",
    /// Tunnel id 0 and neither SCCRQ nor StopCCN.
    NoTunnel = "no_tunnel",
    /// An SCCRQ, but we open tunnels only.
    NotAccepting = "not_accepting",
    /// An SCCRQ without a usable Assigned Tunnel ID: nobody to answer.
    NoAssignedTunnel = "no_assigned_tunnel",
    /// Too many half-open tunnels.
    HalfOpen = "half_open",
    /// Too many tunnels of this peer.
    PerPeer = "per_peer",
    /// No free ids.
    NoIds = "no_ids",
    /// No new tunnels are wanted.
    Draining = "draining",
    /// Number beyond the receive window.
    Window = "window",
    /// Of a kind that we do not know and may ignore.
    UnknownMessage = "unknown_message",
    /// An outgoing call (H13).
    OutgoingCall = "outgoing_call",
    /// A second session in a tunnel (RFC 5571, section 5.1).
    SecondSession = "second_session",
    /// A message of a tunnel that is closing.
    Closing = "closing",
}

/// Who ended a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer: StopCCN, or CDN for its only session.
    Peer,
    /// Our side asked for it.
    Local,
    /// The peer broke the protocol, or failed to prove the secret; we sent the codes.
    Refused,
    /// The peer does not answer.
    Timeout,
    /// The peer came back with a new tunnel.
    Replaced,
    /// The SAs that carried it are gone.
    BindingGone,
    /// Our ids were handed out but not used.
    Unused,
}

/// Why a tunnel, or a session, is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownReason {
    /// Who ended it.
    pub cause: Cause,
    /// Result Code as sent or received (RFC 2661, section 4.4.2); 0 when there was no message.
    pub result: u16,
    /// General Error Code, if any.
    pub error: Option<u16>,
    /// For people.
    pub message: String,
}

impl DownReason {
    /// A reason without a message on the wire.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, result: 0, error: None, message: message.into() }
    }

    /// We end it with this StopCCN result: 1 clears the tunnel, 6 shuts down.
    pub fn local(result: u16, message: impl Into<String>) -> Self {
        Self { cause: Cause::Local, result, error: None, message: message.into() }
    }

    pub(crate) fn refused(result: u16, error: Option<u16>, message: impl Into<String>) -> Self {
        Self { cause: Cause::Refused, result, error, message: message.into() }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)?;
        if self.result != 0 {
            write!(f, ", result {}", self.result)?;
        }
        if let Some(error) = self.error {
            write!(f, ", error {error}")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Why a tunnel cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The caller has no ids left, or those it gave are taken or zero.
    #[error("no free tunnel and session ids")]
    NoIds,
}

/// StopCCN result codes and general error codes (RFC 2661, section 4.4.2).
pub mod code {
    /// StopCCN: general request to clear the control connection.
    pub const STOP_CLEAR: u16 = 1;
    /// StopCCN and CDN: general error, the error code says which.
    pub const GENERAL_ERROR: u16 = 2;
    /// StopCCN: requester is not authorized.
    pub const STOP_NOT_AUTHORIZED: u16 = 4;
    /// StopCCN: protocol version not supported.
    pub const STOP_VERSION: u16 = 5;
    /// StopCCN: requester is being shut down.
    pub const STOP_SHUTDOWN: u16 = 6;
    /// StopCCN: finite state machine error.
    pub const STOP_FSM: u16 = 7;
    /// CDN: no facilities for the moment.
    pub const CDN_TEMPORARY: u16 = 4;
    /// CDN: no facilities ever.
    pub const CDN_PERMANENT: u16 = 5;
    /// Error: length is wrong.
    pub const ERROR_LENGTH: u16 = 2;
    /// Error: a value is out of range, or a reserved field is not zero.
    pub const ERROR_VALUE: u16 = 3;
    /// Error: insufficient resources.
    pub const ERROR_RESOURCES: u16 = 4;
    /// Error: vendor specific, the message says what.
    pub const ERROR_OTHER: u16 = 6;
    /// Error: another LNS should be tried.
    pub const ERROR_TRY_ANOTHER: u16 = 7;
    /// Error: unknown AVP with the M bit set.
    pub const ERROR_UNKNOWN_AVP: u16 = 8;
}
