use super::*;
use crate::attribute::AttributeList;

const DICTIONARY: &str = include_str!("../../dictionary.softwire");

#[test]
fn the_dictionary_says_what_the_constants_do() {
    let lines: Vec<Vec<_>> = DICTIONARY.lines().map(|l| l.split_whitespace().collect()).collect();
    let with = |word| lines.iter().filter(move |l| l.first() == Some(&word)).map(|l| l[1..].to_vec());
    assert_eq!(with("VENDOR").collect::<Vec<_>>(), [["Softwire", &OURS.to_string()]]);
    let mut described = Vec::new();
    for attribute in with("ATTRIBUTE") {
        let [name, number, data_type] = attribute[..] else { panic!("{attribute:?}") };
        let expected = match name {
            n if n.contains("-Octets-") || n.contains("-Packets-") => "integer64",
            n if n.contains("-Rate-") || n.contains("-Burst-") || n == "Softwire-Type" => "integer",
            _ => "string",
        };
        assert_eq!(data_type, expected, "{name}");
        described.push((Kind { vendor: OURS, number: number.parse().unwrap() }, name));
    }
    assert_eq!(described, ours::NAMES);
    let values: Vec<_> = with("VALUE").map(|v| (v[0], v[2].parse().unwrap())).collect();
    let types = [
        SoftwireType::Ipv6OverIpv4,
        SoftwireType::Ipv4OverIpv6,
        SoftwireType::Ipv4OverIpv4,
        SoftwireType::Ipv6OverIpv6,
        SoftwireType::DualOverIpv4,
        SoftwireType::DualOverIpv6,
    ];
    assert_eq!(values, types.map(|t| ("Softwire-Type", t as u32)));
}

#[test]
fn keys_are_revealed_and_make_up_the_msk() {
    let (secret, authenticator) = (b"secret", [9; 16]);
    let hide = |salt, key: &[u8]| crypto::hide_salted(secret, &authenticator, salt, key).unwrap();
    for length in [16, 32, 40] {
        let (recv, send) = (vec![1; length], vec![2; length]);
        let mut list = AttributeList::new();
        list.octets(MS_MPPE_SEND_KEY, &hide([1, 1], &send)).octets(MS_MPPE_RECV_KEY, &hide([1, 2], &recv));
        let keys = MppeKeys::reveal(list.as_attributes(), &authenticator, secret).unwrap().unwrap();
        assert_eq!((keys.recv.expose(), keys.send.expose()), (&recv[..], &send[..]));
        let mut msk = [recv, send].concat();
        msk.resize(msk.len().max(64), 0);
        assert_eq!(keys.msk().expose(), msk);
        assert_eq!(format!("{keys:?}"), "MppeKeys { recv: Secret(..), send: Secret(..) }");
    }
    let mut list = AttributeList::new();
    list.octets(MS_MPPE_SEND_KEY, &hide([1, 1], &[2; 32]));
    assert_eq!(MppeKeys::reveal(list.as_attributes(), &authenticator, secret), Ok(None));
    list.octets(MS_MPPE_RECV_KEY, &[0; 17]);
    let error = MppeKeys::reveal(list.as_attributes(), &authenticator, secret).unwrap_err();
    assert_eq!(error.to_string(), "MS-MPPE-Recv-Key is not a hidden key (17 octets)");
}
