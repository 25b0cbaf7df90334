//! What a link tells its owner.

use crate::{AuthMethod, InterfaceId, Secret};
use std::net::Ipv4Addr;

/// Something that happened; drained with [`crate::Link::poll_event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer says who it is: answer with [`crate::Link::auth_result`].
    AuthRequest(AuthRequest),
    /// The peer answers in EAP: reply with [`crate::Link::eap_request`] or [`crate::Link::auth_result`].
    EapResponse(EapResponse),
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
    /// MS-CHAPv2; check with [`eap::mschap::Response::verify`], or hand it to RADIUS (MS-CHAP-Challenge,
    /// MS-CHAP2-Response).
    MsChapV2 {
        /// Identifier of the challenge.
        id: u8,
        /// What we sent.
        challenge: [u8; 16],
        /// What came back: peer challenge (16), reserved (8), NT-Response (24), flags (1).
        response: [u8; 49],
    },
}

/// One EAP Response of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EapResponse {
    /// The identity that it gave in the first one of the conversation; not verified, not necessarily text.
    pub identity: Vec<u8>,
    /// The whole packet, for RADIUS's EAP-Message. The first is a Response/Identity.
    pub packet: Vec<u8>,
    /// The link is already up: the authentication is renewed.
    pub renewed: bool,
}

/// The answer to an [`AuthRequest`], or to the last [`EapResponse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthVerdict {
    /// It is who it says it is.
    Accept(Reply),
    /// It is not, and the link is terminated.
    Reject(Reply),
}

/// What the peer is told with a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// For people: the message of PAP and CHAP.
    pub text: String,
    /// MS-CHAPv2's message, as in RADIUS's MS-CHAP2-Success and MS-CHAP-Error after their first octet. To accept,
    /// "S=<40 digits> M=<text>" must be here, or the peer is rejected: only who knows the password can make it. To
    /// reject, "E=691 R=0 ..." is made of [`Reply::text`] if it is not; a second try is not granted in any case.
    pub mschap: Option<String>,
    /// EAP's Success or Failure, as in RADIUS's EAP-Message. Made if it is not here or is not what the verdict says.
    pub eap: Option<Vec<u8>>,
}

impl<T: Into<String>> From<T> for Reply {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
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
