//! What operators see of a neighbour.

use super::event::DownReason;
use super::peer::Stop;
use crate::fsm::State;
use crate::message::{Family, Negotiated, Role};
use crate::neighbour::{NeighbourConfig, NeighbourId};
use crate::session::{Messages, PeerRestart};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// A neighbour at this moment. Its routes are in [`Speaker::rib`](super::Speaker::rib).
#[derive(Clone, Copy, Debug)]
pub struct NeighbourView<'a> {
    /// Its name.
    pub id: NeighbourId,
    /// Its address.
    pub address: IpAddr,
    /// Its configuration.
    pub config: &'a NeighbourConfig,
    /// The range that it came out of, if it is not configured by itself.
    pub range: Option<IpNet>,
    /// State of its session, the further one if there are two connections.
    pub state: State,
    /// Why it is not started, if so.
    pub stop: Option<Stop>,
    /// Since when the session is established.
    pub since: Option<Instant>,
    /// What the established session has agreed on.
    pub negotiated: Option<&'a Negotiated>,
    /// Its BGP Identifier, while the session is established.
    pub router_id: Option<Ipv4Addr>,
    /// The role that it says it has (RFC 9234).
    pub peer_role: Option<Role>,
    /// Its Graceful Restart Capability.
    pub peer_restart: Option<&'a PeerRestart>,
    /// Families with routes that are kept while it restarts.
    pub stale: &'a BTreeSet<Family>,
    /// How often a session was established.
    pub established: u64,
    /// ConnectRetryCounter.
    pub retries: u32,
    /// Messages sent.
    pub sent: Messages,
    /// Messages received.
    pub received: Messages,
    /// When and why the last session, or the last attempt, ended.
    pub last_down: Option<(Instant, &'a DownReason)>,
}
