use super::*;
use crate::vendor::{MS_CHAP2_SUCCESS, MS_PRIMARY_DNS_SERVER, RATE_UP};
use hex_literal::hex;
use proptest::prelude::*;

fn one(octets: &[u8]) -> Attribute<'_> {
    let mut all = Attributes::parse(octets).unwrap().iter();
    let first = all.next().unwrap();
    assert!(all.next().is_none());
    first
}

#[test]
fn what_is_put_is_the_octets_of_the_rfcs() {
    let mut list = AttributeList::new();
    list.text(USER_NAME, "nemo");
    list.u32(SESSION_TIMEOUT, 3600);
    list.ipv4(FRAMED_IP_ADDRESS, [192, 0, 2, 7].into());
    list.ipv6(NAS_IPV6_ADDRESS, "2001:db8::1".parse().unwrap());
    list.ipv6_prefix(FRAMED_IPV6_PREFIX, "2001:db8:7:8::9".parse().unwrap(), 63);
    list.interface_id(FRAMED_INTERFACE_ID, [0, 0, 0, 0, 0, 0, 0, 5]);
    list.tagged_u32(TUNNEL_TYPE, 1, 3);
    list.tagged_text(TUNNEL_SERVER_ENDPOINT, 1, "192.0.2.1");
    list.u64(crate::vendor::INPUT_OCTETS_IPV6, 1 << 33);
    assert_eq!(
        list.as_octets(),
        hex!(
            "01066e656d6f 1b0600000e10 0806c0000207 5f1220010db8000000000000000000000001
         610c003f20010db800070008 600a0000000000000005 400601000003 430c013139322e302e322e31
         1a100000fde7030a0000000200000000"
        )
    );
    let all = list.as_attributes();
    assert_eq!(all.text(USER_NAME), Ok(Some("nemo")));
    assert_eq!(all.u32(SESSION_TIMEOUT), Ok(Some(3600)));
    assert_eq!(all.ipv4(FRAMED_IP_ADDRESS), Ok(Some([192, 0, 2, 7].into())));
    assert_eq!(all.ipv6(NAS_IPV6_ADDRESS), Ok(Some("2001:db8::1".parse().unwrap())));
    assert_eq!(all.ipv6_prefix(FRAMED_IPV6_PREFIX), Ok(Some(("2001:db8:7:8::".parse().unwrap(), 63))));
    assert_eq!(all.interface_id(FRAMED_INTERFACE_ID), Ok(Some([0, 0, 0, 0, 0, 0, 0, 5])));
    assert_eq!(all.tagged_u32(TUNNEL_TYPE), Ok(Some((1, 3))));
    assert_eq!(all.tagged_text(TUNNEL_SERVER_ENDPOINT), Ok(Some((1, "192.0.2.1"))));
    assert_eq!(all.u64(crate::vendor::INPUT_OCTETS_IPV6), Ok(Some(1 << 33)));
    assert_eq!(all.u32(IDLE_TIMEOUT), Ok(None));
}

#[test]
fn wrong_lengths_name_their_attribute() {
    let mut list = AttributeList::new();
    list.octets(FRAMED_MTU, &[5, 0xdc]).octets(USER_NAME, &[0xff]).octets(RATE_UP, &[0; 5]);
    list.octets(FRAMED_IP_ADDRESS, &[]).octets(FRAMED_IPV6_ADDRESS, &[0; 15]).octets(TUNNEL_TYPE, &[0; 3]);
    list.octets(FRAMED_INTERFACE_ID, &[0; 9]).octets(FRAMED_ROUTE, b"somewhere");
    let all = list.as_attributes();
    let said = |error: Option<Invalid>| error.unwrap().to_string();
    assert_eq!(said(all.u32(FRAMED_MTU).err()), "Framed-MTU is not an integer (2 octets)");
    assert_eq!(said(all.text(USER_NAME).err()), "User-Name is not text (1 octets)");
    assert_eq!(said(all.u32(RATE_UP).err()), "Softwire-Rate-Up is not an integer (5 octets)");
    assert_eq!(said(all.ipv4(FRAMED_IP_ADDRESS).err()), "Framed-IP-Address is not an IPv4 address (0 octets)");
    assert!(all.ipv6(FRAMED_IPV6_ADDRESS).is_err() && all.tagged_u32(TUNNEL_TYPE).is_err());
    assert!(all.interface_id(FRAMED_INTERFACE_ID).is_err());
    assert!(all.first(FRAMED_ROUTE).unwrap().route().is_err());
    assert_eq!(Kind { vendor: 0, number: 200 }.to_string(), "Attribute-200");
    assert_eq!(Kind { vendor: 9, number: 1 }.to_string(), "Vendor-9-Attribute-1");
}

#[test]
fn ipv6_prefixes_keep_the_rules_of_rfc_3162() {
    for (octets, expected) in [
        (&hex!("6104 0000")[..], Some(("::", 0))),
        (&hex!("6105 0008 20"), Some(("2000::", 8))),
        (&hex!("6108 0020 20010db8"), Some(("2001:db8::", 32))),
        (&hex!("6109 0020 20010db8ff"), Some(("2001:db8::", 32))),
        (&hex!("6106 000c 2fff"), Some(("2ff0::", 12))),
        (&hex!("6114 0080 20010db8000000000000000000000001"), Some(("2001:db8::1", 128))),
        (&hex!("6114 0040 20010db8000100020000000000000001"), Some(("2001:db8:1:2::", 64))),
        (&hex!("6114 0081 20010db8000000000000000000000001"), None),
        (&hex!("6115 0080 20010db80000000000000000000000 0100"), None),
        (&hex!("6107 0020 20010d"), None),
        (&hex!("6104 0001"), None),
        (&hex!("6103 00"), None),
        (&hex!("6102"), None),
    ] {
        let expected = expected.map(|(prefix, length)| (prefix.parse().unwrap(), length));
        assert_eq!(one(octets).ipv6_prefix().ok(), expected, "{octets:x?}");
    }
}

#[test]
fn vendors_attributes_stand_among_the_others() {
    let octets = hex!(
        "0103 61"
        "1a12 00000137 1c06c0000235 1d06 c0000236"
        "1a07 00000137 05"
        "1a06 00000137"
        "1a05 000001"
        "1a09 00000000 1803ff"
        "1203 62"
    );
    let all = Attributes::parse(&octets).unwrap();
    let kinds: Vec<_> = all.iter().map(|a| (a.kind.vendor, a.kind.number, a.value.len())).collect();
    assert_eq!(
        kinds,
        [(0, 1, 1), (311, 28, 4), (311, 29, 4), (0, 26, 5), (0, 26, 4), (0, 26, 3), (0, 26, 7), (0, 18, 1)]
    );
    assert_eq!(all.ipv4(MS_PRIMARY_DNS_SERVER), Ok(Some([192, 0, 2, 53].into())));
    assert_eq!(all.octets(MS_CHAP2_SUCCESS), None);
}

#[test]
fn tags_are_told_from_text() {
    assert_eq!(one(b"\x43\x06\x00abc").tagged_text(), Ok((0, "abc")));
    assert_eq!(one(b"\x43\x06\x1fabc").tagged_text(), Ok((31, "abc")));
    assert_eq!(one(b"\x43\x06 abc").tagged_text(), Ok((0, " abc")));
    assert_eq!(one(b"\x43\x02").tagged_text(), Ok((0, "")));
    assert!(one(b"\x43\x04\x01\xff").tagged_text().is_err());
}

#[test]
fn eap_packets_are_cut_and_joined() {
    for length in [4, 253, 254, 1400] {
        let packet: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let mut list = AttributeList::new();
        list.text(USER_NAME, "nemo").eap_message(&packet).octets(STATE, b"state");
        assert_eq!(list.as_attributes().all(EAP_MESSAGE).count(), packet.len().div_ceil(253));
        assert_eq!(list.as_attributes().eap_message(), Some(packet));
    }
    assert_eq!(Attributes::parse(&[]).unwrap().eap_message(), None);
}

#[test]
fn credentials_are_not_printed() {
    let mut list = AttributeList::new();
    list.octets(CHAP_PASSWORD, b"credential");
    assert_eq!(format!("{list:?}"), "[CHAP-Password[10]]");
}

#[test]
fn numbers_are_named_once() {
    let names: Vec<_> = kind::NAMES.iter().chain(crate::vendor::names()).collect();
    for (n, (kind, name)) in names.iter().enumerate() {
        assert!(names[n + 1..].iter().all(|(k, other)| k != kind && other != name), "{name}");
        assert_eq!(kind.to_string(), *name);
    }
}

proptest! {
    #[test]
    fn any_attributes_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(all) = Attributes::parse(&octets) {
            for a in all.iter() {
                let _ = (a.text(), a.u32(), a.u64(), a.ipv4(), a.ipv6(), a.interface_id(), a.route());
                let _ = (a.tagged_text(), a.tagged_u32());
                if let (Ok((prefix, length)), true) = (a.ipv6_prefix(), a.kind != VENDOR_SPECIFIC) {
                    let mut list = AttributeList::new();
                    list.ipv6_prefix(a.kind, prefix, length);
                    assert_eq!(list.as_attributes().ipv6_prefix(a.kind), Ok(Some((prefix, length))));
                }
            }
            all.eap_message();
        }
    }

    #[test]
    fn what_is_copied_is_what_was(octets in proptest::collection::vec((1u8..26, proptest::collection::vec(any::<u8>(), 0..20)), 0..6)) {
        let mut list = AttributeList::new();
        octets.iter().for_each(|(number, value)| _ = list.octets(Kind { vendor: 0, number: *number }, value));
        let mut again = AttributeList::new();
        list.as_attributes().iter().for_each(|a| _ = again.copy(a));
        prop_assert_eq!(again, list);
    }
}
