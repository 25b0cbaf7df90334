use super::*;
use crate::neighbour::{FamilyConfig, GracefulRestart, RemoteAs};

const LOCAL: Local = Local { asn: 65000, router_id: Ipv4Addr::new(10, 0, 0, 1), restarting: false, preserved: true };

fn config(remote_as: u32) -> NeighbourConfig {
    NeighbourConfig::new(RemoteAs::Exactly(remote_as))
}

/// The OPEN of a like-minded peer.
fn peer(asn: u32) -> Open {
    let local = Local { asn, router_id: Ipv4Addr::new(10, 0, 0, 2), ..LOCAL };
    build(&local, &config(65000))
}

fn agree(config: &NeighbourConfig, change: impl FnOnce(&mut Open)) -> Result<Agreed, Notification> {
    let mut theirs = match config.remote_as {
        RemoteAs::Exactly(asn) => peer(asn),
        RemoteAs::Internal | RemoteAs::External => peer(65000),
    };
    change(&mut theirs);
    check(&build(&LOCAL, config), &theirs, config)
}

fn without(open: &mut Open, unwanted: impl Fn(&Capability) -> bool) {
    open.capabilities.retain(|c| !unwanted(c));
}

#[test]
fn our_open_says_what_is_configured() {
    let open = build(&LOCAL, &config(65001));
    let restart = Capability::GracefulRestart {
        restarting: false,
        notification: true,
        time: 120,
        families: vec![(Family::Ipv4Unicast, true), (Family::Ipv6Unicast, true)],
    };
    assert_eq!((open.asn, open.hold_time, open.router_id), (65000, 90, Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(
        open.capabilities,
        [
            Capability::MultiProtocol(Family::Ipv4Unicast),
            Capability::MultiProtocol(Family::Ipv6Unicast),
            Capability::ExtendedNextHop(vec![(Family::Ipv4Unicast, 2)]),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
            restart,
            Capability::FourOctetAs(65000),
        ]
    );

    let mut plain = config(65001);
    plain.families = [(Family::Ipv6Unicast, FamilyConfig::default())].into();
    (plain.extended_message, plain.graceful_restart, plain.peering.role) = (false, None, Some(Role::Customer));
    assert_eq!(
        build(&LOCAL, &plain).capabilities,
        [
            Capability::MultiProtocol(Family::Ipv6Unicast),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::Role(Role::Customer),
            Capability::FourOctetAs(65000),
        ]
    );
}

#[test]
fn roles_are_for_external_neighbours() {
    let has_role = |remote_as| {
        let mut config = NeighbourConfig::new(remote_as);
        config.peering.role = Some(Role::Peer);
        build(&LOCAL, &config).capabilities.contains(&Capability::Role(Role::Peer))
    };
    assert!(has_role(RemoteAs::Exactly(65001)) && has_role(RemoteAs::External));
    assert!(!has_role(RemoteAs::Exactly(65000)) && !has_role(RemoteAs::Internal));
}

#[test]
fn a_helper_lists_no_families_and_a_restarted_speaker_says_so() {
    let mut config = config(65000);
    config.graceful_restart =
        Some(GracefulRestart { helper_only: true, restart_time: 5000, ..GracefulRestart::default() });
    let local = Local { restarting: true, ..LOCAL };
    let restart =
        Capability::GracefulRestart { restarting: true, notification: true, time: 4095, families: Vec::new() };
    assert!(build(&local, &config).capabilities.contains(&restart));
}

#[test]
fn like_minded_speakers_agree() {
    let agreed = agree(&config(65001), |_| {}).unwrap();
    assert_eq!(agreed.router_id, Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!(agreed.hold, Some(Duration::from_secs(90)));
    assert!(agreed.negotiated.four_octet_as && agreed.negotiated.extended_message);
    assert_eq!(agreed.negotiated.extended_next_hop, [(Family::Ipv4Unicast, 2)].into());
    assert_eq!(agreed.restart.unwrap().families.len(), 2);
}

#[test]
fn the_as_must_be_the_configured_one() {
    assert_eq!(agree(&config(65001), |o| o.asn = 65002).unwrap_err(), Notification::bad_peer_as());
    let internal = NeighbourConfig::new(RemoteAs::Internal);
    assert!(agree(&internal, |_| {}).is_ok());
    assert_eq!(agree(&internal, |o| o.asn = 65002).unwrap_err(), Notification::bad_peer_as());
    let external = NeighbourConfig::new(RemoteAs::External);
    assert!(agree(&external, |o| o.asn = 70_000).is_ok());
    assert_eq!(agree(&external, |_| {}).unwrap_err(), Notification::bad_peer_as());
}

/// RFC 6286, section 2.2: within the AS identifiers differ, between ASes they need not.
#[test]
fn our_own_identifier_within_the_as_is_refused() {
    let ours = |o: &mut Open| o.router_id = LOCAL.router_id;
    assert_eq!(agree(&config(65000), ours).unwrap_err(), Notification::bad_bgp_identifier());
    assert!(agree(&config(65001), ours).is_ok());
}

#[test]
fn the_smaller_hold_time_counts_and_too_small_a_one_is_refused() {
    let mut config = config(65001);
    config.min_hold_time = 20;
    let hold = |seconds| agree(&config, |o| o.hold_time = seconds).map(|a| a.hold.map(|hold| hold.as_secs()));
    assert_eq!(hold(30), Ok(Some(30)));
    assert_eq!(hold(20), Ok(Some(20)));
    assert_eq!(hold(180), Ok(Some(90)));
    assert_eq!(hold(0), Ok(None));
    assert_eq!(hold(19), Err(Notification::unacceptable_hold_time()));
}

#[test]
fn families_that_are_missed_are_named() {
    let no_v6 = |o: &mut Open| without(o, |c| *c == Capability::MultiProtocol(Family::Ipv6Unicast));
    let mut config = config(65001);
    assert_eq!(agree(&config, no_v6).unwrap().negotiated.families, [Family::Ipv4Unicast].into());
    config.families.insert(Family::Ipv6Unicast, FamilyConfig { required: true, max_prefix: None });
    let missed = Notification::unsupported_capability(vec![1, 4, 0, 2, 0, 1]);
    assert_eq!(agree(&config, no_v6).unwrap_err(), missed);
    assert!(agree(&config, |_| {}).is_ok());

    config.families = [(Family::Ipv6Unicast, FamilyConfig::default())].into();
    assert_eq!(agree(&config, no_v6).unwrap_err(), missed);
}

#[test]
fn a_peer_without_any_capability_speaks_ipv4_with_two_octets() {
    let agreed = agree(&config(65001), |o| o.capabilities.clear()).unwrap();
    assert_eq!(agreed.negotiated.families, [Family::Ipv4Unicast].into());
    assert!(!agreed.negotiated.four_octet_as && agreed.restart.is_none());
}

#[test]
fn roles_must_correspond_and_be_there_if_they_must() {
    let mut config = config(65001);
    config.peering.role = Some(Role::Provider);
    let say = |role| move |o: &mut Open| o.capabilities.push(Capability::Role(role));
    assert_eq!(agree(&config, say(Role::Customer)).unwrap().peer_role, Some(Role::Customer));
    assert_eq!(agree(&config, say(Role::Peer)).unwrap_err(), Notification::role_mismatch());
    assert!(agree(&config, |_| {}).is_ok());
    config.strict_role = true;
    assert_eq!(agree(&config, |_| {}).unwrap_err(), Notification::role_mismatch());
    assert!(agree(&config, say(Role::Customer)).is_ok());
}

#[test]
fn of_two_restart_capabilities_the_last_counts_with_families_of_the_session() {
    let mut only_v4 = config(65001);
    only_v4.families.remove(&Family::Ipv6Unicast);
    let second = Capability::GracefulRestart {
        restarting: true,
        notification: false,
        time: 7,
        families: vec![(Family::Ipv4Unicast, false), (Family::Ipv6Unicast, true)],
    };
    let restart = agree(&only_v4, |o| o.capabilities.push(second.clone())).unwrap().restart.unwrap();
    let expected = PeerRestart {
        restarting: true,
        notification: false,
        time: Duration::from_secs(7),
        families: [(Family::Ipv4Unicast, false)].into(),
    };
    assert_eq!(restart, expected);
    only_v4.graceful_restart = None;
    assert!(agree(&only_v4, |_| {}).unwrap().restart.is_none());
}
