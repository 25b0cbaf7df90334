//! Encoding, and RFC 7606 by its sections.

use super::super::{MAX_EXTENDED_LEN, Message, decode as decode_message, frame};
use super::*;
use crate::attribute::{
    Aggregator, AsPath, Community, ExtendedCommunity, LargeCommunity, NextHop, Origin, PARTIAL, RawAttribute,
};
use crate::tunnel::TunnelEncap;
use hex_literal::hex;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const ORIGIN_IGP: &[u8] = &hex!("40 01 01 00");
const PATH: &[u8] = &hex!("40 02 06 02 01 0000fde9");
const HOP: &[u8] = &hex!("40 03 04 0a000001");
const NLRI: &[u8] = &hex!("10 0a01");
const MP_REACH: &[u8] = &hex!("80 0e 1a 0002 01 10 2a000000000000000000000000000001 00 20 20010db8");

fn ebgp() -> Negotiated {
    let families = Family::ALL.into();
    Negotiated { local_as: 65000, peer_as: 65001, four_octet_as: true, families, ..Negotiated::default() }
}

fn ibgp() -> Negotiated {
    let extended_next_hop = [(Family::Ipv4Unicast, 2)].into();
    Negotiated { ibgp: true, peer_as: 65000, extended_next_hop, ..ebgp() }
}

fn body(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    fields(withdrawn, &attributes.concat(), nlri, &mut out);
    out
}

fn read(attributes: &[&[u8]], nlri: &[u8], n: &Negotiated) -> Result<Update, Notification> {
    Update::decode(&body(&[], attributes, nlri), n)
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// An announcement of 10.1.0.0/16 with one more attribute.
fn with(attribute: &[u8], n: &Negotiated) -> Update {
    read(&[ORIGIN_IGP, PATH, HOP, attribute], NLRI, n).unwrap()
}

fn fault(attribute: u8, action: Action, reason: Reason) -> Fault {
    Fault { attribute, action, reason }
}

#[track_caller]
fn withdraws(update: &Update, attribute: u8, reason: Reason) {
    assert_eq!(update.faults, [fault(attribute, Action::TreatAsWithdraw, reason)]);
    assert_eq!((&update.withdrawn[..], update.announced.len()), (&[net("10.1.0.0/16")][..], 0));
}

#[track_caller]
fn discards(update: &Update, attribute: u8, reason: Reason) -> Arc<Attributes> {
    assert_eq!(update.faults, [fault(attribute, Action::AttributeDiscard, reason)]);
    assert_eq!((update.withdrawn.len(), update.announced.len()), (0, 1));
    Arc::clone(&update.announced[0].attributes)
}

fn encode(update: Update, n: &Negotiated) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    Message::Update(update).encode(n, &mut out);
    let mut messages = Vec::new();
    while let Some(length) = frame(&out, n.max_message()).unwrap() {
        messages.push(out.drain(..length).collect());
    }
    assert!(out.is_empty());
    messages
}

fn decode_all(messages: &[Vec<u8>], n: &Negotiated) -> Vec<Update> {
    let update = |bytes: &Vec<u8>| match decode_message(bytes, n) {
        Ok(Message::Update(update)) => update,
        other => panic!("{other:?}"),
    };
    messages.iter().map(update).collect()
}

fn plain() -> Attributes {
    let mut attributes = Attributes::new(IpAddr::from([10, 0, 0, 1]).into());
    attributes.as_path = AsPath::sequence([65001]);
    attributes
}

fn full() -> Attributes {
    let tunnels = hex!("0007 0018 06 16 00000000 0002 2a000000000000000000000000000001");
    Attributes {
        origin: Origin::Incomplete,
        as_path: AsPath::sequence([65001, 4_200_000_000]),
        med: Some(10),
        local_pref: Some(200),
        atomic_aggregate: true,
        aggregator: Some(Aggregator { asn: 4_200_000_000, router_id: Ipv4Addr::new(10, 0, 0, 9) }),
        communities: vec![Community::NO_EXPORT, Community(1)],
        originator_id: Some(Ipv4Addr::new(10, 0, 0, 7)),
        cluster_list: vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(2, 2, 2, 2)],
        extended_communities: vec![ExtendedCommunity::from_color(7)],
        tunnel_encap: Some(TunnelEncap::decode(&tunnels, false).unwrap()),
        large_communities: vec![LargeCommunity { global: 1, local1: 2, local2: 3 }],
        only_to_customer: Some(65001),
        unknown: vec![RawAttribute { flags: 0xe0, code: 99, value: vec![7; 300] }],
        partial: 1 << 16,
        ..plain()
    }
}

fn announcement(attributes: Attributes, prefixes: &[&str]) -> Update {
    let prefixes = prefixes.iter().map(|p| net(p)).collect();
    Update { announced: vec![Announcement { attributes: Arc::new(attributes), prefixes }], ..Update::default() }
}

#[test]
fn a_plain_update_has_its_bytes() {
    let messages = encode(announcement(plain(), &["10.1.0.0/16"]), &ebgp());
    let golden = hex!(
        "ffffffffffffffffffffffffffffffff 002e 02 0000 0014"
        "40 01 01 00  40 02 06 02 01 0000fde9  40 03 04 0a000001  10 0a01"
    );
    assert_eq!(messages, [golden.to_vec()]);
    assert_eq!(decode_all(&messages, &ebgp()), [announcement(plain(), &["10.1.0.0/16"])]);
}

#[test]
fn every_attribute_round_trips() {
    let update = announcement(full(), &["10.1.0.0/16", "10.2.0.0/16"]);
    assert_eq!(decode_all(&encode(update.clone(), &ibgp()), &ibgp()), [update]);
}

#[test]
fn ipv4_with_an_ipv6_next_hop_is_in_mp_reach() {
    let v6 = "2a00::1".parse().unwrap();
    let attributes = Attributes { next_hop: NextHop { address: v6, link_local: None }, ..plain() };
    let update = announcement(attributes, &["10.1.0.0/16"]);
    let messages = encode(update.clone(), &ibgp());
    let mp = hex!("90 0e 0018 0001 01 10 2a000000000000000000000000000001 00 10 0a01");
    assert_eq!(messages[0][23..51], mp);
    assert_eq!(decode_all(&messages, &ibgp()), [update]);
    // without the capability the route is not taken
    let refused = &decode_all(&messages, &ebgp())[0];
    withdraws(refused, MP_REACH_NLRI, Reason::Unexpected);
}

#[test]
fn ipv6_next_hops() {
    let link_local = Some("fe80::1".parse().unwrap());
    let both = Attributes { next_hop: NextHop { address: "2a00::1".parse().unwrap(), link_local }, ..plain() };
    let update = announcement(both, &["2001:db8::/32", "::/0"]);
    assert_eq!(decode_all(&encode(update.clone(), &ebgp()), &ebgp()), [update]);
    // an IPv4 next hop is mapped, and resolved again
    let read = &decode_all(&encode(announcement(plain(), &["2001:db8::/32"]), &ebgp()), &ebgp())[0];
    let next_hop = read.announced[0].attributes.next_hop;
    assert_eq!(next_hop.address, "::ffff:10.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(next_hop.resolve(), IpAddr::from([10, 0, 0, 1]));
}

#[test]
fn end_of_rib_of_each_family() {
    let end = |family| Update { end_of_rib: Some(family), ..Update::default() };
    let messages = encode(end(Family::Ipv4Unicast), &ebgp());
    assert_eq!(messages[0][16..], hex!("0017 02 0000 0000"));
    assert_eq!(decode_all(&messages, &ebgp()), [end(Family::Ipv4Unicast)]);
    let messages = encode(end(Family::Ipv6Unicast), &ebgp());
    assert_eq!(messages[0][16..], hex!("001e 02 0000 0007 90 0f 0003 0002 01"));
    assert_eq!(decode_all(&messages, &ebgp()), [end(Family::Ipv6Unicast)]);
    let v4 = Negotiated { families: [Family::Ipv4Unicast].into(), ..ebgp() };
    assert_eq!(decode_all(&messages, &v4), [Update::default()]);
}

#[test]
fn messages_are_filled_and_hold_one_field_each() {
    let v4 =
        (0..5000u32).map(|i| Ipv4Addr::from_bits(0x0a00_0000 + (i << 8))).map(|a| IpNet::new(a.into(), 24).unwrap());
    let v6 = (0..500u128)
        .map(|i| IpNet::new(std::net::Ipv6Addr::from_bits((0x2a00 << 112) + (i << 80)).into(), 48).unwrap());
    let prefixes: Vec<IpNet> = v4.chain(v6).collect();
    for extended_message in [false, true] {
        let n = Negotiated { extended_message, ..ibgp() };
        let attributes = Arc::new(full());
        let announced = vec![Announcement { attributes, prefixes: prefixes.clone() }];
        let messages = encode(Update { withdrawn: prefixes.clone(), announced, ..Update::default() }, &n);
        // 5000 prefixes of 4 octets and 500 of 7, withdrawn and announced with 460 octets of attributes
        let expected = if extended_message { 4 } else { 5 + 1 + 6 + 1 };
        assert_eq!(messages.len(), expected);
        let updates = decode_all(&messages, &n);
        let mut withdrawn: Vec<IpNet> = updates.iter().flat_map(|u| u.withdrawn.clone()).collect();
        let announced = updates.iter().flat_map(|u| &u.announced);
        let mut announced: Vec<IpNet> = announced.flat_map(|a| a.prefixes.clone()).collect();
        assert!(updates.iter().all(|u| u.withdrawn.is_empty() != u.announced.is_empty() && u.faults.is_empty()));
        withdrawn.sort();
        announced.sort();
        assert_eq!((&withdrawn, &announced), (&prefixes, &prefixes));
    }
}

#[test]
fn a_message_is_filled_to_the_last_octet() {
    // 23 octets around 20 of attributes leave 4053: 1351 prefixes of 3
    let prefix = |i: u32| IpNet::new(Ipv4Addr::from_bits(0x0a00_0000 + (i << 16)).into(), 16).unwrap();
    let update = |count| {
        let announced =
            vec![Announcement { attributes: Arc::new(plain()), prefixes: (0..count).map(prefix).collect() }];
        encode(Update { announced, ..Update::default() }, &ebgp())
    };
    assert_eq!(update(1351).iter().map(Vec::len).collect::<Vec<_>>(), [4096]);
    assert_eq!(update(1352).iter().map(Vec::len).collect::<Vec<_>>(), [4096, 46]);
}

#[test]
fn what_does_not_fit_is_withdrawn() {
    let mut attributes = plain();
    attributes.communities = vec![Community(1); 1100];
    let update = announcement(attributes, &["10.1.0.0/16", "2001:db8::/32"]);
    let read = decode_all(&encode(update.clone(), &ebgp()), &ebgp());
    assert!(read.iter().all(|u| u.announced.is_empty()));
    assert_eq!(read.iter().flat_map(|u| u.withdrawn.clone()).count(), 2);
    let n = Negotiated { extended_message: true, ..ebgp() };
    assert!(encode(update, &n).iter().all(|m| m.len() > 4096 && m.len() < MAX_EXTENDED_LEN));
}

#[test]
fn an_old_peer_gets_as_trans_and_both_halves() {
    let old = Negotiated { four_octet_as: false, ..ibgp() };
    let update = announcement(full(), &["10.1.0.0/16"]);
    let messages = encode(update.clone(), &old);
    let as_path = hex!("40 02 06 02 02 fde9 5ba0");
    assert!(messages[0].windows(as_path.len()).any(|w| w == as_path));
    assert_eq!(decode_all(&messages, &old), [update]);
    // nothing more when two octets are enough
    let messages = encode(announcement(plain(), &["10.1.0.0/16"]), &old);
    assert!(!messages[0].windows(2).any(|w| w == [0xc0, 0x11]));
}

#[test]
fn an_aggregator_of_its_own_as_voids_as4_path() {
    let old = Negotiated { four_octet_as: false, ..ebgp() };
    let path = hex!("40 02 06 02 02 fde9 5ba0");
    let as4_path = hex!("c0 11 06 02 01 00011170");
    let as4_aggregator = hex!("c0 12 08 00011170 0a000009");
    let read = |aggregator: &[u8]| {
        let attributes: [&[u8]; 6] = [ORIGIN_IGP, &path, HOP, aggregator, &as4_path, &as4_aggregator];
        let update = super::tests::read(&attributes, NLRI, &old).unwrap();
        let a = Arc::clone(&update.announced[0].attributes);
        (a.as_path.to_string(), a.aggregator.unwrap().asn)
    };
    assert_eq!(read(&hex!("c0 07 06 5ba0 0a000001")), ("65001 70000".into(), 70000));
    assert_eq!(read(&hex!("c0 07 06 fdeb 0a000001")), ("65001 23456".into(), 65003));
}

#[test]
fn unknown_attributes() {
    // transitive: kept byte for byte and marked partial
    let update = with(&hex!("c0 63 03 010203"), &ebgp());
    let raw = RawAttribute { flags: 0xe0, code: 99, value: vec![1, 2, 3] };
    assert_eq!((&update.announced[0].attributes.unknown[..], update.faults.len()), (&[raw][..], 0));
    // without a value too
    assert_eq!(with(&hex!("c0 63 00"), &ebgp()).announced[0].attributes.unknown.len(), 1);
    // not transitive: quietly gone
    let update = with(&hex!("80 63 01 00"), &ebgp());
    assert_eq!((update.announced[0].attributes.unknown.len(), update.faults.len()), (0, 0));
    // well-known and unknown: RFC 4271, section 6.3
    let error = read(&[ORIGIN_IGP, PATH, HOP, &hex!("40 63 01 00")], NLRI, &ebgp());
    assert_eq!(error, Err(Notification::unrecognized_well_known(hex!("40 63 01 00").to_vec())));
}

#[test]
fn the_partial_bit_of_a_known_attribute_stays() {
    let update = with(&hex!("e0 08 04 ffffff01"), &ebgp());
    assert_eq!(update.announced[0].attributes.partial, 1 << 8);
    let bytes = &encode(update, &ebgp())[0];
    assert!(bytes.windows(3).any(|w| w == [0xc0 | PARTIAL, 8, 4]));
}

#[test]
fn rfc7606_3b_lengths_that_exceed_the_message_reset() {
    let list = Err(Notification::malformed_attribute_list());
    for bytes in [&hex!("0001 0000")[..], &hex!("0000 0001"), &hex!("0005 0000 0000"), &hex!("00")] {
        assert_eq!(Update::decode(bytes, &ebgp()), list, "{bytes:02x?}");
    }
}

#[test]
fn rfc7606_3c_flags_in_conflict() {
    for attribute in [
        &hex!("c0 04 04 00000001")[..], // MED transitive
        &hex!("80 08 04 00000001"),     // COMMUNITIES not transitive
        &hex!("c0 05 04 00000001"),     // LOCAL_PREF optional
        &hex!("40 10 08 030b000000000001"),
        &hex!("80 17 0e 0007 000a 06 06 00000000 0000 0000"),
        &hex!("80 20 0c 000000010000000200000003"),
        &hex!("40 23 04 00000001"),
    ] {
        withdraws(&with(attribute, &ibgp()), attribute[1], Reason::Flags);
    }
    // the partial bit is not looked at
    assert!(with(&hex!("a0 04 04 00000001"), &ebgp()).faults.is_empty());
    let update = read(&[&hex!("c0 01 01 00"), PATH, HOP], NLRI, &ebgp()).unwrap();
    withdraws(&update, ORIGIN, Reason::Flags);
}

#[test]
fn rfc7606_3d_missing_mandatory_attributes() {
    withdraws(&read(&[PATH, HOP], NLRI, &ebgp()).unwrap(), ORIGIN, Reason::Missing);
    withdraws(&read(&[ORIGIN_IGP, HOP], NLRI, &ebgp()).unwrap(), AS_PATH, Reason::Missing);
    withdraws(&read(&[ORIGIN_IGP, PATH], NLRI, &ebgp()).unwrap(), NEXT_HOP, Reason::Missing);
    // NEXT_HOP is not for MP_REACH_NLRI
    let update = read(&[MP_REACH, ORIGIN_IGP, PATH], &[], &ebgp()).unwrap();
    assert_eq!((update.faults.len(), update.announced[0].prefixes[0]), (0, net("2001:db8::/32")));
    let update = read(&[MP_REACH, ORIGIN_IGP], &[], &ebgp()).unwrap();
    assert_eq!(update.withdrawn, [net("2001:db8::/32")]);
}

#[test]
fn rfc7606_3f_faults_of_aggregates_are_discarded() {
    discards(&with(&hex!("c0 06 00"), &ebgp()), 6, Reason::Flags);
    discards(&with(&hex!("80 07 08 0000fde9 0a000001"), &ebgp()), 7, Reason::Flags);
}

#[test]
fn rfc7606_3g_repeated_attributes() {
    let update = with(&hex!("80 04 04 00000001 80 04 04 00000002"), &ebgp());
    assert_eq!(discards(&update, 4, Reason::Duplicate).med, Some(1));
    let update = with(&hex!("c0 63 01 01 c0 63 01 02"), &ebgp());
    assert_eq!(discards(&update, 99, Reason::Duplicate).unknown[0].value, [1]);
    let twice = read(&[MP_REACH, MP_REACH, ORIGIN_IGP, PATH], &[], &ebgp());
    assert_eq!(twice, Err(Notification::malformed_attribute_list()));
    let unreach = hex!("80 0f 03 000201");
    assert_eq!(read(&[&unreach, &unreach], &[], &ebgp()), Err(Notification::malformed_attribute_list()));
}

#[test]
fn rfc7606_3h_the_strongest_action_wins() {
    let update = with(&hex!("40 06 01 00 80 04 03 000000"), &ebgp());
    assert_eq!(update.faults.len(), 2);
    assert_eq!((update.withdrawn.len(), update.announced.len()), (1, 0));
    let reset = read(&[&hex!("40 01 01 07"), &hex!("80 0e 03 000201")], NLRI, &ebgp());
    assert_eq!(reset, Err(Notification::optional_attribute(hex!("80 0e 03 000201").to_vec())));
}

#[test]
fn rfc7606_4_attributes_that_run_over_the_end() {
    for tail in [&hex!("80 04 04 000000")[..], &hex!("80"), &hex!("80 04"), &hex!("90 04 00"), &hex!("90 04 0100 00")] {
        let update = with(tail, &ebgp());
        let code = tail.get(1).copied().unwrap_or(0);
        withdraws(&update, code, Reason::Overrun);
    }
}

#[test]
fn rfc7606_4_a_length_of_zero() {
    let attributes: [&[u8]; 7] = [
        &hex!("80 04 00"),
        &hex!("40 05 00"),
        &hex!("c0 08 00"),
        &hex!("80 0a 00"),
        &hex!("c0 10 00"),
        &hex!("c0 20 00"),
        &hex!("c0 23 00"),
    ];
    for attribute in attributes {
        withdraws(&with(attribute, &ibgp()), attribute[1], Reason::Length);
    }
    let empty_path = read(&[ORIGIN_IGP, &hex!("40 02 00"), HOP, &hex!("40 06 00")], NLRI, &ibgp()).unwrap();
    assert!(empty_path.faults.is_empty() && empty_path.announced[0].attributes.as_path.is_empty());
}

#[test]
fn rfc7606_5_1_fields_are_taken_in_any_combination() {
    let unreach = hex!("80 0f 08 0002 01 20 20010db9");
    let attributes = [ORIGIN_IGP, &unreach, PATH, HOP, MP_REACH].concat();
    let update = Update::decode(&body(&hex!("08 0b"), &[&attributes], NLRI), &ebgp()).unwrap();
    assert_eq!(update.withdrawn, [net("11.0.0.0/8"), net("2001:db9::/32")]);
    let hops: Vec<_> = update.announced.iter().map(|a| (a.prefixes[0], a.attributes.next_hop.address)).collect();
    let v6 = "2a00::1".parse().unwrap();
    assert_eq!(hops, [(net("10.1.0.0/16"), IpAddr::from([10, 0, 0, 1])), (net("2001:db8::/32"), v6)]);
}

#[test]
fn rfc7606_5_2_a_fault_without_nlri_resets() {
    let bad_med = hex!("80 04 03 000000");
    let error = read(&[ORIGIN_IGP, &bad_med], &[], &ebgp());
    assert_eq!(error, Err(Notification::attribute_length(bad_med.to_vec())));
    let error = Update::decode(&body(&hex!("08 0b"), &[&hex!("40 01 01 07")], &[]), &ebgp());
    assert_eq!(error, Err(Notification::invalid_origin(hex!("40 01 01 07").to_vec())));
    // a discard does not
    assert!(read(&[ORIGIN_IGP, &hex!("40 06 01 00")], &[], &ebgp()).is_ok());
    // nor attributes without a fault
    assert!(read(&[ORIGIN_IGP, PATH, HOP], &[], &ebgp()).is_ok());
    // nor a fault beside NLRI of another family
    let evpn = hex!("80 0e 0b 0019 46 04 0a000001 00 0100");
    assert!(read(&[&evpn, ORIGIN_IGP, PATH, &bad_med], &[], &ebgp()).is_ok());
}

#[test]
fn rfc7606_5_3_incorrect_nlri_resets() {
    let network = Err(Notification::invalid_network_field());
    for field in [&hex!("21 0a01010101")[..], &hex!("18 0a01"), &hex!("10 0a01 08")] {
        assert_eq!(read(&[ORIGIN_IGP, PATH, HOP], field, &ebgp()), network);
        assert_eq!(Update::decode(&body(field, &[], &[]), &ebgp()), network);
    }
    let attributes: [&[u8]; 6] = [
        &hex!("80 0f 02 0002"),                           // shorter than AFI and SAFI
        &hex!("80 0f 05 0002 01 81 00"),                  // longer than an address
        &hex!("80 0f 05 0002 01 20 20"),                  // overrun
        &hex!("80 0e 04 0002 01 00"),                     // shorter than 5
        &hex!("80 0e 0d 0002 01 08 0000000000000000 00"), // a next hop of 8
        &hex!("80 0e 09 0002 01 10 0000000000"),          // a next hop that overruns
    ];
    for attribute in attributes {
        let error = read(&[attribute, ORIGIN_IGP, PATH], &[], &ebgp()).unwrap_err();
        assert_eq!((error.code, error.subcode), (3, 9), "{attribute:02x?}");
    }
    for attribute in [hex!("c0 0f 03 000201"), hex!("40 0f 03 000201")] {
        assert_eq!(read(&[&attribute], &[], &ebgp()), Err(Notification::attribute_flags(attribute.to_vec())));
    }
}

#[test]
fn rfc7606_7_1_to_7_4_origin_path_next_hop_med() {
    for (origin, reason) in [
        (&hex!("40 01 01 03")[..], Reason::Value),
        (&hex!("40 01 00"), Reason::Length),
        (&hex!("40 01 02 0000"), Reason::Length),
    ] {
        withdraws(&read(&[origin, PATH, HOP], NLRI, &ebgp()).unwrap(), ORIGIN, reason);
    }
    for path in [&hex!("40 02 06 03 01 0000fde9")[..], &hex!("40 02 02 02 00"), &hex!("40 02 06 02 01 00000000")] {
        withdraws(&read(&[ORIGIN_IGP, path, HOP], NLRI, &ebgp()).unwrap(), AS_PATH, Reason::Value);
    }
    withdraws(&read(&[ORIGIN_IGP, PATH, &hex!("40 03 03 0a0000")], NLRI, &ebgp()).unwrap(), NEXT_HOP, Reason::Length);
    for hop in [hex!("00000000"), hex!("e0000001"), hex!("7f000001"), hex!("ffffffff")] {
        let hop = [&hex!("40 03 04")[..], &hop].concat();
        withdraws(&read(&[ORIGIN_IGP, PATH, &hop], NLRI, &ebgp()).unwrap(), NEXT_HOP, Reason::Value);
    }
    withdraws(&with(&hex!("80 04 05 0000000001"), &ebgp()), 4, Reason::Length);
}

#[test]
fn rfc7606_7_5_local_pref() {
    let local_pref = hex!("40 05 04 000000c8");
    assert_eq!(discards(&with(&local_pref, &ebgp()), 5, Reason::Unexpected).local_pref, None);
    assert_eq!(with(&local_pref, &ibgp()).announced[0].attributes.local_pref, Some(200));
    withdraws(&with(&hex!("40 05 03 000000"), &ibgp()), 5, Reason::Length);
    discards(&with(&hex!("40 05 03 000000"), &ebgp()), 5, Reason::Unexpected);
}

#[test]
fn rfc7606_7_6_and_7_7_aggregates() {
    assert!(!discards(&with(&hex!("40 06 01 00"), &ebgp()), 6, Reason::Length).atomic_aggregate);
    let short = hex!("c0 07 06 fde9 0a000001");
    let long = hex!("c0 07 08 0000fde9 0a000001");
    let old = Negotiated { four_octet_as: false, ..ibgp() };
    discards(&with(&short, &ebgp()), 7, Reason::Length);
    assert_eq!(with(&long, &ebgp()).announced[0].attributes.aggregator.map(|a| a.asn), Some(65001));
    let path = hex!("40 02 04 02 01 fde9");
    discards(&read(&[ORIGIN_IGP, &path, HOP, &long], NLRI, &old).unwrap(), 7, Reason::Length);
    assert!(read(&[ORIGIN_IGP, &path, HOP, &short], NLRI, &old).unwrap().faults.is_empty());
    discards(&with(&hex!("c0 07 08 00000000 0a000001"), &ebgp()), 7, Reason::Value); // RFC 7607
}

#[test]
fn rfc7606_7_8_7_14_7_15_communities() {
    for attribute in [
        &hex!("c0 08 05 0000000100")[..],
        &hex!("c0 10 07 030b0000000000"),
        &hex!("c0 19 13 00000000000000000000000000000000000000"),
        &hex!("c0 20 0b 0000000100000002000000"), // RFC 8092, section 5
        &hex!("c0 23 05 0000000100"),             // RFC 9234, section 5
    ] {
        withdraws(&with(attribute, &ebgp()), attribute[1], Reason::Length);
    }
    let unknown = with(&hex!("c0 10 08 ff00000000000001"), &ebgp());
    assert_eq!(unknown.announced[0].attributes.extended_communities.len(), 1);
    let carried = with(&hex!("c0 19 14 0001020304050607080910111213141516171819"), &ebgp());
    assert_eq!(carried.announced[0].attributes.unknown[0].value.len(), 20);
    let twice = with(&hex!("c0 20 18 000000010000000200000003 000000010000000200000003"), &ebgp());
    assert_eq!(twice.announced[0].attributes.large_communities.len(), 1);
}

#[test]
fn rfc7606_7_9_and_7_10_reflection() {
    discards(&with(&hex!("80 09 04 0a000001"), &ebgp()), 9, Reason::Unexpected);
    discards(&with(&hex!("80 0a 04 0a000001"), &ebgp()), 10, Reason::Unexpected);
    withdraws(&with(&hex!("80 09 03 0a0000"), &ibgp()), 9, Reason::Length);
    withdraws(&with(&hex!("80 0a 05 0a00000100"), &ibgp()), 10, Reason::Length);
}

#[test]
fn rfc6793_6_as4_attributes_are_discarded() {
    discards(&with(&hex!("c0 11 06 02 01 00011170"), &ebgp()), 17, Reason::Unexpected);
    discards(&with(&hex!("c0 12 08 00011170 0a000001"), &ebgp()), 18, Reason::Unexpected);
    let old = Negotiated { four_octet_as: false, ..ebgp() };
    let path = hex!("40 02 04 02 01 fde9");
    let read = |attribute: &[u8]| super::tests::read(&[ORIGIN_IGP, &path, HOP, attribute], NLRI, &old).unwrap();
    discards(&read(&hex!("c0 11 06 03 01 00011170")), 17, Reason::Value);
    discards(&read(&hex!("c0 12 07 00011170 0a0000")), 18, Reason::Length);
}

#[test]
fn rfc9012_13_a_malformed_tunnel_attribute_withdraws() {
    withdraws(&with(&hex!("c0 17 05 0007 0000 00"), &ebgp()), 23, Reason::Value);
    withdraws(&with(&hex!("c0 17 00"), &ebgp()), 23, Reason::Value);
    let martian = hex!("c0 17 10 0007 000c 06 0a 00000000 0001 7f000001");
    withdraws(&with(&martian, &ebgp()), 23, Reason::Value);
    let lab = Negotiated { martian_endpoints: true, ..ebgp() };
    assert!(with(&martian, &lab).announced[0].attributes.tunnel_encap.is_some());
}

#[test]
fn families_not_agreed_on_are_passed_over() {
    let v6 = Negotiated { families: [Family::Ipv6Unicast].into(), ..ebgp() };
    let update = Update::decode(&body(&hex!("08 0b"), &[MP_REACH, ORIGIN_IGP, PATH, HOP], NLRI), &v6).unwrap();
    assert_eq!(update.faults, [fault(0, Action::AttributeDiscard, Reason::Family)]);
    assert_eq!((update.withdrawn.len(), update.announced.len()), (0, 1));
    assert_eq!(update.announced[0].prefixes, [net("2001:db8::/32")]);
}

#[test]
fn next_hops_of_mp_reach_are_checked() {
    for address in [hex!("00000000000000000000000000000000"), hex!("ff020000000000000000000000000001")] {
        let reach = [&hex!("80 0e 1a 0002 01 10")[..], &address, &hex!("00 20 20010db8")].concat();
        let update = read(&[&reach, ORIGIN_IGP, PATH], &[], &ebgp()).unwrap();
        assert_eq!(update.faults, [fault(14, Action::TreatAsWithdraw, Reason::Value)]);
        assert_eq!(update.withdrawn, [net("2001:db8::/32")]);
    }
    // IPv4 with an IPv4 next hop may be there too
    let reach = hex!("80 0e 0c 0001 01 04 0a000001 00 10 0a01");
    let update = read(&[&reach, ORIGIN_IGP, PATH], &[], &ebgp()).unwrap();
    assert_eq!(update.announced[0].attributes.next_hop.address, IpAddr::from([10, 0, 0, 1]));
}

proptest! {
    #[test]
    fn garbled_attributes_are_survived(at in 0usize..400, octet: u8, ibgp_session: bool) {
        let n = if ibgp_session { ibgp() } else { ebgp() };
        let mut bytes = encode(announcement(full(), &["10.1.0.0/16"]), &ibgp()).remove(0);
        let at = 19 + at % (bytes.len() - 19);
        bytes[at] = octet;
        if let Ok(Message::Update(update)) = decode_message(&bytes, &n) {
            let withdraw = update.faults.iter().any(|f| f.action == Action::TreatAsWithdraw);
            prop_assert!(!withdraw || update.announced.is_empty());
            let mut out = Vec::new();
            Message::Update(update).encode(&n, &mut out);
        }
    }
}
