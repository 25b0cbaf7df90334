//! What the management plane sees of RADIUS.

use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use utoipa::ToSchema;

/// RADIUS: servers, accounting, dynamic authorization.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RadiusInfo {
    /// Servers, once for each purpose.
    pub servers: Vec<RadiusServerInfo>,
    /// Subscribers that wait for an answer.
    pub waiting: usize,
    /// Accounting records that no server has taken yet.
    pub records_pending: usize,
    /// Accounting records that were taken.
    pub records_taken: u64,
    /// Requests of dynamic authorization that were dropped, by reason.
    pub dynamic_discards: BTreeMap<String, u64>,
}

/// A RADIUS server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RadiusServerInfo {
    /// Its name.
    pub name: String,
    /// `authentication` or `accounting`.
    pub purpose: &'static str,
    /// Address and port.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'static str,
    /// Lower is asked first.
    pub priority: u8,
    /// It answers.
    pub alive: bool,
    /// Requests that wait for its answer.
    pub in_flight: usize,
    /// Sockets to it.
    pub links: usize,
    /// What was sent, received and dropped.
    pub counters: BTreeMap<String, u64>,
}
