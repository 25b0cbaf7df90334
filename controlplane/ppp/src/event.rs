//! What a link tells its owner.

use crate::{AuthMethod, InterfaceId, Secret};
use std::net::Ipv4Addr;

/// Something that happened; drained with [`crate::Link::poll_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer says who it is: answer with [`crate::Link::auth_result`].
    AuthRequest(AuthRequest),
    /// The peer has accepted our credentials.
    Authenticated,
    /// LCP is open and authentication is through, both ways: answer with [`crate::Link::start_network`]. Comes again
    /// if the peer renegotiates LCP, in which case everything starts over, authentication included.
    LinkUp {
        /// What the peer can receive.
        peer_mru: u16,
        /// The MTU of the link: the lesser of that and [`crate::Config::mru`].
        mtu: u16,
        /// The peer accepts compressed protocol fields.
        pfc: bool,
        /// The peer accepts frames without address and control fields.
        acfc: bool,
        /// How the peer was authenticated.
        auth: Option<AuthMethod>,
    },
    /// IPCP is open.
    Ipv4Up {
        /// Our address; unspecified if we have none.
        local: Ipv4Addr,
        /// The peer's, if it has one.
        peer: Option<Ipv4Addr>,
        /// DNS servers that we asked for and got.
        dns: Vec<Ipv4Addr>,
    },
    /// IPV6CP is open.
    Ipv6Up {
        /// Our interface identifier.
        local_iid: InterfaceId,
        /// The peer's.
        peer_iid: InterfaceId,
    },
    /// IPCP is no longer open.
    Ipv4Down,
    /// IPV6CP is no longer open.
    Ipv6Down,
    /// The link is over. Nothing follows.
    Down(DownReason),
}

/// An authentication attempt of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// The name it gives; not verified, not necessarily text.
    pub name: Vec<u8>,
    /// What is to be checked.
    pub proof: Proof,
    /// The link is already up: this answers a challenge that was repeated.
    pub renewed: bool,
}

/// What proves the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// PAP.
    Pap {
        /// In clear.
        password: Secret,
    },
    /// CHAP with MD5; check with [`crate::chap::verify`], or hand it to RADIUS (CHAP-Password, CHAP-Challenge).
    ChapMd5 {
        /// Identifier of the challenge.
        id: u8,
        /// What we sent.
        challenge: Vec<u8>,
        /// What came back.
        response: [u8; 16],
    },
}

/// The answer to an [`AuthRequest`]; the text goes to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthVerdict {
    /// It is who it says it is.
    Accept(String),
    /// It is not, and the link is terminated.
    Reject(String),
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// [`crate::Link::close`] was called.
    #[error("closed by us")]
    Closed,
    /// Terminate-Request from the peer.
    #[error("terminated by the peer")]
    PeerTerminated,
    /// LCP got no answer, or did not converge.
    #[error("LCP was not answered")]
    Timeout,
    /// The peer rejected LCP itself or the authentication protocol, or a code that nothing works without.
    #[error("protocol or code rejected by the peer")]
    Rejected,
    /// The peer refuses every authentication protocol that we demand.
    #[error("the peer refuses to be authenticated")]
    AuthRefused,
    /// The peer did not accept our credentials; its message.
    #[error("our credentials were not accepted: {0}")]
    AuthFailed(String),
    /// We did not accept the peer's.
    #[error("the peer's credentials were not accepted")]
    AuthRejected,
    /// Authentication got no answer.
    #[error("authentication was not answered")]
    AuthTimeout,
    /// The link is looped back to us (RFC 1661, section 6.4).
    #[error("the link is looped back")]
    Loopback,
    /// Too many LCP Echo-Requests without a reply.
    #[error("the peer no longer answers LCP Echo-Requests")]
    EchoTimeout,
    /// No network protocol could be opened, or the last one was closed.
    #[error("no network protocol")]
    NoNetwork,
}
