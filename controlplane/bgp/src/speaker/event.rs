//! What a speaker tells its driver.

use super::ConnId;
use crate::error::Fault;
use crate::message::{Family, Notification};
use crate::neighbour::{NeighbourId, TcpOptions};
use crate::rib::{RouteChange, Tracking};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Open a TCP connection; answer with [`connected`](super::Speaker::connected) or
    /// [`connect_failed`](super::Speaker::connect_failed).
    Connect(Connect),
    /// Send `last` after what was taken from [`poll_transmit`](super::Speaker::poll_transmit) before, then close the
    /// connection, or give up opening it. It is not known to the speaker any more.
    Close {
        /// The connection.
        conn: ConnId,
        /// Whole messages, a NOTIFICATION last; may be empty.
        last: Vec<u8>,
    },
    /// There is something to send, after there was nothing.
    Transmit {
        /// The connection.
        conn: ConnId,
    },
    /// A session is established.
    Up {
        /// With whom.
        neighbour: NeighbourId,
    },
    /// An established session has ended.
    Down {
        /// With whom.
        neighbour: NeighbourId,
        /// Why.
        reason: DownReason,
        /// Families whose routes are kept as stale, for the neighbour is expected back (RFC 4724).
        stale: BTreeSet<Family>,
    },
    /// The best paths to a prefix have changed.
    Route(RouteChange),
    /// The reachability of an address is wanted from now on, or is no more; answer with
    /// [`next_hop_changed`](super::Speaker::next_hop_changed).
    NextHop(Tracking),
    /// After our restart: all routes of a family are known again, and what was programmed before and not told since is
    /// out of date.
    Converged {
        /// The family.
        family: Family,
    },
    /// Something an operator should know.
    Warning {
        /// About whom.
        neighbour: NeighbourId,
        /// What.
        warning: Warning,
    },
}

/// A TCP connection to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// To whom.
    pub neighbour: NeighbourId,
    /// Its name from now on.
    pub conn: ConnId,
    /// Address to connect from, if it matters.
    pub local: Option<IpAddr>,
    /// Where to connect to.
    pub remote: SocketAddr,
    /// Options to set before.
    pub tcp: TcpOptions,
}

/// Why a session, or an attempt at one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// We ended it with this NOTIFICATION.
    Sent(Notification),
    /// The peer ended it with this NOTIFICATION.
    Received(Notification),
    /// The TCP connection failed, or was closed without a NOTIFICATION.
    Tcp,
    /// The peer has restarted and opened a new connection.
    Replaced,
    /// It ended without a word: the connection was no longer wanted, or nothing could be sent.
    Dropped,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(notification) => write!(f, "sent {notification}"),
            Self::Received(notification) => write!(f, "received {notification}"),
            Self::Tcp => f.write_str("connection failed"),
            Self::Replaced => f.write_str("peer has restarted"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// Something an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A connection ended with a NOTIFICATION before the session was established.
    Failed(DownReason),
    /// Close to the maximum of prefixes, or beyond it where that is allowed.
    Prefixes {
        /// Family.
        family: Family,
        /// Prefixes received and not rejected.
        count: usize,
        /// Maximum.
        limit: u32,
    },
    /// An UPDATE was not as it should be; RFC 7606 says what was made of it.
    Update(Vec<Fault>),
    /// The routes that were stale are deleted: they were not announced again in time.
    StaleDeleted(Family),
}

/// Why a connection that a peer opened is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No neighbour has the address, and no range either.
    #[error("not a neighbour")]
    Unknown,
    /// The connection is to another address than the neighbour's configuration says.
    #[error("to another address of ours")]
    LocalAddress,
    /// The neighbour is disabled, or held in Idle.
    #[error("idle")]
    Idle,
    /// There are two connections already.
    #[error("too many connections")]
    Connections,
    /// The range has as many neighbours as it may have.
    #[error("too many neighbours in the range")]
    RangeFull,
}
