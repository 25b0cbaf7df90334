//! `ike`: what a new IKE SA with its child SA costs the responder, by how both ends prove themselves.
//!
//! The initiators are real, and take no time: only the responder's calls are timed.

use crate::clock::{Clock, spread};
use anyhow::{Context, ensure};
use ike::auth::{IdMatch, LocalAuth, RemoteAuth};
use ike::{ChildPolicy, Endpoint, Event, Meta, PadEntry};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, SignatureAlgorithm};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 9;
const GATEWAY: &str = "gw.example.net";

/// How both ends prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auth {
    Psk,
    EcdsaP256,
    Rsa2048,
}

/// Measures, with `n` initiators in each round.
pub fn run(n: usize) -> anyhow::Result<()> {
    println!("{ROUNDS} rounds of {n} initiators, X25519, AES-GCM-128; responder only, processor time");
    println!("{:<12} {:<12} {:>30}   {:>10}", "", "", "set-ups a second and core", "us each");
    println!("{:<12} {:<12} {:>30}", "", "", "min / median / max");
    for auth in [Auth::Psk, Auth::EcdsaP256, Auth::Rsa2048] {
        for mlkem in [false, true] {
            let bed = Bed::new(auth, mlkem, n)?;
            let rounds = (0..ROUNDS).map(|round| Ok(n as f64 / bed.round(round)?.as_secs_f64()));
            let [least, median, most] = spread(rounds.collect::<anyhow::Result<_>>()?);
            println!(
                "{:<12} {:<12} {least:>8.0} / {median:>8.0} / {most:>8.0}   {:>10.1}",
                format!("{auth:?}"),
                if mlkem { "ML-KEM-768" } else { "" },
                1e6 / median
            );
        }
    }
    Ok(())
}

/// The settings of all ends.
struct Bed {
    responder: Arc<ike::Config>,
    initiators: Vec<Arc<ike::Config>>,
    suite: &'static str,
}

impl Bed {
    fn new(auth: Auth, mlkem: bool, n: usize) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..n).map(|i| format!("u{i}.example.net")).collect();
        let authority = Authority::new(auth)?;
        let (mut pad, mut initiators) = (Vec::new(), Vec::new());
        let ours = authority.prove(GATEWAY, b"")?;
        for (i, name) in names.iter().enumerate() {
            let key = format!("key-{i}");
            let (theirs, expected) = (authority.prove(name, key.as_bytes())?, authority.expect(key.as_bytes())?);
            let entry = entry("gateway", IdMatch::Exact(identity(GATEWAY)?), expected.clone(), name, theirs, mlkem)?;
            initiators.push(Arc::new(ike::Config { pad: vec![Arc::new(entry)], ..ike::Config::default() }));
            let own = if auth == Auth::Psk { LocalAuth::psk(key.as_bytes()) } else { ours.clone() };
            pad.push(Arc::new(entry_of(name, expected, own, mlkem)?));
        }
        let mut responder = ike::Config { pad, ..ike::Config::default() };
        responder.limits.cookie_threshold = usize::MAX;
        let suite = if mlkem { "aes128gcm16-prfsha256-x25519-ke1_mlkem768" } else { "aes128gcm16-prfsha256-x25519" };
        Ok(Self { responder: Arc::new(responder), initiators, suite })
    }

    /// All of them come, one after the other. The responder's time.
    fn round(&self, round: usize) -> anyhow::Result<Duration> {
        let (now, epoch) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
        let mut responder = endpoint(&self.responder, round as u64);
        responder.set_clock(now, epoch);
        let (mut spent, mut up) = (Duration::ZERO, 0);
        for (i, config) in self.initiators.iter().enumerate() {
            let mut initiator = endpoint(config, 1000 + i as u64);
            initiator.set_clock(now, epoch);
            let (here, there) = (SocketAddr::from((GATEWAY_ADDRESS, 500)), address(i));
            initiator.initiate(now, "gateway", there, here)?;
            let mut clock = Clock::start()?;
            while let Some(request) = initiator.poll_transmit() {
                clock.lap()?;
                responder.handle_input(now, Meta { local: here, remote: there }, &request.data);
                let answers: Vec<_> = std::iter::from_fn(|| responder.poll_transmit()).collect();
                spent += clock.lap()?;
                for answer in answers {
                    initiator.handle_input(now, Meta { local: there, remote: here }, &answer.data);
                }
            }
            let events = std::iter::from_fn(|| initiator.poll_event());
            let suites = events.filter_map(|e| if let Event::PeerUp { suite, .. } = e { Some(suite) } else { None });
            let suites: Vec<String> = suites.collect();
            ensure!(suites == [self.suite], "initiator {i}: {suites:?} instead of {}", self.suite);
            up += std::iter::from_fn(|| responder.poll_event()).filter(|e| matches!(e, Event::ChildUp { .. })).count();
        }
        ensure!(up == self.initiators.len(), "{up} of {} child SAs are up", self.initiators.len());
        Ok(spent)
    }
}

const GATEWAY_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn address(i: usize) -> SocketAddr {
    (Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + i as u32), 500).into()
}

fn endpoint(config: &Arc<ike::Config>, seed: u64) -> Endpoint {
    let mut spi = 0x0100_0000_u32;
    let spis = Box::new(move |_, _| {
        spi = spi.checked_add(1)?;
        Some(spi)
    });
    Endpoint::new(Arc::clone(config), Box::new(StdRng::seed_from_u64(seed)), spis)
}

fn identity(text: &str) -> anyhow::Result<ike::auth::Identity> {
    text.parse().map_err(|_| anyhow::anyhow!("no identity: {text}"))
}

fn entry_of(name: &str, expected: RemoteAuth, own: LocalAuth, mlkem: bool) -> anyhow::Result<PadEntry> {
    let child = ChildPolicy::l2tp(true);
    Ok(PadEntry { child, ..entry(name, IdMatch::Exact(identity(name)?), expected, GATEWAY, own, mlkem)? })
}

fn entry(
    name: &str,
    remote: IdMatch,
    remote_auth: RemoteAuth,
    local: &str,
    local_auth: LocalAuth,
    mlkem: bool,
) -> anyhow::Result<PadEntry> {
    let proposal = "aes128gcm16-prfsha256-x25519".parse().map_err(|_| anyhow::anyhow!("proposal"))?;
    Ok(PadEntry {
        name: name.to_owned(),
        remote,
        remote_auth,
        local_id: identity(local)?,
        local_auth,
        ike_proposals: vec![proposal],
        child: ChildPolicy::l2tp(false),
        ike_rekey_after: None,
        dpd_delay: None,
        mlkem,
        force_encap: false,
        mobike: false,
        return_routability: false,
    })
}

/// Who issues certificates; all have one key, since making RSA keys takes long.
enum Authority {
    None,
    Issues(Box<CertifiedIssuer<'static, KeyPair>>, KeyPair),
}

impl Authority {
    fn new(auth: Auth) -> anyhow::Result<Self> {
        let algorithm: &'static SignatureAlgorithm = match auth {
            Auth::Psk => return Ok(Self::None),
            Auth::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Auth::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        };
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm)?)?;
        Ok(Self::Issues(Box::new(issuer), KeyPair::generate_for(algorithm)?))
    }

    fn prove(&self, name: &str, psk: &[u8]) -> anyhow::Result<LocalAuth> {
        let Self::Issues(issuer, key) = self else { return Ok(LocalAuth::psk(psk)) };
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(key, issuer)?;
        LocalAuth::certificate(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).context("certificate")
    }

    fn expect(&self, psk: &[u8]) -> anyhow::Result<RemoteAuth> {
        let Self::Issues(issuer, _) = self else { return Ok(RemoteAuth::psk(psk)) };
        RemoteAuth::certificate(issuer.pem().as_bytes(), &[]).context("trust anchor")
    }
}
