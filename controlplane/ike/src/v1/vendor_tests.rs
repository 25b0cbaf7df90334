use super::super::captures::{MAIN_1, MAIN_2, WINDOWS as FROM_WINDOWS};
use super::super::payload::Body;
use super::*;
use crate::message::HEADER_LEN;
use crate::payload::PayloadType;
use md5::{Digest, Md5};

#[test]
fn they_are_hashes_of_their_texts() {
    for (text, id) in [
        ("RFC 3947", NATT_RFC),
        ("draft-ietf-ipsec-nat-t-ike-03", NATT_DRAFT_03),
        ("draft-ietf-ipsec-nat-t-ike-02\n", NATT_DRAFT_02_N),
        ("draft-ietf-ipsec-nat-t-ike-02", NATT_DRAFT_02),
        ("FRAGMENTATION", FRAGMENTATION),
    ] {
        assert_eq!(Md5::digest(text)[..], id, "{text:?}");
    }
}

fn features(message: &[u8]) -> Features {
    let body = Body::parse(PayloadType(message[16]), &message[HEADER_LEN..], false).unwrap();
    Features::of(&body.vendors)
}

#[test]
fn features_of_captures() {
    let windows = Features { natt: Some(NatT::Rfc), dpd: false, fragmentation: true };
    assert_eq!(features(FROM_WINDOWS), windows);
    let strongswan = Features { natt: Some(NatT::Rfc), dpd: true, fragmentation: false };
    assert_eq!((features(MAIN_1), features(MAIN_2)), (strongswan, strongswan));
}

#[test]
fn the_newest_version_of_nat_traversal_counts() {
    let natt = |vendors: &[&[u8]]| Features::of(vendors).natt;
    assert_eq!(natt(&[&NATT_DRAFT_02, &NATT_DRAFT_03]), Some(NatT::Draft03));
    assert_eq!(natt(&[&NATT_RFC, &NATT_DRAFT_02_N]), Some(NatT::Rfc));
    assert_eq!(natt(&[&NATT_DRAFT_02_N]), Some(NatT::Draft02));
    assert_eq!(natt(&[&NATT_RFC[..15], &[]]), None);
    let own: Vec<Vec<u8>> = ours();
    let own: Vec<&[u8]> = own.iter().map(|v| &v[..]).collect();
    assert_eq!(Features::of(&own), Features { natt: Some(NatT::Rfc), dpd: true, fragmentation: true });
    assert_eq!(NatT::Draft02.encap(Mode::Transport).number(), 61444);
    assert_eq!(NatT::Draft03.encap(Mode::Tunnel).number(), 61443);
    assert_eq!(NatT::Rfc.encap(Mode::Transport).number(), 4);
}
