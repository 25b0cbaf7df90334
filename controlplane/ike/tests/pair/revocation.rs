//! Certificates that are revoked while their owner is connected (H24).

use super::net::*;
use ike::auth::{LocalAuth, RemoteAuth, Trust};
use ike::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::sync::Arc;
use std::time::Duration;

type Ca = CertifiedIssuer<'static, KeyPair>;

// 2026-01-01.
const TODAY: Duration = Duration::from_secs(1_767_225_600);

fn ca(parent: Option<&Ca>, serial: u64) -> Ca {
    let mut p = CertificateParams::default();
    p.distinguished_name.push(rcgen::DnType::CommonName, format!("CA {serial}"));
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    p.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().unwrap();
    match parent {
        Some(parent) => CertifiedIssuer::signed_by(p, key, parent).unwrap(),
        None => CertifiedIssuer::self_signed(p, key).unwrap(),
    }
}

fn crl(ca: &Ca, serials: &[u64]) -> Vec<u8> {
    let revoked = |&serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2025, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2030, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(ca).unwrap().pem().unwrap().into_bytes()
}

struct Pki {
    root: Ca,
    middle: Ca,
    b: PadEntry,
}

impl Pki {
    /// The gateway's configuration with these lists.
    fn with(&self, crls: &[Vec<u8>]) -> Arc<Config> {
        let trust = Trust::from_pem(self.root.pem().as_bytes(), crls).unwrap();
        Arc::new(config(PadEntry { remote_auth: RemoteAuth::Certificate(Arc::new(trust)), ..self.b.clone() }))
    }
}

/// Two ends that prove themselves by certificates 100 (the client's) and 101 under an intermediate one, 7.
fn up(change: impl Fn(&mut PadEntry)) -> (Net, Pki) {
    let root = ca(None, 1);
    let middle = ca(Some(&root), 7);
    let ends = [A, B].map(|side| {
        let key = KeyPair::generate().unwrap();
        let mut p = CertificateParams::new(vec![id(side).to_string()]).unwrap();
        p.serial_number = Some(SerialNumber::from(100 + side as u64));
        let chain = [p.signed_by(&key, &middle).unwrap().pem(), middle.pem()].concat();
        let mut e = entry(side);
        e.local_auth = LocalAuth::certificate(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        e.remote_auth = RemoteAuth::certificate(root.pem().as_bytes(), &[]).unwrap();
        change(&mut e);
        e
    });
    let [a, b] = ends;
    let pki = Pki { root, middle, b: b.clone() };
    let mut net = Net::new(config(a), config(b), 3);
    for end in &mut net.ends {
        end.set_clock(net.start, TODAY);
    }
    (net.up(), pki)
}

fn recheck(net: &mut Net, config: Arc<Config>) {
    net.ends[B].set_config(config);
    net.ends[B].recheck(net.now);
}

fn gone(net: &mut Net) {
    net.check = false;
    net.flush();
    // At once, and not when the peer cares to answer.
    assert_eq!(net.sides[B].downs(), [DownReason::Revoked]);
    assert!(net.sides[B].children.is_empty() && net.ends[B].sas().count() == 0);
    net.run(2);
    assert_eq!(net.sides[A].downs(), [DownReason::Deleted]);
    net.run(600);
    assert!(net.ends.iter().all(|e| e.poll_timeout().is_none()));
    net.sides.iter().for_each(Side::no_spi_is_lost);
    assert_eq!(net.sides[B].downs().len(), 1);
    // And it cannot come back.
    net.connect();
    net.run(60);
    assert!(matches!(net.sides[B].auth_failures()[..], [Failure::Authentication(_)]));
}

#[test]
fn a_revoked_peer_is_torn_down() {
    let (mut net, pki) = up(|_| ());
    recheck(&mut net, pki.with(&[crl(&pki.middle, &[100])]));
    gone(&mut net);
    let (mut net, pki) = up(|_| ());
    recheck(&mut net, pki.with(&[crl(&pki.root, &[7])]));
    gone(&mut net);
}

#[test]
fn others_stay() {
    let (mut net, pki) = up(|_| ());
    // Somebody else's certificates, a list of somebody else with the same name, the same list as before.
    for lists in [vec![crl(&pki.middle, &[101, 7]), crl(&pki.root, &[100])], vec![], vec![crl(&ca(None, 7), &[100])]] {
        recheck(&mut net, pki.with(&lists));
        net.run(20);
        net.settled();
    }
    // Without an entry of that name, the old one counts.
    recheck(&mut net, Arc::new(Config::default()));
    net.run(20);
    net.settled();
}

#[test]
fn a_psk_peer_is_not_concerned() {
    let mut net = Net::plain(1).up();
    net.ends[B].set_clock(net.start, TODAY);
    net.ends[B].recheck(net.now);
    net.run(20);
    net.settled();
}

#[test]
fn rekeys_do_not_help() {
    let rekeyed: fn(&mut Net) = |net| {
        let peer = net.sides[A].peer();
        net.ends[A].rekey_ike(net.now, peer).unwrap();
        net.run(5);
    };
    let by_us: fn(&mut Net) = |net| {
        let peer = net.sides[B].peer();
        net.ends[B].rekey_ike(net.now, peer).unwrap();
        net.run_ms(5);
    };
    let by_both: fn(&mut Net) = |net| {
        let peers = [A, B].map(|side| net.sides[side].peer());
        for side in [A, B] {
            net.ends[side].rekey_ike(net.now, peers[side]).unwrap();
        }
        net.run_ms(15);
    };
    let child: fn(&mut Net) = |net| {
        let spi = net.sides[B].child().spi_in;
        net.ends[B].rekey_child(net.now, spi).unwrap();
        net.run_ms(5);
    };
    for mlkem in [false, true] {
        for before in [rekeyed, by_us, by_both, child] {
            let (mut net, pki) = up(|e| e.mlkem = mlkem);
            before(&mut net);
            recheck(&mut net, pki.with(&[crl(&pki.middle, &[100])]));
            net.check = false;
            net.flush();
            assert_eq!(net.sides[B].downs(), [DownReason::Revoked]);
            net.run(900);
            assert_eq!((net.sides[B].downs().len(), net.ends[B].sas().count()), (1, 0));
            assert!(matches!(net.sides[A].downs()[..], [DownReason::Deleted | DownReason::Dead]));
            assert!(net.ends.iter().all(|e| e.poll_timeout().is_none()));
            net.sides.iter().for_each(Side::no_spi_is_lost);
        }
    }
}

#[test]
fn a_revoked_peer_that_does_not_answer_is_down_too() {
    let (mut net, pki) = up(|_| ());
    net.cut = true;
    recheck(&mut net, pki.with(&[crl(&pki.middle, &[100])]));
    net.check = false;
    net.flush();
    assert_eq!(net.sides[B].downs(), [DownReason::Revoked]);
    net.run(600);
    assert_eq!((net.sides[B].downs().len(), net.ends[B].poll_timeout()), (1, None));
}
