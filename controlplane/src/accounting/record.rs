//! What a record says (RFC 2866, 2867, 2869).

use crate::aaa::context::{Nas, put_prefix};
use crate::aaa::{Context, FRAMED, Profile};
use crate::northbound::TrafficInfo;
use dataplane_api::IpPrefix;
use radius::AttributeList;
use radius::attribute::*;
use radius::vendor;
use std::time::Duration;

/// Acct-Status-Type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// A session has begun.
    Start = 1,
    /// It is over.
    Stop = 2,
    /// It goes on.
    Interim = 3,
    /// The NAS has started.
    On = 7,
    /// The NAS is going down.
    Off = 8,
    /// A tunnel is up (RFC 2867).
    TunnelStart = 9,
    /// It is down.
    TunnelStop = 10,
}

/// Acct-Terminate-Cause (RFC 2866, section 5.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Cause {
    /// The subscriber hung up.
    UserRequest = 1,
    /// It does not answer any more.
    LostCarrier = 2,
    /// Idle-Timeout.
    IdleTimeout = 4,
    /// Session-Timeout.
    SessionTimeout = 5,
    /// The operator, or a Disconnect-Request.
    AdminReset = 6,
    /// The gateway goes down in order.
    AdminReboot = 7,
    /// An error of the link or of the peer.
    NasError = 9,
    /// It was disconnected by us for a reason of ours.
    NasRequest = 10,
    /// The gateway ended without a word.
    NasReboot = 11,
    /// The subscriber is back with another session.
    PortPreempted = 13,
    /// It did not authenticate again.
    UserError = 17,
}

/// A session as its records tell of it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The user's name.
    pub user: &'a str,
    /// Its path.
    pub context: &'a Context,
    /// What AAA gave it.
    pub profile: &'a Profile,
    /// RADIUS authenticated it, rather than the embedded file.
    pub radius: bool,
    /// Inner IPv4 address.
    pub ipv4: Option<IpPrefix>,
    /// The link's prefix.
    pub ipv6: Option<IpPrefix>,
    /// The delegated prefix.
    pub delegated: Option<IpPrefix>,
    /// The address given by DHCPv6.
    pub address: Option<IpPrefix>,
    /// The subscriber's interface identifier.
    pub interface_id: Option<[u8; 8]>,
    /// What it has used.
    pub traffic: TrafficInfo,
    /// How long it has stood.
    pub lasted: Duration,
}

/// The attributes of a record, all but Acct-Status-Type, Acct-Terminate-Cause and Event-Timestamp.
pub fn attributes(nas: &Nas, s: &Subject<'_>) -> AttributeList {
    let mut list = AttributeList::new();
    list.text(USER_NAME, s.profile.user.as_deref().unwrap_or(s.user));
    nas.put(&mut list);
    s.context.put(&mut list);
    list.u32(SERVICE_TYPE, FRAMED).u32(ACCT_AUTHENTIC, if s.radius { 1 } else { 2 });
    for class in &s.profile.class {
        list.octets(CLASS, class);
    }
    if let Some(cui) = &s.profile.cui {
        list.octets(CHARGEABLE_USER_IDENTITY, cui);
    }
    let addresses = [
        (FRAMED_IP_ADDRESS, s.ipv4),
        (FRAMED_IPV6_PREFIX, s.ipv6),
        (DELEGATED_IPV6_PREFIX, s.delegated),
        (FRAMED_IPV6_ADDRESS, s.address),
    ];
    for (kind, prefix) in addresses {
        if let Some(prefix) = prefix {
            put_prefix(&mut list, kind, prefix);
        }
    }
    if let Some(id) = s.interface_id {
        list.interface_id(FRAMED_INTERFACE_ID, id);
    }
    let softwire = match (s.ipv4.is_some(), s.ipv6.is_some(), s.context.outer.is_ipv4()) {
        (true, true, true) => vendor::SoftwireType::DualOverIpv4,
        (true, true, false) => vendor::SoftwireType::DualOverIpv6,
        (true, false, true) => vendor::SoftwireType::Ipv4OverIpv4,
        (true, false, false) => vendor::SoftwireType::Ipv4OverIpv6,
        (false, _, true) => vendor::SoftwireType::Ipv6OverIpv4,
        (false, _, false) => vendor::SoftwireType::Ipv6OverIpv6,
    };
    list.u32(vendor::SOFTWIRE_TYPE, softwire as u32);
    usage(&mut list, &s.traffic, s.lasted);
    list
}

fn usage(list: &mut AttributeList, t: &TrafficInfo, lasted: Duration) {
    let input = t.in_v4_octets + t.in_v6_octets;
    let output = t.out_v4_octets + t.out_v6_octets;
    let (low, high) = (|n: u64| n as u32, |n: u64| (n >> 32) as u32);
    list.u32(ACCT_SESSION_TIME, u32::try_from(lasted.as_secs()).unwrap_or(u32::MAX));
    list.u32(ACCT_INPUT_OCTETS, low(input)).u32(ACCT_INPUT_GIGAWORDS, high(input));
    list.u32(ACCT_OUTPUT_OCTETS, low(output)).u32(ACCT_OUTPUT_GIGAWORDS, high(output));
    list.u32(ACCT_INPUT_PACKETS, low(t.in_v4_packets + t.in_v6_packets));
    list.u32(ACCT_OUTPUT_PACKETS, low(t.out_v4_packets + t.out_v6_packets));
    list.u64(vendor::INPUT_OCTETS_IPV4, t.in_v4_octets).u64(vendor::OUTPUT_OCTETS_IPV4, t.out_v4_octets);
    list.u64(vendor::INPUT_OCTETS_IPV6, t.in_v6_octets).u64(vendor::OUTPUT_OCTETS_IPV6, t.out_v6_octets);
    list.u64(vendor::INPUT_PACKETS_IPV4, t.in_v4_packets).u64(vendor::OUTPUT_PACKETS_IPV4, t.out_v4_packets);
    list.u64(vendor::INPUT_PACKETS_IPV6, t.in_v6_packets).u64(vendor::OUTPUT_PACKETS_IPV6, t.out_v6_packets);
}

/// A whole record.
pub fn record(status: Status, cause: Option<Cause>, at: u32, about: &AttributeList) -> AttributeList {
    let mut list = AttributeList::new();
    list.u32(ACCT_STATUS_TYPE, status as u32).u32(EVENT_TIMESTAMP, at);
    if let Some(cause) = cause {
        list.u32(ACCT_TERMINATE_CAUSE, cause as u32);
    }
    list.append(about);
    list
}
