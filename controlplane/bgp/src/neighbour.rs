//! What the operator decides about a neighbour, with the defaults of RFC 4271, section 10, and the later documents.

use crate::message::Family;
use crate::rib::Peering;
use crate::session::{MaxPrefix, MaxPrefixAction};
pub use crate::timer::Backoff;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Names a neighbour as long as it is configured, or connected out of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeighbourId(pub u32);

/// Which AS a neighbour may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAs {
    /// This one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

impl RemoteAs {
    /// Whether a peer of AS `asn` is meant, `local` being ours.
    pub const fn accepts(self, asn: u32, local: u32) -> bool {
        match self {
            Self::Exactly(wanted) => asn == wanted,
            Self::Internal => asn == local,
            Self::External => asn != local,
        }
    }

    /// Whether the neighbour is in our AS.
    pub const fn is_internal(self, local: u32) -> bool {
        match self {
            Self::Exactly(asn) => asn == local,
            Self::Internal => true,
            Self::External => false,
        }
    }
}

/// What is set on the sockets of a neighbour, by whoever owns them. Keys are named, not held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// GTSM (RFC 5082): the neighbour is at most this many hops away, 1 when it is directly connected. Packets are sent
    /// with a TTL of 255, and those that arrive with less than 256 minus hops are dropped.
    pub gtsm_hops: Option<u8>,
    /// TTL of what is sent, where GTSM does not say it.
    pub ttl: Option<u8>,
    /// Key of the TCP MD5 signature option (RFC 2385).
    pub md5_key: Option<String>,
    /// Key chain of TCP-AO (RFC 5925).
    pub ao_key_chain: Option<String>,
}

/// What a neighbour may do in a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyConfig {
    /// Without it there is no session: Unsupported Capability (RFC 5492, section 3).
    pub required: bool,
    /// Maximum of prefixes.
    pub max_prefix: Option<MaxPrefix>,
}

/// Graceful restart (RFC 4724).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// Help the neighbour to restart, but expect no help: no family is listed in the capability.
    pub helper_only: bool,
    /// Restart Time: seconds that our restart may take, at most 4095.
    pub restart_time: u16,
    /// How long stale routes are kept after the neighbour is back, without End-of-RIB.
    pub stale_time: Duration,
    /// N bit: a session that ends by NOTIFICATION is restarted gracefully, too (RFC 8538).
    pub notification: bool,
}

impl Default for GracefulRestart {
    fn default() -> Self {
        Self { helper_only: false, restart_time: 120, stale_time: Duration::from_secs(360), notification: true }
    }
}

/// Configuration of a neighbour's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourConfig {
    /// Its AS.
    pub remote_as: RemoteAs,
    /// Sessions are wanted.
    pub enabled: bool,
    /// TCP port that it listens on.
    pub port: u16,
    /// Our address, where it matters. Connections to another one are refused.
    pub local: Option<IpAddr>,
    /// Wait for the neighbour to connect.
    pub passive: bool,
    /// Options of its sockets.
    pub tcp: TcpOptions,
    /// Hold time that we propose, in seconds: 0, or at least 3.
    pub hold_time: u16,
    /// Shortest hold time that we accept, in seconds. A proposal of 0, which is no hold time at all, is accepted.
    pub min_hold_time: u16,
    /// ConnectRetryTime.
    pub connect_retry: Backoff,
    /// IdleHoldTime: how long a session that ended is not tried again.
    pub idle_hold: Backoff,
    /// DampPeerOscillations: IdleHoldTime grows with each session that fails.
    pub damp_peer_oscillations: bool,
    /// DelayOpenTime: how long to wait for the neighbour's OPEN before sending ours.
    pub delay_open: Option<Duration>,
    /// SendHoldTime (RFC 9687); when it is not given, 8 minutes or twice the hold time, whichever is more.
    pub send_hold: Option<Duration>,
    /// SendNOTIFICATIONwithoutOPEN.
    pub notification_without_open: bool,
    /// CollisionDetectEstablishedState: an established session, too, gives way to a new connection.
    pub collision_in_established: bool,
    /// Families that we offer.
    pub families: BTreeMap<Family, FamilyConfig>,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Messages of up to 65,535 octets (RFC 8654).
    pub extended_message: bool,
    /// An external neighbour must say its role if [`Peering::role`] is set (RFC 9234, section 4.2).
    pub strict_role: bool,
    /// Graceful restart; without it no capability is sent and no routes are kept.
    pub graceful_restart: Option<GracefulRestart>,
    /// Our link-local address, if the neighbour is on the same link (RFC 2545, section 2).
    pub link_local: Option<Ipv6Addr>,
    /// Tunnel egress endpoints out of special-purpose blocks are taken, as a laboratory needs (RFC 9012, section 3.1).
    pub martian_endpoints: bool,
    /// What is done with its routes, and with those that it is sent.
    pub peering: Peering,
}

impl NeighbourConfig {
    /// A neighbour of AS `remote_as` with both unicast families and everything else by default.
    pub fn new(remote_as: RemoteAs) -> Self {
        Self {
            remote_as,
            enabled: true,
            port: 179,
            local: None,
            passive: false,
            tcp: TcpOptions::default(),
            hold_time: 90,
            min_hold_time: 3,
            connect_retry: Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(120) },
            idle_hold: Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(120) },
            damp_peer_oscillations: true,
            delay_open: None,
            send_hold: None,
            notification_without_open: true,
            collision_in_established: false,
            families: Family::ALL.into_iter().map(|family| (family, FamilyConfig::default())).collect(),
            extended_next_hop: true,
            extended_message: true,
            strict_role: false,
            graceful_restart: Some(GracefulRestart::default()),
            link_local: None,
            martian_endpoints: false,
            peering: Peering::default(),
        }
    }

    /// When a session that was torn down for too many prefixes of `family` is tried again.
    pub(crate) fn restart_after_max_prefix(&self, family: Family) -> Option<Duration> {
        match self.families.get(&family)?.max_prefix?.action {
            MaxPrefixAction::Warn => None,
            MaxPrefixAction::TearDown { restart } => restart,
        }
    }

    /// Whether a change from `self` to `new` needs a new session to take effect.
    pub(crate) fn needs_new_session(&self, new: &Self) -> bool {
        let of_session = |config: &Self| {
            let mut config = config.clone();
            config.families.values_mut().for_each(|family| family.max_prefix = None);
            // Of the next connection, not of this one.
            (config.connect_retry, config.idle_hold) = (self.connect_retry, self.idle_hold);
            (config.passive, config.damp_peer_oscillations) = (self.passive, self.damp_peer_oscillations);
            config.enabled = self.enabled;
            config.peering = Peering { role: config.peering.role, ..Peering::default() };
            config
        };
        of_session(self) != of_session(new)
    }
}

/// Neighbours that are not configured one by one: whoever connects from a prefix (AcceptConnectionsUnconfiguredPeers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRange {
    /// Their addresses.
    pub prefix: IpNet,
    /// How each is treated; they are passive, whatever it says.
    pub neighbour: NeighbourConfig,
    /// How many there may be at a time.
    pub max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Role;

    #[test]
    fn which_as_is_accepted() {
        for (remote_as, asn, accepted) in [
            (RemoteAs::Exactly(65001), 65001, true),
            (RemoteAs::Exactly(65001), 65000, false),
            (RemoteAs::Internal, 65000, true),
            (RemoteAs::Internal, 65001, false),
            (RemoteAs::External, 65001, true),
            (RemoteAs::External, 65000, false),
        ] {
            assert_eq!(remote_as.accepts(asn, 65000), accepted, "{remote_as:?} {asn}");
        }
        assert!(RemoteAs::Exactly(65000).is_internal(65000) && !RemoteAs::Exactly(65001).is_internal(65000));
    }

    #[test]
    fn limits_retries_and_policies_change_without_a_new_session() {
        let old = NeighbourConfig::new(RemoteAs::Internal);
        let mut new = old.clone();
        let max = MaxPrefix { limit: 5, warn_percent: 80, action: MaxPrefixAction::Warn };
        new.families.insert(Family::Ipv4Unicast, FamilyConfig { required: false, max_prefix: Some(max) });
        new.idle_hold.max = Duration::from_secs(7);
        new.peering.client = true;
        assert!(!old.needs_new_session(&new));
        let changes: [fn(&mut NeighbourConfig); 6] = [
            |c| c.hold_time = 30,
            |c| c.remote_as = RemoteAs::External,
            |c| c.tcp.md5_key = Some("core".into()),
            |c| c.families.retain(|family, _| *family == Family::Ipv4Unicast),
            |c| c.graceful_restart = None,
            |c| c.peering.role = Some(Role::Peer),
        ];
        for change in changes {
            let mut new = old.clone();
            change(&mut new);
            assert!(old.needs_new_session(&new));
        }
    }
}
