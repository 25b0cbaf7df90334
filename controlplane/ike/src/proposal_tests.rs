use super::*;

#[test]
fn notation_round_trips() {
    for text in [
        "aes256gcm16-prfsha384-x25519",
        "aes128-sha256-prfsha256-modp2048",
        "aes256gcm16-prfsha512-ecp384-ke1_mlkem768",
    ] {
        let p: IkeProposal = text.parse().unwrap();
        let (suite, _) = IkeProposal::choose(std::slice::from_ref(&p), &[p.offer(1, &[])], None).unwrap();
        assert_eq!(suite.to_string(), text);
        assert!(p.allows(&suite));
    }
    for text in [
        "aes128gcm16-esn",
        "null-sha256-noesn",
        "aes256gmac-noesn",
        "aes128-sha1-ecp256-noesn",
        "aes256gcm16-ecp256-ke1_mlkem768-noesn",
    ] {
        let p: EspProposal = text.parse().unwrap();
        let (suite, _) =
            EspProposal::choose(std::slice::from_ref(&p), &[p.offer(1, 999, Some(19))], None, true).unwrap();
        assert_eq!(suite.to_string(), text);
        assert!(p.allows(&suite, true));
    }
}

#[test]
fn policy_refuses_what_rfc_8221_and_8247_forbid() {
    for text in [
        "des-sha1-modp2048",
        "aes256gcm16-sha256-prfsha256-x25519",
        "aes256-prfsha256-x25519",
        "aes256-sha256-modp1024",
    ] {
        assert!(text.parse::<IkeProposal>().is_err(), "{text}");
    }
    let lonely = ["aes256gcm16-mlkem768", "aes256gcm16-none-x25519-mlkem768"];
    for text in ["null", "aes128gcm16-sha256", "aes128", "aes128gcm16-aes128-sha256"].into_iter().chain(lonely) {
        assert!(text.parse::<EspProposal>().is_err(), "{text}");
    }
}

#[test]
fn our_order_wins_but_the_guessed_group_is_kept() {
    let ours: IkeProposal = "aes256gcm16-aes128gcm16-prfsha256-x25519-ecp256".parse().unwrap();
    let theirs: IkeProposal = "aes128gcm16-aes256gcm16-prfsha256-ecp256-x25519".parse().unwrap();
    let (suite, _) = IkeProposal::choose(std::slice::from_ref(&ours), &[theirs.offer(1, &[])], Some(19)).unwrap();
    assert_eq!((suite.encr.1, suite.ke), (256, 19));
    let (suite, _) = IkeProposal::choose(&[ours], &[theirs.offer(1, &[])], Some(14)).unwrap();
    assert_eq!(suite.ke, 31);
}

#[test]
fn an_unknown_transform_type_or_attribute_refuses_the_proposal() {
    let p = EspProposal::default();
    let mut offer = p.offer(1, 256, None);
    offer.transforms.push(Transform::new(77, 3));
    assert!(EspProposal::choose(std::slice::from_ref(&p), &[offer], None, false).is_none());
    let mut offer = p.offer(1, 256, None);
    offer.transforms.iter_mut().for_each(|t| t.unknown_attribute = t.kind == tt::ENCR);
    assert!(EspProposal::choose(&[p], &[offer], None, false).is_none());
}

#[test]
fn key_exchanges_play_no_part_in_ike_auth() {
    let p: EspProposal = "aes256gcm16-x25519-mlkem768".parse().unwrap();
    let offer = p.offer(1, 256, Some(31));
    assert!(offer.transforms.contains(&Transform::new(tt::ADDKE1, 36)));
    let (suite, _) = EspProposal::choose(std::slice::from_ref(&p), std::slice::from_ref(&offer), None, false).unwrap();
    assert_eq!((suite.ke, suite.addke1), (None, None));
    let (suite, _) = EspProposal::choose(&[p], std::slice::from_ref(&offer), Some(31), true).unwrap();
    assert_eq!((suite.ke, suite.addke1), (Some(31), Some(36)));
    // Whoever has no additional key exchange refuses an offer that insists on one.
    assert!(EspProposal::choose(&EspProposal::defaults(), &[offer], Some(31), true).is_none());
}
