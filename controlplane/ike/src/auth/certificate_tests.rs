use super::*;
use crate::auth::{LocalAuth, RemoteAuth, signed_octets};
use crate::crypto::Prf;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use std::time::Duration;

type Ca = CertifiedIssuer<'static, KeyPair>;

// 2026-01-01.
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600))
}

fn params(year: i32) -> CertificateParams {
    let mut p = CertificateParams::default();
    p.not_before = date_time_ymd(2020, 1, 1);
    p.not_after = date_time_ymd(year, 1, 1);
    p
}

fn ca_params() -> CertificateParams {
    let mut p = params(2040);
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    p
}

fn ca() -> Ca {
    CertifiedIssuer::self_signed(ca_params(), KeyPair::generate().unwrap()).unwrap()
}

struct Leaf {
    pem: String,
    key: String,
}

fn leaf(ca: &Ca, alg: &'static SignatureAlgorithm, change: impl Fn(&mut CertificateParams)) -> Leaf {
    let key = KeyPair::generate_for(alg).unwrap();
    let mut p = params(2040);
    p.serial_number = Some(SerialNumber::from(vec![42]));
    p.subject_alt_names = vec![
        SanType::Rfc822Name("alice@example.net".try_into().unwrap()),
        SanType::DnsName("alice.example.net".try_into().unwrap()),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
    ];
    change(&mut p);
    let cert = p.signed_by(&key, ca).unwrap();
    Leaf { pem: cert.pem(), key: key.serialize_pem() }
}

fn trust(ca: &Ca, crls: &[Vec<u8>]) -> RemoteAuth {
    RemoteAuth::certificate(ca.pem().as_bytes(), crls).unwrap()
}

fn prove(leaf: &Leaf, remote: &RemoteAuth, id: &str, hashes: &[u16], more: &[Vec<u8>]) -> Result<(), AuthError> {
    let local = LocalAuth::certificate(leaf.pem.as_bytes(), leaf.key.as_bytes())?;
    let id: Identity = id.parse().unwrap();
    let octets = signed_octets(b"message", b"nonce", Prf::HmacSha256, b"sk_p", &id.body(), &[]);
    let (kind, data) = local.authenticate(Prf::HmacSha256, &octets, hashes)?.unwrap();
    let certs = [local.chain(), more].concat();
    let verify = |o: &[u8], d: &[u8]| remote.verify(Prf::HmacSha256, o, (kind, d), &id, &certs, now());
    assert!(verify(b"other octets", &data).is_err());
    let mut bent = data.clone();
    *bent.last_mut().unwrap() ^= 1;
    assert!(verify(&octets, &bent).is_err());
    verify(&octets, &data)
}

#[test]
fn every_key_type_proves_its_identities() {
    let ca = ca();
    let remote = trust(&ca, &[]);
    for alg in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let l = leaf(&ca, alg, |_| {});
        for id in ["alice@example.net", "alice@EXAMPLE.net", "alice.example.net", "192.0.2.7"] {
            assert_eq!(prove(&l, &remote, id, &hash::OURS, &[]), Ok(()), "{id}");
        }
    }
    // Without SIGNATURE_HASH_ALGORITHMS, ECDSA falls back to RFC 4754's methods; Ed25519 has none.
    assert_eq!(prove(&leaf(&ca, &PKCS_ECDSA_P256_SHA256, |_| {}), &remote, "alice@example.net", &[], &[]), Ok(()));
    assert_eq!(prove(&leaf(&ca, &PKCS_ECDSA_P384_SHA384, |_| {}), &remote, "alice@example.net", &[], &[]), Ok(()));
    let ed = leaf(&ca, &PKCS_ED25519, |_| {});
    assert_eq!(prove(&ed, &remote, "alice@example.net", &[], &[]), Err(AuthError::Algorithm));
}

// H22: a valid certificate for one cannot claim to be another.
#[test]
fn a_certificate_proves_no_other_identity() {
    let ca = ca();
    let l = leaf(&ca, &PKCS_ECDSA_P256_SHA256, |_| {});
    for id in ["bob@example.net", "bob.example.net", "example.net", "192.0.2.8", "2001:db8::7", "keyid:00"] {
        assert!(matches!(prove(&l, &trust(&ca, &[]), id, &hash::OURS, &[]), Err(AuthError::Identity(_))), "{id}");
    }
}

#[test]
fn chains() {
    let root = ca();
    let middle_key = KeyPair::generate().unwrap();
    let middle = CertifiedIssuer::signed_by(ca_params(), middle_key, &root).unwrap();
    let l = leaf(&middle, &PKCS_ECDSA_P256_SHA256, |_| {});
    let remote = trust(&root, &[]);
    assert!(matches!(prove(&l, &remote, "alice@example.net", &hash::OURS, &[]), Err(AuthError::Untrusted(_))));
    let middle = middle.der().to_vec();
    assert_eq!(prove(&l, &remote, "alice@example.net", &hash::OURS, &[middle]), Ok(()));
    let stranger = trust(&ca(), &[]);
    assert!(matches!(prove(&l, &stranger, "alice@example.net", &hash::OURS, &[]), Err(AuthError::Untrusted(_))));
}

#[test]
fn time_usage_and_revocation() {
    let ca = ca();
    let refused = |l: &Leaf, r: &RemoteAuth| {
        matches!(prove(l, r, "alice@example.net", &hash::OURS, &[]), Err(AuthError::Untrusted(_)))
    };
    let old = leaf(&ca, &PKCS_ECDSA_P256_SHA256, |p| p.not_after = date_time_ymd(2025, 1, 1));
    assert!(refused(&old, &trust(&ca, &[])));
    let usage = |u: ExtendedKeyUsagePurpose| {
        leaf(&ca, &PKCS_ECDSA_P256_SHA256, move |p| p.extended_key_usages = vec![u.clone()])
    };
    assert!(refused(&usage(ExtendedKeyUsagePurpose::CodeSigning), &trust(&ca, &[])));
    for good in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]),
    ] {
        assert!(!refused(&usage(good), &trust(&ca, &[])));
    }
    let crl = |until| CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(vec![42]),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let pem = |until| crl(until).signed_by(&ca).unwrap().pem().unwrap().into_bytes();
    let good = leaf(&ca, &PKCS_ECDSA_P256_SHA256, |p| p.serial_number = Some(SerialNumber::from(vec![43])));
    let revoked = leaf(&ca, &PKCS_ECDSA_P256_SHA256, |_| {});
    let judged = |l: &Leaf, lists: &[Vec<u8>], strict: bool| {
        let trust = Trust::from_pem(ca.pem().as_bytes(), lists).unwrap().strict_crl(strict);
        prove(l, &RemoteAuth::Certificate(trust.into()), "alice@example.net", &hash::OURS, &[])
    };
    let (current, stale, none) = ([pem(2030)], [pem(2025)], []);
    let mut other = ca_params();
    other.distinguished_name.push(DnType::CommonName, "another authority");
    let other = CertifiedIssuer::self_signed(other, KeyPair::generate().unwrap()).unwrap();
    let foreign = [crl(2030).signed_by(&other).unwrap().pem().unwrap().into_bytes()];
    for strict in [false, true] {
        assert_eq!(judged(&good, &current, strict), Ok(()));
        assert_eq!(judged(&revoked, &current, strict), Err(AuthError::Revoked));
        // A list that is out of date is none.
        assert!(matches!(judged(&good, &stale, strict), Err(AuthError::Untrusted(_))));
        // None at all, and none of this issuer.
        for lists in [&none[..], &foreign] {
            let judgement = judged(&good, lists, strict);
            let expected = if strict { matches!(judgement, Err(AuthError::Untrusted(_))) } else { judgement.is_ok() };
            assert!(expected, "{strict} {judgement:?}");
        }
        assert!(judged(&revoked, &stale, strict).is_err());
    }
}

#[test]
fn a_key_that_is_not_for_signatures_proves_nothing() {
    let ca = ca();
    let usage = |u: &[KeyUsagePurpose]| {
        let l = leaf(&ca, &PKCS_ECDSA_P256_SHA256, |p| p.key_usages = u.to_vec());
        prove(&l, &trust(&ca, &[]), "alice@example.net", &hash::OURS, &[])
    };
    let (sign, commit) = (KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment);
    for good in [&[][..], &[sign], &[commit], &[KeyUsagePurpose::KeyAgreement, sign]] {
        assert_eq!(usage(good), Ok(()), "{good:?}");
    }
    for bad in [KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::DataEncipherment] {
        assert!(matches!(usage(&[bad]), Err(AuthError::Untrusted(_))), "{bad:?}");
    }
}

// RFC 8247, section 3.2: method 1 is RSA with SHA-1.
#[test]
fn rsa_digital_signature_is_refused() {
    let ca = ca();
    let l = leaf(&ca, &PKCS_ECDSA_P256_SHA256, |_| {});
    let local = LocalAuth::certificate(l.pem.as_bytes(), l.key.as_bytes()).unwrap();
    let id = "alice@example.net".parse().unwrap();
    let judgement = trust(&ca, &[]).verify(Prf::HmacSha256, b"octets", (1, &[0; 256]), &id, local.chain(), now());
    assert_eq!(judgement, Err(AuthError::Method(1)));
}

#[test]
fn files_that_do_not_go_together_are_refused() {
    let ca = ca();
    let (a, b) = (leaf(&ca, &PKCS_ECDSA_P256_SHA256, |_| {}), leaf(&ca, &PKCS_ECDSA_P256_SHA256, |_| {}));
    assert!(LocalAuth::certificate(a.pem.as_bytes(), b.key.as_bytes()).is_err());
    assert!(LocalAuth::certificate(b"", a.key.as_bytes()).is_err());
    assert!(LocalAuth::certificate(a.pem.as_bytes(), b"not PEM").is_err());
    assert!(RemoteAuth::certificate(b"", &[]).is_err());
    let hashes = Trust::from_pem(ca.pem().as_bytes(), &[]).unwrap().authority_hashes();
    assert_eq!(hashes.iter().map(Vec::len).collect::<Vec<_>>(), [20]);
}

#[test]
fn a_dn_is_the_subject_by_value() {
    let ca = ca();
    // strongSwan's own certificates have PrintableStrings, OpenSSL's UTF8Strings.
    let subject = |printable: bool| {
        leaf(&ca, &PKCS_ECDSA_P256_SHA256, move |p| {
            let value = |text: &str| match printable {
                true => rcgen::DnValue::PrintableString(text.try_into().unwrap()),
                false => rcgen::DnValue::Utf8String(text.to_owned()),
            };
            p.distinguished_name = rcgen::DistinguishedName::new();
            p.distinguished_name.push(DnType::OrganizationName, value("Example"));
            p.distinguished_name.push(DnType::CommonName, value("gw"));
        })
    };
    for printable in [false, true] {
        let l = subject(printable);
        assert_eq!(prove(&l, &trust(&ca, &[]), "CN=gw, O=Example", &hash::OURS, &[]), Ok(()));
        for id in ["CN=gw2,O=Example", "CN=gw", "O=Example,CN=gw", "gw"] {
            let judgement = prove(&l, &trust(&ca, &[]), id, &hash::OURS, &[]);
            assert!(matches!(judgement, Err(AuthError::Identity(_))), "{id}");
        }
        // What goes on the wire are the certificate's octets.
        let local = LocalAuth::certificate(l.pem.as_bytes(), l.key.as_bytes()).unwrap();
        let own = local.spelled("CN=gw,O=Example".parse().unwrap());
        let tag = if printable { 0x13 } else { 0x0c };
        assert!(own.body().ends_with(&[tag, 2, b'g', b'w']), "{:x?}", own.body());
        let other: Identity = "CN=other,O=Example".parse().unwrap();
        assert_eq!(local.spelled(other.clone()).body(), other.body());
    }
}
