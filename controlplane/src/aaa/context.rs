//! What RADIUS is told of a session: which NAS and port, from where, through which tunnel, as whom in IKE.

use dataplane_api::IpPrefix;
use radius::AttributeList;
use radius::attribute::*;
use radius::vendor;
use std::net::{IpAddr, SocketAddr};

/// NAS-Port-Type Virtual, Framed-Protocol PPP (RFC 2865).
const VIRTUAL: u32 = 5;
const PPP: u32 = 1;
/// Tunnel-Type L2TP, and the Tunnel-Medium-Types (RFC 2868).
const L2TP: u32 = 3;
const IPV4: u32 = 1;
const IPV6: u32 = 2;

/// Us, towards RADIUS.
#[derive(Clone, Debug)]
pub struct Nas {
    /// NAS-Identifier.
    pub identifier: String,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub address: Option<IpAddr>,
}

impl Nas {
    /// Puts who we are.
    pub fn put(&self, list: &mut AttributeList) {
        list.text(NAS_IDENTIFIER, &self.identifier);
        match self.address {
            Some(IpAddr::V4(a)) => drop(list.ipv4(NAS_IP_ADDRESS, a)),
            Some(IpAddr::V6(a)) => drop(list.ipv6(NAS_IPV6_ADDRESS, a)),
            None => {}
        }
    }
}

/// A session, or a peer of IKE on its way to one.
#[derive(Clone, Debug)]
pub struct Context {
    /// Acct-Session-Id, the same in authentication and accounting; EAP in IKE comes before the session and has one of its own.
    pub session: String,
    /// Acct-Multi-Session-Id: shared by what belongs together.
    pub multi: Option<String>,
    /// NAS-Port.
    pub port: u32,
    /// The listener (NAS-Port-Id).
    pub listener: String,
    /// Our end outside the tunnel (Called-Station-Id).
    pub local: SocketAddr,
    /// The subscriber's end (Calling-Station-Id).
    pub outer: SocketAddr,
    /// The identity that IKE authenticated.
    pub ike_id: Option<String>,
    /// It is an L2TP session with PPP, rather than EAP in IKE.
    pub ppp: bool,
}

impl Context {
    /// Puts all of it.
    pub fn put(&self, list: &mut AttributeList) {
        list.u32(NAS_PORT, self.port).u32(NAS_PORT_TYPE, VIRTUAL).text(NAS_PORT_ID, &self.listener);
        list.text(CALLED_STATION_ID, &self.local.ip().to_string());
        list.text(CALLING_STATION_ID, &self.outer.ip().to_string());
        list.text(ACCT_SESSION_ID, &self.session);
        if let Some(multi) = &self.multi {
            list.text(ACCT_MULTI_SESSION_ID, multi);
        }
        if self.ppp {
            let medium = if self.outer.is_ipv4() { IPV4 } else { IPV6 };
            list.u32(FRAMED_PROTOCOL, PPP);
            list.tagged_u32(TUNNEL_TYPE, 0, L2TP).tagged_u32(TUNNEL_MEDIUM_TYPE, 0, medium);
            list.tagged_text(TUNNEL_CLIENT_ENDPOINT, 0, &self.outer.ip().to_string());
            list.tagged_text(TUNNEL_SERVER_ENDPOINT, 0, &self.local.ip().to_string());
            list.text(ACCT_TUNNEL_CONNECTION, &self.session);
        }
        if let Some(id) = &self.ike_id {
            list.text(vendor::IKE_IDENTITY, id.get(..200).unwrap_or(id));
        }
        list.text(vendor::OUTER_ADDRESS, &self.outer.to_string());
    }
}

/// Puts an inner address or prefix, as `kind` where it is of IPv6.
pub fn put_prefix(list: &mut AttributeList, kind: Kind, p: IpPrefix) {
    match p.address() {
        IpAddr::V4(a) => drop(list.ipv4(FRAMED_IP_ADDRESS, a)),
        IpAddr::V6(a) if kind == FRAMED_IPV6_ADDRESS => drop(list.ipv6(kind, a)),
        IpAddr::V6(a) => drop(list.ipv6_prefix(kind, a, p.len())),
    }
}
