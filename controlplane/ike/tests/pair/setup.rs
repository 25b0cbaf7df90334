//! Setting up: bad links, cookies, key exchange methods, NATs, fragmentation, ML-KEM, and everything that is refused.

use super::net::*;
use ike::auth::{IdMatch, LocalAuth, RemoteAuth};
use ike::*;
use std::sync::Arc;

pub fn ends(change: impl Fn(usize, &mut PadEntry)) -> Net {
    let [a, b] = [A, B].map(|side| {
        let mut e = entry(side);
        change(side, &mut e);
        config(e)
    });
    Net::new(a, b, 7)
}

#[test]
fn bad_links() {
    for seed in 0..40 {
        let mut net = Net::plain(seed);
        net.bad_link();
        let net = net.up();
        assert!(net.sides[B].auth_failures().is_empty());
        assert_eq!(net.ends[B].half_open(), 0, "seed {seed}");
    }
}

#[test]
fn cookie_under_load() {
    let mut b = config(entry(B));
    b.limits.cookie_threshold = 0;
    let net = Net::new(config(entry(A)), b, 3).up();
    assert_eq!(net.ends[B].stats().cookies_sent, 1);
    assert_eq!(net.log.len(), 6);
}

#[test]
fn half_open_limit_and_lifetime() {
    let mut b = config(entry(B));
    b.limits.max_half_open = 1;
    let mut net = Net::new(config(entry(A)), b, 3);
    net.connect();
    let request = net.log[0].1.clone();
    let from = |n: u8| Meta { local: (addr(B), 500).into(), remote: ([192, 0, 2, n], 500).into() };
    net.inject(B, from(1), &request);
    assert_eq!(net.ends[B].half_open(), 1);
    net.inject(B, from(2), &request);
    assert_eq!(net.ends[B].stats().half_open_dropped, 1);
    net.cut = true;
    net.run(120);
    assert_eq!(net.ends[B].half_open(), 0);
    assert!(net.sides[B].events.is_empty());
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::Timeout)]);
    assert_eq!(net.ends[A].poll_timeout(), None);
    assert_eq!(net.ends[B].poll_timeout(), None);
}

// A request that is dropped for want of time is taken when it comes again.
#[test]
fn new_sas_per_second() {
    let mut b = config(entry(B));
    b.limits.new_per_second = 1;
    let mut net = Net::new(config(entry(A)), b, 3);
    net.connect();
    let request = net.log[0].1.clone();
    let from = |n: u8| Meta { local: (addr(B), 500).into(), remote: ([192, 0, 2, n], 500).into() };
    net.inject(B, from(1), &request);
    assert_eq!((net.ends[B].half_open(), net.ends[B].stats().init_limited), (1, 0));
    net.inject(B, from(2), &request);
    assert_eq!((net.ends[B].half_open(), net.ends[B].stats().init_limited), (1, 1));
    net.run(20);
    assert!(net.ends[B].stats().init_limited > 1);
    assert_eq!(net.sides[A].peer_up().1, net.sides[B].peer_up().1);
}

#[test]
fn invalid_ke_payload() {
    let net = ends(|side, e| {
        if side == B {
            e.ike_proposals = vec!["aes128gcm16-prfsha384-ecp384".parse().unwrap()];
        }
    });
    let net = net.up();
    assert_eq!(net.sides[A].peer_up().1, "aes128gcm16-prfsha384-ecp384");
    assert_eq!(net.log.len(), 6);
}

#[test]
fn every_ike_suite() {
    for encr in ["aes128gcm16", "aes256gcm16", "aes128-sha1", "aes256-sha256", "aes128-sha384", "aes256-sha512"] {
        for ke in ["modp2048", "ecp256", "ecp384", "x25519"] {
            let net = ends(|_, e| e.ike_proposals = vec![format!("{encr}-prfsha512-{ke}").parse().unwrap()]).up();
            assert_eq!(net.sides[A].peer_up().1, format!("{encr}-prfsha512-{ke}"));
        }
    }
}

#[test]
fn every_esp_suite() {
    for (esp, encr, integ) in [
        ("aes128gcm16-esn", 20, 0),
        ("aes256gcm16-noesn", 36, 0),
        ("aes128-sha1-noesn", 16, 20),
        ("aes256-sha256-esn", 32, 32),
        ("chacha20poly1305-noesn", 36, 0),
        ("null-sha256-noesn", 0, 32),
        ("aes128gmac-noesn", 20, 0),
        ("aes256gmac-esn", 36, 0),
    ] {
        let mut net = ends(|_, e| e.child.esp_proposals = vec![esp.parse().unwrap()]);
        // With NULL encryption both directions' (empty) cipher keys are equal.
        net.check = encr != 0;
        let child = net.up().sides[A].child();
        assert_eq!(child.suite.to_string(), esp);
        assert_eq!((child.inbound.encr.len(), child.inbound.integ.len()), (encr, integ));
        assert_eq!((child.outbound.encr.len(), child.outbound.integ.len()), (encr, integ));
    }
}

#[test]
fn tunnel_mode() {
    let range = |a: &str, b: &str| TsPattern {
        protocol: 0,
        ports: (0, 65535),
        addresses: TsAddress::Range(a.parse().unwrap(), b.parse().unwrap()),
    };
    let net = ends(|side, e| {
        e.child.mode = Mode::Tunnel;
        let (a, b) = (range("10.1.0.0", "10.1.255.255"), range("10.2.0.0", "10.2.0.255"));
        (e.child.local_ts, e.child.remote_ts) =
            if side == A { (vec![a], vec![range("0.0.0.0", "255.255.255.255")]) } else { (vec![b], vec![a]) };
    });
    let net = net.up();
    let child = net.sides[A].child();
    assert_eq!(child.mode, Mode::Tunnel);
    assert_eq!(child.remote_ts[0].addresses, ("10.2.0.0".parse().unwrap(), "10.2.0.255".parse().unwrap()));
    assert_eq!(net.sides[B].child().local_ts, child.remote_ts);
}

#[test]
fn behind_a_nat() {
    let mut net = Net::plain(5);
    let public = [203, 0, 113, 7].into();
    net.nat = Some(Nat { public, shift: 10_000 });
    let mut net = net.up();
    assert!(net.sides[A].peer_up().0 && net.sides[B].peer_up().0);
    let (a, b) = (net.sides[A].child(), net.sides[B].child());
    assert!(a.encap && b.encap);
    assert_eq!((a.local.port(), a.remote.port()), (4500, 4500));
    assert_eq!(b.remote, (public, 14_500).into());
    // RFC 7296, section 2.23.1: each end sees the addresses that its packets carry.
    assert_eq!(b.remote_ts, [TrafficSelector::host(17, (1701, 1701), public)]);
    assert_eq!(a.local_ts, [TrafficSelector::host(17, (1701, 1701), addr(A))]);
    net.run(65);
    assert!(net.keepalives[A] >= 5, "{}", net.keepalives[A]);
    // The NAT forgets its binding; an authentic request from the new one moves the peer.
    net.nat = Some(Nat { public, shift: 20_000 });
    let child = net.sides[A].child().spi_in;
    net.ends[A].rekey_child(net.now, child).unwrap();
    net.run(5);
    net.settled();
    assert!(
        net.sides[B].events.iter().any(|e| matches!(e, Event::PeerMoved { remote, .. } if remote.port() == 24_500))
    );
    // Rekeyed from behind the NAT and from in front of it.
    let child = net.sides[B].child().spi_in;
    net.ends[B].rekey_child(net.now, child).unwrap();
    net.run(5);
    net.settled();
    assert_eq!(net.sides[B].child().remote_ts, b.remote_ts);
}

#[test]
fn behind_nats_at_both_ends() {
    let (front, public) = ([198, 51, 100, 99].into(), [203, 0, 113, 7].into());
    let mut net = Net::plain(6);
    (net.front, net.nat) = (Some(front), Some(Nat { public, shift: 10_000 }));
    let mut net = net.up();
    assert_eq!(net.sides[A].child().remote, (front, 4500).into());
    // It is followed, whoever has rekeyed the IKE SA: it has found us.
    for (side, shift) in [(A, 20_000), (B, 30_000)] {
        rekey_ike(&mut net, side);
        net.run(20);
        net.nat = Some(Nat { public, shift });
        rekey_child(&mut net, A);
        net.run(20);
        net.settled();
        assert_eq!(net.sides[B].moves().last(), Some(&((public, 4500 + shift).into(), true)));
    }
}

#[test]
fn forced_encapsulation() {
    let net = ends(|side, e| e.force_encap = side == A).up();
    assert!(net.sides[A].child().encap && net.sides[B].child().encap);
    assert_eq!(net.sides[B].child().remote.port(), 4500);
    assert_eq!(net.sides[B].child().remote_ts, net.sides[A].child().local_ts);
}

#[test]
fn ml_kem() {
    for bad in [false, true] {
        let mut net = ends(|_, e| e.mlkem = true);
        if bad {
            net.bad_link();
        }
        let net = net.up();
        assert_eq!(net.sides[A].peer_up().1, "aes256gcm16-prfsha256-x25519-ke1_mlkem768");
        // 1184 octets of encapsulation key in fragments of 576.
        assert!(net.largest <= 576 - 28 - 4, "{bad} {}", net.largest);
    }
    for one in [A, B] {
        let net = ends(|side, e| e.mlkem = side == one).up();
        assert_eq!(net.sides[A].peer_up().1, "aes256gcm16-prfsha256-x25519");
    }
}

fn authority() -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Test CA");
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

pub fn certificates(names: [&str; 2], change: impl Fn(usize, &mut PadEntry)) -> Net {
    let (ca, ca_key) = authority();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Test CA");
    let issuer = rcgen::Issuer::new(params, ca_key);
    let mut net = ends(|side, e| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![names[side].to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a name long enough to make the message grow");
        let cert = params.signed_by(&key, &issuer).unwrap();
        e.local_auth = LocalAuth::certificate(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        e.remote_auth = RemoteAuth::certificate(ca.pem().as_bytes(), &[]).unwrap();
        if side == B {
            e.remote = IdMatch::Any;
        }
        change(side, e);
    });
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for end in &mut net.ends {
        end.set_clock(net.start, unix);
    }
    net
}

#[test]
fn certificates_and_fragmentation() {
    for bad in [false, true] {
        let mut net = certificates(["client.example.net", "gateway.example.net"], |_, _| ());
        if bad {
            net.bad_link();
        }
        let net = net.up();
        assert!(net.largest <= 576 - 28 - 4);
        assert_eq!(net.sides[B].peers.values().next(), Some(&id(A)));
    }
}

#[test]
fn a_certificate_proves_its_own_name_only() {
    // H22: a valid certificate of somebody else.
    let mut net = certificates(["other.example.net", "gateway.example.net"], |_, _| ());
    net.connect();
    net.run(60);
    assert!(matches!(net.sides[B].auth_failures()[..], [Failure::Authentication(_)]));
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::RefusedByPeer)]);
    // And of a false gateway: the initiator refuses, and the responder learns it.
    let mut net = certificates(["client.example.net", "other.example.net"], |_, _| ());
    net.check = false;
    net.connect();
    net.run(60);
    assert!(matches!(net.sides[A].downs()[..], [DownReason::Failed(Failure::Authentication(_))]));
    assert_eq!(net.sides[B].downs(), [DownReason::Failed(Failure::RefusedByPeer)]);
}

#[test]
fn wrong_psk_and_wrong_identity() {
    let mut net = ends(|side, e| {
        if side == A {
            e.local_auth = LocalAuth::psk(b"something else");
        }
    });
    net.connect();
    net.run(60);
    assert!(matches!(net.sides[B].auth_failures()[..], [Failure::Authentication(_)]));
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::RefusedByPeer)]);
    for (end, side) in net.ends.iter().zip(&net.sides) {
        assert_eq!(end.sas().count(), 0);
        assert_eq!(end.poll_timeout(), None);
        assert!(side.peers.is_empty());
    }
    let mut net = ends(|side, e| {
        if side == A {
            e.local_id = "stranger.example.net".parse().unwrap();
        }
    });
    net.connect();
    net.run(60);
    assert_eq!(net.sides[B].auth_failures(), [Failure::UnknownIdentity]);
    // The responder is not who we expect: IDr does not match any of its entries.
    let mut net = ends(|side, e| {
        if side == B {
            e.local_id = "other.example.net".parse().unwrap();
        }
    });
    net.connect();
    net.run(60);
    assert_eq!(net.sides[B].auth_failures(), [Failure::UnknownIdentity]);
}

#[test]
fn no_proposal() {
    let mut net = ends(|side, e| {
        let text = if side == A { "aes256gcm16-prfsha256-x25519" } else { "aes128gcm16-prfsha256-x25519" };
        e.ike_proposals = vec![text.parse().unwrap()];
    });
    net.connect();
    net.run(60);
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::NoProposal)]);
    assert_eq!(net.ends[B].stats().init_refused, 1);
    assert!(net.sides[B].events.is_empty());
}

#[test]
fn an_entry_gets_its_own_algorithms_only() {
    // Before IDi is known the responder accepts what any entry allows; the entry found must allow it too.
    let mut weak = entry(B);
    weak.name = "weak".to_owned();
    weak.remote = IdMatch::Exact("weak.example.net".parse().unwrap());
    weak.ike_proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    let mut b = config(entry(B));
    Arc::make_mut(&mut b.pad[0]).ike_proposals = vec!["aes256gcm16-prfsha256-x25519".parse().unwrap()];
    b.pad.push(Arc::new(weak));
    let mut a = config(entry(A));
    Arc::make_mut(&mut a.pad[0]).ike_proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    let mut net = Net::new(a, b, 9);
    net.connect();
    net.run(60);
    assert_eq!(net.sides[B].auth_failures(), [Failure::NoProposal]);
}

#[test]
fn a_refused_child_keeps_the_ike_sa() {
    // Section 1.2: no proposal in common, and no selectors in common.
    let esp: fn(usize, &mut PadEntry) = |side, e| {
        e.child.esp_proposals = vec![if side == A { "aes128gcm16" } else { "aes256gcm16" }.parse().unwrap()];
    };
    let ts: fn(usize, &mut PadEntry) = |side, e| {
        if side == B {
            e.child.local_ts[0].ports = (1, 2);
        }
    };
    for change in [esp, ts] {
        let mut net = ends(change);
        net.connect();
        net.run(30);
        for (end, side) in net.ends.iter().zip(&net.sides) {
            assert_eq!(side.peers.len(), 1);
            assert!(side.children.is_empty());
            let refused = |e: &Event| matches!(e, Event::ChildDown { reason: ChildDownReason::Refused(_), .. });
            assert!(side.events.iter().any(refused), "{:?}", side.events);
            assert_eq!(end.sas().count(), 1);
        }
    }
}

#[test]
fn a_declined_transport_mode_is_not_accepted() {
    let mut net = ends(|side, e| {
        if side == B {
            e.child.mode = Mode::Tunnel;
        }
    });
    net.check = false;
    net.connect();
    net.run(30);
    // The responder made a tunnel; the initiator deletes it.
    assert!(net.sides[A].children.is_empty() && net.sides[B].children.is_empty());
    assert_eq!(net.sides[A].peers.len(), 1);
}

#[test]
fn a_psk_for_many_is_refused() {
    let mut e = entry(B);
    e.remote = "*@example.net".parse().unwrap();
    let config = Config { pad: vec![Arc::new(e)], ..Config::default() };
    assert!(config.validate().unwrap_err().to_string().contains("H46"));
}

#[test]
fn after_ml_kem_either_end_repeats_its_answers() {
    for side in [A, B] {
        let mut net = ends(|_, e| e.mlkem = true).up();
        net.lose = |_, m| m[19] & 0x20 != 0;
        let spi = net.sides[side].child().spi_in;
        net.ends[side].rekey_child(net.now, spi).unwrap();
        net.run(1);
        net.lose = |_, _| false;
        net.run(10);
        net.settled();
        assert_eq!(net.sides[side].child().replaces, Some(spi));
    }
}

#[test]
fn distinguished_names() {
    // The client's configuration spells the gateway's name in another way than the gateway does.
    let net = ends(|side, e| {
        let names = ["CN=client, O=Example", "CN=gateway, O=Example"];
        let seen = ["CN=Client,O=Example", "CN=gateway,O=example"];
        e.local_id = names[side].parse().unwrap();
        e.remote = seen[1 - side].parse().unwrap();
    })
    .up();
    assert_eq!(net.sides[B].peers.values().next().unwrap().to_string(), "CN=client,O=Example");
}
