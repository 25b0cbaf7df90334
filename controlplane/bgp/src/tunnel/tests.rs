use super::*;
use crate::attribute::NextHop;
use hex_literal::hex;
use proptest::prelude::*;

const ENDPOINT: [u8; 24] = hex!("06 16 00000000 0002 2a000000000000000000000000000001");
const NEXT_HOP: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 0xff));

fn endpoint() -> IpAddr {
    "2a00::1".parse().unwrap()
}

fn tlv(tunnel_type: u16, sub_tlvs: &[&[u8]]) -> Vec<u8> {
    let value = sub_tlvs.concat();
    [&tunnel_type.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat()
}

fn decode(value: &[u8]) -> TunnelEncap {
    TunnelEncap::decode(value, false).unwrap()
}

fn encoded(encap: &TunnelEncap) -> Vec<u8> {
    let mut out = Vec::new();
    encap.encode(&mut out);
    out
}

#[test]
fn an_ip_in_ip_tunnel_with_all_it_can_say() {
    let bytes = hex!(
        "0007 0033"
        "06 16 00000000 0002 2a000000000000000000000000000001"
        "02 02 0800"
        "04 08 030b 0000 00000064"
        "04 08 030b 0000 00000065"
        "07 01 2e"
    );
    let encap = decode(&bytes);
    let tunnel = Tunnel { endpoint: endpoint(), colors: vec![100, 101], protocols: vec![0x0800], ds: Some(0x2e) };
    assert_eq!(encap.usable(NEXT_HOP), std::slice::from_ref(&tunnel));
    assert_eq!(encap.endpoints(NEXT_HOP).collect::<Vec<_>>(), [endpoint()]);
    assert_eq!(encoded(&encap), bytes);
    let mut attributes = Attributes::new(NextHop::from(NEXT_HOP));
    tunnel.offer(&mut attributes);
    assert_eq!(attributes.tunnel_encap, Some(encap));
}

#[test]
fn family_0_is_the_next_hop() {
    let encap = decode(&tlv(7, &[&hex!("06 06 00000000 0000")]));
    assert_eq!(encap.usable(NEXT_HOP), [Tunnel::to(NEXT_HOP)]);
    assert_eq!(encap.without_next_hop(), None);
    let kept = [tlv(7, &[&ENDPOINT]), tlv(15, &[b"x"])].concat();
    let all = [&kept[..], &tlv(7, &[&hex!("06 06 00000000 0000")])].concat();
    assert_eq!(decode(&all).without_next_hop(), Some(decode(&kept)));
}

#[test]
fn an_ipv4_endpoint() {
    let encap = decode(&tlv(7, &[&hex!("06 0a 00000000 0001 0a000001")]));
    assert_eq!(encap.usable(NEXT_HOP), [Tunnel::to("10.0.0.1".parse().unwrap())]);
}

#[test]
fn the_reserved_field_is_ignored_and_passed_on() {
    let bytes = tlv(7, &[&hex!("06 0a a5a5a5a5 0001 0a000001")]);
    let encap = decode(&bytes);
    assert_eq!(encap.usable(NEXT_HOP), [Tunnel::to("10.0.0.1".parse().unwrap())]);
    assert_eq!(encoded(&encap), bytes);
}

#[test]
fn a_tlv_without_exactly_one_good_endpoint_goes() {
    let good = tlv(7, &[&ENDPOINT]);
    let bad = [
        tlv(7, &[]),
        tlv(7, &[&hex!("02 02 0800")]),
        tlv(7, &[&ENDPOINT, &ENDPOINT]),
        tlv(2, &[&hex!("06 05 00000000 00")]),      // short of an address family
        tlv(7, &[&hex!("06 07 00000000 0000 00")]), // family 0, length 7
        tlv(7, &[&hex!("06 09 00000000 0001 0a0000")]), // IPv4 of three octets
        tlv(7, &[&hex!("06 0b 00000000 0001 0a000001 00")]), // IPv4 of five
        tlv(8, &[&hex!("06 0a 00000000 0002 0a000001")]), // IPv6 of four
        tlv(7, &[&hex!("06 0a 00000000 0003 0a000001")]), // no family that we know
        tlv(7, &[&hex!("06 0a 00000000 0001 7f000001")]), // a Martian
    ];
    for bad in bad {
        assert_eq!(TunnelEncap::decode(&bad, false), Err(TunnelError::Empty), "{bad:02x?}");
        let both = decode(&[bad, good.clone()].concat());
        assert_eq!((both.usable(NEXT_HOP).len(), encoded(&both)), (1, good.clone()));
    }
    assert_eq!(TunnelEncap::decode(&[], false), Err(TunnelError::Empty));
}

#[test]
fn martians_can_be_let_in() {
    let martians = ["0.1.2.3", "127.0.0.1", "169.254.0.1", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1"];
    let more = ["224.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "2001:db8::1", "3fff::1", "fe80::1"];
    for text in martians.into_iter().chain(more).chain(["ff02::1"]) {
        let mut bytes = Vec::new();
        SubTlv::egress_endpoint(text.parse().unwrap()).encode(&mut bytes);
        assert_eq!(TunnelEncap::decode(&tlv(7, &[&bytes]), false), Err(TunnelError::Empty), "{text}");
        assert!(TunnelEncap::decode(&tlv(7, &[&bytes]), true).is_ok());
    }
    for text in ["10.0.0.1", "100.64.0.1", "192.0.3.1", "198.18.0.1", "fc00::1", "2001:db9::1", "3fff:1000::1", "::2"] {
        assert!(!is_martian(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn a_tlv_must_end_with_its_last_sub_tlv() {
    for sub_tlvs in [&hex!("06 06 00000000")[..], &hex!("06 06 00000000 0000 09"), &hex!("80 00"), &hex!("80 0002 01")]
    {
        assert_eq!(TunnelEncap::decode(&tlv(7, &[sub_tlvs]), false), Err(TunnelError::Framing), "{sub_tlvs:02x?}");
    }
    assert_eq!(TunnelEncap::decode(&hex!("0007 0009 06 06 00000000 0000"), false), Err(TunnelError::Framing));
    assert_eq!(TunnelEncap::decode(&hex!("0007 00"), false), Err(TunnelError::Framing));
}

#[test]
fn unrecognized_tunnel_types_are_carried_whatever_is_in_them() {
    for tunnel_type in [0, 3, 4, 5, 6, 10, 13, 15, 19, 20, 0xffff] {
        let bytes = tlv(tunnel_type, &[&hex!("ff ff ff ff 01")]);
        let encap = decode(&bytes);
        assert_eq!((encap.usable(NEXT_HOP), encoded(&encap)), (vec![], bytes));
    }
}

#[test]
fn other_recognized_tunnel_types_are_carried_and_not_used() {
    let bytes = tlv(2, &[&ENDPOINT, &hex!("01 04 00000001")]);
    let encap = decode(&bytes);
    assert_eq!((encap.usable(NEXT_HOP), encoded(&encap)), (vec![], bytes));
}

#[test]
fn unrecognized_and_meaningless_sub_tlvs_are_carried() {
    let bytes = tlv(
        7,
        &[
            &hex!("7f 00"), // unrecognized
            &ENDPOINT,
            &hex!("80 0003 616263"), // unrecognized, of the long form
            &hex!("08 02 0000"),     // UDP destination port 0
            &hex!("09 01 07"),       // embedded label handling, of no meaning here
            &hex!("01 01 00"),       // encapsulation, of no meaning here
        ],
    );
    let encap = decode(&bytes);
    assert_eq!((encap.usable(NEXT_HOP), encoded(&encap)), (vec![Tunnel::to(endpoint())], bytes));
}

#[test]
fn of_repeated_sub_tlvs_the_first_counts_and_all_are_carried() {
    let bytes = tlv(7, &[&ENDPOINT, &hex!("07 01 2e"), &hex!("07 01 00")]);
    let encap = decode(&bytes);
    assert_eq!((encap.usable(NEXT_HOP)[0].ds, encoded(&encap)), (Some(0x2e), bytes));
}

#[test]
fn malformed_colors_protocols_and_ds_are_as_if_absent() {
    let bad: [&[u8]; 7] = [
        &hex!("04 07 030b 0000 000064"),
        &hex!("04 08 030c 0000 00000064"),
        &hex!("02 02 ffff"),
        &hex!("02 02 8847"), // MPLS is not IP
        &hex!("02 01 08"),
        &hex!("07 02 0000"),
        &hex!("07 00"),
    ];
    for bad in bad {
        let bytes = tlv(7, &[&ENDPOINT, bad]);
        let encap = decode(&bytes);
        assert_eq!((encap.usable(NEXT_HOP), encoded(&encap)), (vec![Tunnel::to(endpoint())], bytes), "{bad:02x?}");
    }
}

#[test]
fn payloads_and_colors_are_matched() {
    let mut tunnel = Tunnel::to(endpoint());
    assert!(tunnel.carries(ETHERTYPE_IPV4) && tunnel.matches([].into_iter()));
    tunnel.protocols = vec![ETHERTYPE_IPV4];
    tunnel.colors = vec![1, 2];
    assert!(tunnel.carries(ETHERTYPE_IPV4) && !tunnel.carries(ETHERTYPE_IPV6));
    assert!(tunnel.matches([7, 2].into_iter()) && !tunnel.matches([7].into_iter()) && !tunnel.matches([].into_iter()));
}

#[test]
fn a_barebones_tunnel_is_a_community() {
    let mut attributes = Attributes::new(NextHop::from(NEXT_HOP));
    Tunnel::to(NEXT_HOP).offer(&mut attributes);
    Tunnel::to(NEXT_HOP).offer(&mut attributes);
    assert_eq!(attributes.extended_communities, [ExtendedCommunity(hex!("030c 00000000 0007"))]);
    assert_eq!(attributes.tunnel_encap, None);
    assert_eq!(Tunnel::offered(&attributes), [Tunnel::to(NEXT_HOP)]);
    // received as a TLV it is the same tunnel
    attributes.tunnel_encap = Some(decode(&tlv(7, &[&hex!("06 06 00000000 0000")])));
    assert_eq!(Tunnel::offered(&attributes), [Tunnel::to(NEXT_HOP)]);
    attributes.extended_communities = vec![ExtendedCommunity::from_encapsulation(2)];
    attributes.tunnel_encap = None;
    assert_eq!(Tunnel::offered(&attributes), []);
}

#[test]
fn several_tunnels_are_a_choice_in_order() {
    let bytes =
        [tlv(7, &[&ENDPOINT]), tlv(7, &[&hex!("06 06 00000000 0000"), &hex!("04 08 030b 0000 00000007")])].concat();
    let tunnels = decode(&bytes).usable(NEXT_HOP);
    assert_eq!(tunnels[0], Tunnel::to(endpoint()));
    assert_eq!((tunnels[1].endpoint, &tunnels[1].colors[..]), (NEXT_HOP, &[7][..]));
}

proptest! {
    #[test]
    fn garbage_is_survived_and_what_is_read_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(encap) = TunnelEncap::decode(&bytes, true) {
            let out = encoded(&encap);
            prop_assert_eq!(TunnelEncap::decode(&out, true), Ok(encap));
        }
    }
}
