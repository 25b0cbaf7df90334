//! IKEv1: set-up, NATs, rekeying, deletion, dead peers, many behind one NAT; and what is refused.

use super::net::*;
use ike::auth::{IdMatch, RemoteAuth};
use ike::v1::Listener;
use ike::v1::proposal::{Phase1, Weak, esp_defaults, parse_esp};
use ike::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const ALL: [Weak; 3] = [Weak::Sha1, Weak::Modp1024, Weak::TripleDes];

fn listener(side: usize, weak: &[Weak]) -> Listener {
    let (proposals, esp) = (Phase1::defaults(weak), esp_defaults(weak));
    Listener { local: addr(side), proposals, esp, sha256_96: false, legacy: None }
}

pub fn v1(side: usize, entry: PadEntry) -> Config {
    Config { v1: vec![listener(side, &[])], ..config(entry) }
}

pub fn plain(seed: u64) -> Net {
    Net::new(v1(A, entry(A)), v1(B, entry(B)), seed)
}

pub fn connect(net: &mut Net) -> PeerHandle {
    let (local, remote) = (SocketAddr::new(addr(A), 500), SocketAddr::new(net.front.unwrap_or(addr(B)), 500));
    let peer = net.ends[A].initiate_v1(net.now, "peer", local, remote).unwrap();
    net.flush();
    peer
}

pub fn up(mut net: Net) -> Net {
    connect(&mut net);
    net.run(60);
    net.settled();
    net
}

#[test]
fn connects_and_agrees() {
    let net = up(plain(1));
    assert_eq!(net.log.len(), 9);
    assert!(!net.sides[B].peer_up().0);
    assert_eq!(net.sides[A].peer_up().1, net.sides[B].peer_up().1);
    let child = net.sides[B].child();
    assert_eq!((child.mode, child.encap), (Mode::Transport, false));
    assert_eq!(child.local_ts, [TrafficSelector::host(17, (1701, 1701), addr(B))]);
    assert_eq!(child.remote_ts, [TrafficSelector::host(17, (1701, 1701), addr(A))]);
    let info = net.ends[B].sas().next().unwrap();
    assert_eq!((info.version, info.weak.len(), info.remote_id), (1, 0, Some(id(A))));
}

#[test]
fn bad_links() {
    for seed in 0..40 {
        let mut net = plain(seed);
        net.bad_link();
        let net = up(net);
        assert!(net.sides[B].auth_failures().is_empty());
        assert_eq!(net.ends[B].half_open(), 0, "seed {seed}");
    }
}

#[test]
fn every_suite() {
    for encr in ["aes128", "aes256", "3des"] {
        for hash in ["sha1", "sha256", "sha384", "sha512"] {
            for group in ["modp1024", "modp2048", "ecp256", "ecp384"] {
                let text = format!("{encr}-{hash}-{group}");
                let [a, b] = [A, B].map(|side| {
                    let mut config = v1(side, entry(side));
                    config.v1[0].proposals = vec![text.parse().unwrap()];
                    config.v1[0].esp = esp_defaults(&ALL);
                    config
                });
                let net = up(Net::new(a, b, 5));
                assert_eq!(net.sides[B].peer_up().1, text);
                let weak = net.ends[B].sas().next().unwrap().weak;
                assert_eq!(
                    weak.len(),
                    usize::from(encr == "3des") + usize::from(hash == "sha1") + usize::from(group == "modp1024")
                );
            }
        }
    }
}

#[test]
fn weak_algorithms_have_to_be_named() {
    let mut a = v1(A, entry(A));
    a.v1[0].proposals = vec!["3des-sha1-modp1024".parse().unwrap()];
    let mut net = Net::new(a, v1(B, entry(B)), 2);
    connect(&mut net);
    net.run(120);
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::Timeout)]);
    assert!(net.ends[B].stats().v1_refused.proposal > 0);
    assert_eq!(net.ends[B].half_open(), 0);
}

#[test]
fn it_is_off_unless_a_listener_has_it() {
    let mut net = Net::new(v1(A, entry(A)), config(entry(B)), 2);
    connect(&mut net);
    net.run(120);
    assert!(net.log.iter().all(|(from, _)| *from == A), "no answer");
    assert_eq!(net.ends[B].stats().v1_refused.off, net.log.len() as u64);
    assert_eq!(net.sides[A].downs(), [DownReason::Failed(Failure::Timeout)]);
    // IKEv2 is on nevertheless.
    net.connect();
    net.run(10);
    assert_eq!(net.sides[B].peers.len(), 1);
}

#[test]
fn aggressive_mode_is_refused() {
    let mut net = plain(3);
    connect(&mut net);
    let mut first = net.log[0].1.clone();
    first[18] = 4;
    let before = net.log.len();
    net.inject(B, Meta { local: (addr(B), 500).into(), remote: ([192, 0, 2, 7], 500).into() }, &first);
    assert_eq!((net.log.len(), net.ends[B].stats().v1_refused.aggressive), (before, 1));
}

#[test]
fn a_wrong_secret_or_identity_is_refused() {
    type Change = fn(&mut PadEntry);
    let secret: Change =
        |e| (e.remote_auth, e.local_auth) = (RemoteAuth::psk(b"other"), auth::LocalAuth::psk(b"other"));
    let identity: Change = |e| e.local_id = "somebody.example.net".parse().unwrap();
    for (change, id_known) in [(secret, false), (identity, true)] {
        let mut a = entry(A);
        change(&mut a);
        let mut net = Net::new(v1(A, a), v1(B, entry(B)), 2);
        connect(&mut net);
        net.run(200);
        assert!(net.sides[A].peers.is_empty() && net.sides[B].peers.is_empty());
        let failures = net.sides[B].auth_failures();
        assert!(!failures.is_empty());
        assert_eq!(failures.contains(&Failure::UnknownIdentity), id_known, "{failures:?}");
        assert_eq!((net.ends[A].poll_timeout(), net.ends[B].poll_timeout()), (None, None));
    }
}

/// Each peer has a secret of its own, whatever address it comes from.
#[test]
fn the_secret_that_fits_says_who_it_is() {
    let mut b = v1(B, entry(B));
    for n in 0..20 {
        let mut other = entry(B);
        other.name = format!("other{n}");
        other.remote = IdMatch::Exact(format!("other{n}.example.net").parse().unwrap());
        other.remote_auth = RemoteAuth::psk(format!("secret {n}").as_bytes());
        other.local_auth = auth::LocalAuth::psk(format!("secret {n}").as_bytes());
        b.pad.insert(0, Arc::new(other));
    }
    let net = up(Net::new(v1(A, entry(A)), b, 4));
    assert_eq!(net.ends[B].sas().next().unwrap().pad.as_deref(), Some("peer"));
}

#[test]
fn a_shared_secret_is_an_entry_of_its_own() {
    let mut b = v1(B, entry(B));
    let shared = PadEntry { name: "shared".into(), remote: IdMatch::Any, ..entry(B) };
    b.v1[0].legacy = Some(Arc::new(shared));
    b.pad.clear();
    let net = up(Net::new(v1(A, entry(A)), b, 4));
    let info = net.ends[B].sas().next().unwrap();
    assert_eq!(info.pad.as_deref(), Some("shared"));
}

#[test]
fn behind_a_nat() {
    for forced in [false, true] {
        let mut a = entry(A);
        a.force_encap = forced;
        let mut net = Net::new(v1(A, a), v1(B, entry(B)), 5);
        net.nat = (!forced).then_some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
        let net = up(net);
        assert!(net.sides[B].peer_up().0);
        let (a, b) = (net.sides[A].child(), net.sides[B].child());
        assert!(a.encap && b.encap);
        let outer = if forced { SocketAddr::new(addr(A), 4500) } else { ([203, 0, 113, 9], 24_500).into() };
        assert_eq!((b.remote, b.local.port()), (outer, 4500));
        assert_eq!(b.remote_ts, [TrafficSelector::host(17, (1701, 1701), outer.ip())]);
        assert_eq!(b.local_ts, [TrafficSelector::host(17, (1701, 1701), addr(B))]);
    }
}

/// Message 4 goes to whoever has sent message 3: what one peer's entry wants is not for another.
#[test]
fn a_responder_claims_no_nat() {
    let mut b = v1(B, PadEntry { force_encap: true, ..entry(B) });
    b.pad.push(Arc::new(PadEntry { name: "other".into(), ..PadEntry::clone(&b.pad[0]) }));
    let net = up(Net::new(v1(A, entry(A)), b, 21));
    assert!(!net.sides[A].child().encap && !net.sides[B].child().encap);
}

/// The types of the payloads of a message in the clear.
fn types(message: &[u8]) -> Vec<u8> {
    let (mut next, mut at, mut types) = (message[16], 28, Vec::new());
    while next != 0 {
        types.push(next);
        next = message[at];
        at += usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
    }
    types
}

/// Puts other octets in the place of vendor ids of the first message, and gives it to the responder.
pub fn without(net: &mut Net, ids: &[[u8; 16]]) {
    net.lose = |side, data| side == A && data[8..16] == [0; 8];
    connect(net);
    net.lose = |_, _| false;
    let mut first = net.log[0].1.clone();
    for id in ids {
        let at = first.windows(16).position(|octets| octets == id).unwrap();
        first[at..at + 16].fill(0x5a);
    }
    let remote = net.nat.map_or((addr(A), 500).into(), |nat| (nat.public, 500 + nat.shift).into());
    net.inject(B, Meta { local: (addr(B), 500).into(), remote }, &first);
}

/// Windows XP and others of its age have NAT traversal by a draft only, with payload numbers of its own.
#[test]
fn drafts_of_nat_traversal() {
    use ike::v1::vendor::{NATT_DRAFT_02, NATT_DRAFT_02_N, NATT_DRAFT_03, NATT_RFC};
    const NAT_D: u8 = 20;
    const DRAFT: u8 = 130;
    let all = [NATT_RFC, NATT_DRAFT_03, NATT_DRAFT_02_N, NATT_DRAFT_02];
    for newest in 0..4 {
        let mut net = plain(22);
        net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
        without(&mut net, &all[..newest]);
        net.run(5);
        let numbers = |side: usize| {
            let ke = net.log.iter().find(|(from, data)| *from == side && data[16] == 4).unwrap();
            types(&ke.1).into_iter().filter(|kind| [NAT_D, DRAFT].contains(kind)).collect::<Vec<_>>()
        };
        let expected = if newest == 0 { NAT_D } else { DRAFT };
        assert_eq!((numbers(A), numbers(B)), (vec![expected; 2], vec![expected; 2]), "{newest}");
        // The responder says which one it has chosen, and no other.
        let second = &net.log.iter().find(|(from, _)| *from == B).unwrap().1;
        let said = all.iter().filter(|id| second.windows(16).any(|octets| octets == &id[..])).count();
        assert_eq!(said, if newest < 2 { 1 } else { 2 }, "the second draft has two names");
        net.settled();
        let (a, b) = (net.sides[A].child(), net.sides[B].child());
        assert!(a.encap && b.encap);
        assert_eq!((b.remote, b.local.port()), (([203, 0, 113, 9], 24_500).into(), 4500));
    }
}

/// Perfect forward secrecy, where the first proposal has a group.
#[test]
fn quick_mode_with_a_key_exchange() {
    let mut plain = 0;
    for (group, id, octets) in [("none", None, 0), ("modp2048", Some(14), 256), ("ecp256", Some(19), 64)] {
        let [a, b] = [A, B].map(|side| {
            let mut config = v1(side, entry(side));
            config.v1[0].esp = vec![parse_esp(&format!("aes256gcm16-{group}")).unwrap()];
            // In one datagram.
            config.fragment_size = (1500, 1500);
            config
        });
        let mut net = up(Net::new(a, b, 23));
        assert_eq!((net.sides[A].child().suite.ke, net.sides[B].child().suite.ke), (id, id));
        let first = net.log.iter().find(|(side, data)| *side == A && data[18] == 32).unwrap().1.len();
        plain = if octets == 0 { first } else { plain };
        assert!((first - plain).abs_diff(octets) < 32, "{first}");
        let old = net.sides[A].child().spi_in;
        rekey_child(&mut net, A);
        net.run(200);
        net.settled();
        assert_ne!(net.sides[A].child().spi_in, old);
        assert_eq!(net.sides[B].child().suite.ke, id);
    }
}

#[test]
fn a_nat_rebinds() {
    let mut net = plain(6);
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
    let mut net = up(net);
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 30_000 });
    rekey_child(&mut net, A);
    net.run(200);
    assert_eq!(net.sides[B].moves(), [(([203, 0, 113, 9], 34_500).into(), true)]);
    net.settled();
    let peer = net.sides[B].peer();
    net.ends[B].peer_moved(net.now, peer, ([203, 0, 113, 9], 40_000).into());
    net.flush();
    assert_eq!(net.sides[B].moves().len(), 2);
}

/// A client that changes its port between the phases (RFC 3947, section 4: as late as that).
#[test]
fn a_client_that_floats_late() {
    let mut net = plain(15);
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
    net.lose = |side, data| side == A && data[18] == 32;
    connect(&mut net);
    net.run(1);
    assert!(net.sides[B].children.is_empty());
    let (_, first) = net.log.iter().find(|(side, data)| *side == A && data[18] == 32).unwrap().clone();
    let elsewhere = SocketAddr::from(([203, 0, 113, 9], 24_999));
    net.check = false;
    net.inject(B, Meta { local: (addr(B), 4500).into(), remote: elsewhere }, &first);
    let child = net.sides[B].child();
    assert_eq!((child.remote, child.encap), (elsewhere, true));
    assert_eq!(net.sides[B].moves(), [(elsewhere, true)]);
    assert_eq!(net.sides[B].downs().len(), 0);
}

#[test]
fn nats_at_both_ends() {
    let mut net = plain(7);
    net.front = Some([198, 51, 100, 99].into());
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 20_000 });
    let mut net = up(net);
    let (a, b) = (net.sides[A].child(), net.sides[B].child());
    assert!(a.encap && b.encap);
    assert_eq!(b.local_ts, [TrafficSelector::host(17, (1701, 1701), addr(B))]);
    assert_eq!(a.remote, ([198, 51, 100, 99], 4500).into());
    net.nat = Some(Nat { public: [203, 0, 113, 9].into(), shift: 30_000 });
    rekey_child(&mut net, A);
    net.run(200);
    assert_eq!(net.sides[B].moves(), [(([203, 0, 113, 9], 34_500).into(), true)]);
    net.settled();
}

#[test]
fn rekeys_of_both_phases_from_both_sides() {
    for seed in 0..20 {
        let mut net = up(plain(seed));
        // Deletions are not acknowledged, and no packets tell which pair is in use.
        net.check = false;
        rekey_everything(&mut net, seed);
        net.run(30);
        for side in [A, B] {
            assert_eq!(net.sides[side].peers.len(), 1, "seed {seed}: {:?}", net.sides[side].downs());
        }
        // An SA that the other end has lost is found out, and another one takes its place.
        for _ in 0..3 {
            rekey_child(&mut net, A);
            net.run(300);
        }
        let (a, b) = (&net.sides[A], &net.sides[B]);
        let (sends_a, sends_b) =
            (&a.children[a.selected.values().next().unwrap()], &b.children[b.selected.values().next().unwrap()]);
        assert_eq!((sends_a.spi_out, sends_a.spi_in), (sends_b.spi_in, sends_b.spi_out), "seed {seed}");
    }
}

#[test]
fn lifetimes_are_kept() {
    let life = |side| {
        let mut e = entry(side);
        e.child.rekey_after = Some(Duration::from_secs(600));
        e.ike_rekey_after = Some(Duration::from_secs(1500));
        e
    };
    let mut net = up(Net::new(v1(A, life(A)), v1(B, life(B)), 8));
    for _ in 0..20 {
        net.run(300);
        assert_eq!((net.sides[A].peers.len(), net.sides[B].peers.len()), (1, 1), "{:?}", net.sides[A].downs());
        assert!(net.sides[A].children.len() <= 4 && net.sides[B].children.len() <= 4);
    }
    let spis = |side: usize| net.sides[side].spis.lock().unwrap().out.len();
    assert_eq!((spis(A), spis(B)), (net.sides[A].children.len(), net.sides[B].children.len()));
}

#[test]
fn one_end_closes() {
    for side in [A, B] {
        let mut net = up(plain(9));
        // The end is announced, not agreed on.
        net.check = false;
        let peer = net.sides[side].peer();
        net.ends[side].close(net.now, peer).unwrap();
        net.run(10);
        assert_eq!(net.sides[side].downs(), [DownReason::Closed]);
        assert_eq!(net.sides[1 - side].downs(), [DownReason::Deleted]);
        for side in [A, B] {
            assert!(net.sides[side].spis.lock().unwrap().out.is_empty());
            assert_eq!((net.ends[side].poll_timeout(), net.ends[side].sas().count()), (None, 0));
        }
    }
}

#[test]
fn a_dead_peer_is_noticed() {
    let with_dpd = |side| PadEntry { dpd_delay: Some(Duration::from_secs(30)), ..entry(side) };
    let mut net = up(Net::new(v1(A, with_dpd(A)), v1(B, with_dpd(B)), 10));
    net.run(600);
    assert!(net.sides[A].downs().is_empty() && net.sides[B].downs().is_empty());
    (net.cut, net.check) = (true, false);
    net.run(200);
    assert_eq!((net.sides[A].downs(), net.sides[B].downs()), (vec![DownReason::Dead], vec![DownReason::Dead]));
}

/// Ends with certificates that name these.
pub fn certified(names: [&str; 2]) -> [Config; 2] {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut p = rcgen::CertificateParams::default();
    p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(p, ca_key).unwrap();
    [A, B].map(|side| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(vec![names[side].to_owned()]).unwrap();
        let cert = params.signed_by(&key, &ca).unwrap();
        let mut e = entry(side);
        e.local_auth = auth::LocalAuth::certificate(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        e.remote_auth = RemoteAuth::certificate(ca.pem().as_bytes(), &[]).unwrap();
        v1(side, e)
    })
}

/// They know what time it is.
pub fn with_clocks([a, b]: [Config; 2], seed: u64) -> Net {
    let mut net = Net::new(a, b, seed);
    for end in &mut net.ends {
        end.set_clock(net.start, Duration::from_secs(1_767_225_600));
    }
    net
}

#[test]
fn certificates_in_fragments() {
    for names in [["client.example.net", "gateway.example.net"], ["other.example.net", "gateway.example.net"]] {
        let mut net = with_clocks(certified(names), 14);
        net.duplicate = 30;
        connect(&mut net);
        net.run(60);
        if names[A] == "client.example.net" {
            net.settled();
            assert!(net.log.iter().any(|(_, d)| d[16] == 132), "there are fragments");
            assert!(net.log.iter().all(|(_, d)| d.len() <= 576 - 32 || d[16] == 1), "the first message has none");
        } else {
            // H22: a valid certificate of somebody else.
            assert!(net.sides.iter().all(|s| s.peers.is_empty()));
            assert!(matches!(net.sides[B].auth_failures()[..], [Failure::Authentication(_)]));
        }
    }
}

/// A client that starts anew says INITIAL-CONTACT, and its old self is gone at once.
#[test]
fn a_client_that_restarts_replaces_itself() {
    let mut net = up(plain(11));
    let old = net.sides[B].peer();
    net.restart(A, v1(A, entry(A)), 77);
    connect(&mut net);
    net.run(20);
    assert_eq!(net.sides[B].peers.len(), 1);
    let new = net.sides[B].peer();
    assert_ne!(new, old);
    assert_eq!(net.sides[B].downs(), [DownReason::Replaced(new)]);
    net.sides.iter().for_each(Side::no_spi_is_lost);
}

/// The last message of quick mode is lost: the first packet shows that the client has the pair.
#[test]
fn a_packet_does_for_the_last_message_of_quick_mode() {
    let mut net = plain(12);
    net.check = false;
    connect(&mut net);
    while net.sides[B].children.is_empty() {
        net.run_ms(10);
    }
    net.cut = true;
    assert!(net.sides[B].selected.is_empty());
    let spi_in = net.sides[B].child().spi_in;
    net.ends[B].child_used(net.now, spi_in);
    net.flush();
    assert_eq!(net.sides[B].selected.values().collect::<Vec<_>>(), [&spi_in]);
    // It is in use, whatever becomes of that message.
    net.run(200);
    assert_eq!(net.sides[B].child().spi_in, spi_in);
}

/// The pair that an exchange was to make has been deleted when the exchange is given up.
#[test]
fn a_pair_deleted_under_its_exchange_gives_its_spi_back_once() {
    let mut net = plain(16);
    net.check = false;
    // Quick mode's third message, which is the only one of that length.
    net.lose = |side, data| side == A && data[18] == 32 && data.len() < 100;
    connect(&mut net);
    net.run(5);
    let (a, b) = (net.sides[A].child(), net.sides[B].child());
    assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
    let peer = net.sides[A].peer();
    net.ends[A].close(net.now, peer).unwrap();
    net.run(300);
    assert!(net.sides[B].spis.lock().unwrap().out.is_empty());
    assert_eq!(net.ends[B].poll_timeout(), None);
}

#[test]
fn a_peer_has_so_many_isakmp_sas() {
    let mut net = up(plain(18));
    for _ in 0..10 {
        rekey_ike(&mut net, A);
        net.run(2);
    }
    let peers: Vec<_> = net.ends.iter().map(|end| end.sas().count()).collect();
    assert_eq!(peers, [1, 1]);
    let deleted = net.log.iter().filter(|(side, data)| *side == B && data[18] == 5).count();
    assert_eq!(deleted, 7, "eleven, less four");
    rekey_child(&mut net, A);
    net.run(200);
    net.settled();
}

/// The limit at which IKEv2 demands cookies is not IKEv1's, which has none.
#[test]
fn it_is_not_shut_by_the_cookie_threshold() {
    let mut b = v1(B, entry(B));
    b.limits.cookie_threshold = 0;
    let net = up(Net::new(v1(A, entry(A)), b, 19));
    assert_eq!(net.ends[B].half_open(), 0);
}

/// Who answers at a peer's address when the gateway makes a new ISAKMP SA is not the peer for that.
#[test]
fn a_stranger_at_the_peers_address_is_not_the_peer() {
    let shared = PadEntry { remote: IdMatch::Any, ..entry(B) };
    let mut b = Config { v1: vec![listener(B, &[])], ..config(entry(B)) };
    (b.v1[0].legacy, b.pad) = (Some(Arc::new(shared)), Vec::new());
    let mut net = up(Net::new(v1(A, entry(A)), b, 17));
    let stranger = PadEntry { local_id: "stranger.example.net".parse().unwrap(), ..entry(A) };
    net.check = false;
    net.restart(A, v1(A, stranger), 99);
    let (peer, before) = (net.sides[B].peer(), net.ends[B].sas().next().unwrap().spi_i);
    net.ends[B].rekey_ike(net.now, peer).unwrap();
    net.run(20);
    let info = net.ends[B].sas().find(|info| info.peer == peer).unwrap();
    assert_eq!((info.spi_i, info.remote_id), (before, Some(id(A))));
}

#[test]
fn nothing_comes_of_repetitions_and_noise() {
    let mut net = up(plain(13));
    let log = net.log.clone();
    let meta = |to: usize| {
        let port = |side: usize| SocketAddr::new(addr(side), 500);
        Meta { local: port(to), remote: port(1 - to) }
    };
    for (from, data) in &log {
        net.inject(1 - from, meta(1 - from), data);
        for at in 0..data.len() {
            let mut bad = data.clone();
            bad[at] ^= 0x40;
            net.inject(1 - from, meta(1 - from), &bad);
            net.inject(1 - from, meta(1 - from), &data[..at]);
        }
    }
    net.run(60);
    net.settled();
    assert!(net.sides.iter().all(|s| s.downs().is_empty() && s.auth_failures().is_empty()));
}
