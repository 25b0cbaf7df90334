//! From the configuration file to IKE's own: identities, credentials from their files, proposals, lifetimes.

use crate::config::mesh::Mode;
use crate::config::{Config, Listener, Peer, PeerAuth, Problem};
use ike::auth::{IdMatch, Identity, LocalAuth, RemoteAuth, Trust};
use ike::config::{TsAddress, TsPattern};
use ike::{ChildPolicy, EspProposal, IkeProposal, PadEntry};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A setting that reads well but cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Error {
    path: String,
    message: String,
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        Self::new(e.path, e.message)
    }
}

fn error(path: impl Into<String>, message: impl std::fmt::Display) -> Error {
    Error { path: path.into(), message: message.to_string() }
}

fn read(path: &str, file: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|e| error(path, format!("{file}: {e}")))
}

fn parse<T: FromStr>(path: &str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e| error(path, format!("\"{text}\": {e}")))
}

fn list<T: FromStr>(path: &str, texts: &[String], defaults: fn() -> Vec<T>) -> Result<Vec<T>, Error>
where
    T::Err: std::fmt::Display,
{
    if texts.is_empty() {
        return Ok(defaults());
    }
    texts.iter().enumerate().map(|(i, t)| parse(&format!("{path}[{i}]"), t)).collect()
}

/// A number for what is in the files that it names: another one, and [`build`] makes something else of it.
pub fn files(config: &Config) -> u64 {
    let mut hasher = DefaultHasher::new();
    let own = config.ike.certificate.iter().flat_map(|c| [&c.chain, &c.key]);
    own.for_each(|file| std::fs::read(file).ok().hash(&mut hasher));
    for p in config.ike.peers.iter().filter(|p| p.ca.is_some() || !p.crl.is_empty()) {
        (&p.name, p.crl.len()).hash(&mut hasher);
        p.ca.iter().chain(&p.crl).for_each(|file| std::fs::read(file).ok().hash(&mut hasher));
    }
    hasher.finish()
}

/// Builds and validates IKE's configuration; reads the certificate files it names.
pub fn build(config: &Config) -> Result<ike::Config, Error> {
    let k = &config.ike;
    let proposals: Vec<IkeProposal> = list("ike.proposals", &k.proposals, IkeProposal::defaults)?;
    let esp: Vec<EspProposal> = list("ike.esp_proposals", &k.esp_proposals, EspProposal::defaults)?;
    let own = k.certificate.as_ref().map(|c| {
        let (chain, key) = (read("ike.certificate.chain", &c.chain)?, read("ike.certificate.key", &c.key)?);
        LocalAuth::certificate(&chain, &key).map_err(|e| error("ike.certificate", e))
    });
    let own = own.transpose()?;
    let mut pad = Vec::new();
    for (i, peer) in k.peers.iter().enumerate() {
        pad.push(Arc::new(entry(&format!("ike.peers[{i}]"), config, peer, own.as_ref(), &proposals, &esp)?));
    }
    let usable = pad.is_empty() || pad.iter().any(|entry| ike::v1::usable(entry));
    let lonely = |l: &&Listener| l.ikev1.as_ref().is_some_and(|v1| v1.shared_secret.is_none());
    if let Some(l) = config.listeners.iter().find(lonely).filter(|_| !usable) {
        let i = config.listeners.iter().position(|other| other.name == l.name).unwrap_or_default();
        let why = "nobody in ike.peers can come: IKEv1 takes a pre-shared key at both ends, or certificates where ours is of RSA";
        return Err(error(format!("listeners[{i}].ikev1"), why));
    }
    let v1 = config.listeners.iter().enumerate().filter_map(|(i, l)| v1_listener(config, i, l).transpose());
    let mut result = ike::Config { pad, v1: v1.collect::<Result<_, _>>()?, ..ike::Config::default() };
    result.limits.cookie_threshold = k.cookie_threshold;
    result.timers.tries = tries(result.timers.retransmit, k.dead_after);
    result.validate().map_err(|e| error("ike.peers", e))?;
    Ok(result)
}

/// IKEv1 on a listener, where it is on.
fn v1_listener(config: &Config, index: usize, l: &Listener) -> Result<Option<ike::v1::Listener>, Error> {
    let Some(v1) = &l.ikev1 else { return Ok(None) };
    let wrong = |(key, message): (String, String)| error(format!("listeners[{index}].ikev1.{key}"), message);
    let (proposals, esp) = (v1.phase1().map_err(wrong)?, v1.esp().map_err(wrong)?);
    let k = &config.ike;
    let legacy = v1.shared_secret.as_ref().map(|shared| {
        Arc::new(PadEntry {
            name: l.shared_secret_entry(),
            remote: IdMatch::Any,
            remote_auth: RemoteAuth::psk(shared.secret.bytes()),
            // Such clients know the gateway by its address.
            local_id: Identity::Address(l.address),
            local_auth: LocalAuth::psk(shared.secret.bytes()),
            ike_proposals: Vec::new(),
            child: ChildPolicy {
                esp_proposals: esp.clone(),
                rekey_after: Some(k.child_rekey),
                ..ChildPolicy::l2tp(true)
            },
            ike_rekey_after: Some(k.rekey),
            dpd_delay: Some(k.dpd),
            mlkem: false,
            force_encap: false,
            mobike: false,
            return_routability: true,
        })
    });
    Ok(Some(ike::v1::Listener { local: l.address, proposals, esp, sha256_96: v1.sha256_96, legacy }))
}

// Transmissions that take about `total` when the interval grows by 1.8 each time.
fn tries(first: Duration, total: Duration) -> u32 {
    let (mut sum, mut interval, mut n) = (Duration::ZERO, first, 0);
    while sum < total && n < 20 {
        sum += interval;
        interval = interval.mul_f64(1.8);
        n += 1;
    }
    n.max(1)
}

fn entry(
    path: &str,
    config: &Config,
    peer: &Peer,
    own: Option<&LocalAuth>,
    proposals: &[IkeProposal],
    esp: &[EspProposal],
) -> Result<PadEntry, Error> {
    let k = &config.ike;
    let psk = || peer.psk.as_ref().ok_or_else(|| error(format!("{path}.psk"), "missing"));
    let remote_auth = match peer.auth {
        PeerAuth::Psk => RemoteAuth::psk(psk()?.bytes()),
        PeerAuth::Certificate => {
            let ca = peer.ca.as_deref().ok_or_else(|| error(format!("{path}.ca"), "missing"))?;
            let crls = peer.crl.iter().map(|f| read(&format!("{path}.crl"), f)).collect::<Result<Vec<_>, _>>()?;
            let trust = Trust::from_pem(&read(&format!("{path}.ca"), ca)?, &crls);
            let trust = trust.map_err(|e| error(format!("{path}.ca"), e))?;
            RemoteAuth::Certificate(Arc::new(trust.strict_crl(peer.strict_crl)))
        }
        PeerAuth::Eap => RemoteAuth::Eap,
    };
    let local_auth = match peer.proves_us() {
        PeerAuth::Psk => LocalAuth::psk(psk()?.bytes()),
        PeerAuth::Certificate => own.cloned().ok_or_else(|| error("ike.certificate", "missing"))?,
        PeerAuth::Eap => LocalAuth::Eap,
    };
    let profile = peer.softwire.as_deref().and_then(|name| config.mesh.profile(name));
    let identity = match profile.and_then(|f| f.identity.as_deref()) {
        Some(identity) => identity,
        None => k.identity.as_deref().ok_or_else(|| error("ike.identity", "missing"))?,
    };
    Ok(PadEntry {
        name: peer.name.clone(),
        remote: parse::<IdMatch>(&format!("{path}.id"), &peer.id)?,
        remote_auth,
        local_id: local_auth.spelled(parse::<Identity>("ike.identity", identity)?),
        local_auth,
        ike_proposals: proposals.to_vec(),
        child: child(config, peer, esp)?,
        ike_rekey_after: Some(k.rekey),
        dpd_delay: Some(k.dpd),
        mlkem: k.mlkem,
        force_encap: false,
        // A softwire is a pair of addresses: an AFBR does not move.
        mobike: peer.mobike && peer.softwire.is_none() && !peer.bgp,
        return_routability: true,
    })
}

/// What a peer's child SA carries: L2TP of a softwire initiator (H52), or IP in IP and BGP of an AFBR (M17, M26).
fn child(config: &Config, peer: &Peer, esp: &[EspProposal]) -> Result<ChildPolicy, Error> {
    let profile = match &peer.softwire {
        Some(name) => {
            let found = config.mesh.profile(name);
            Some(found.ok_or_else(|| error("mesh.profiles", format!("no \"{name}\"")))?)
        }
        None => None,
    };
    let rekey_after = Some(profile.and_then(|f| f.rekey).unwrap_or(config.ike.child_rekey));
    let mut esp_proposals = match profile {
        Some(f) => list(&format!("mesh.profiles.{}.esp_proposals", f.name), &f.esp_proposals, Vec::new)?,
        None => Vec::new(),
    };
    if esp_proposals.is_empty() {
        esp_proposals = esp.to_vec();
    }
    let pattern = |protocol, addresses| TsPattern { protocol, ports: (0, u16::MAX), addresses };
    let protocols: &[u8] = match (profile, peer.bgp) {
        (None, false) => return Ok(ChildPolicy { esp_proposals, rekey_after, ..ChildPolicy::l2tp(true) }),
        (None, true) => &[TCP],
        (Some(_), false) => &[IPIP, IPV6],
        (Some(_), true) => &[IPIP, IPV6, TCP],
    };
    let (mode, ts) = match profile.map(|f| f.mode) {
        Some(Mode::Tunnel) => (ike::Mode::Tunnel, vec![pattern(0, TsAddress::Any)]),
        _ => (ike::Mode::Transport, protocols.iter().map(|p| pattern(*p, TsAddress::Endpoint)).collect()),
    };
    let workers = u32::try_from(config.dataplane.workers.len()).unwrap_or_default();
    let resources = if profile.is_some_and(|f| f.per_worker) { workers } else { 0 };
    Ok(ChildPolicy { mode, esp_proposals, local_ts: ts.clone(), remote_ts: ts, rekey_after, resources })
}

/// BGP's, whichever side's port is 179.
const TCP: u8 = 6;
/// IPv4 and IPv6 in IP.
const IPIP: u8 = 4;
const IPV6: u8 = 41;

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(ike: &str) -> Result<ike::Config, Error> {
        let text = format!(
            "ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
             listeners: [{{ name: l, address: 192.0.2.1 }}]\n\
             ike: {{ identity: gw.example.net, {ike} peers: [{{ name: p, id: p@example.net, auth: psk, psk: k }}] }}\n"
        );
        build(&Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}")))
    }

    #[test]
    fn one_entry_with_the_l2tp_policy() {
        let c = yaml("").unwrap();
        assert_eq!(c.pad.len(), 1);
        assert_eq!(c.pad[0].local_id.to_string(), "gw.example.net");
        assert_eq!(c.pad[0].child.local_ts[0].ports, (1701, 1701));
        assert_eq!(c.pad[0].child.remote_ts[0].ports, (0, u16::MAX));
    }

    #[test]
    fn distinguished_names() {
        let text = |identity: &str, id: &str| {
            format!(
                "ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
                 listeners: [{{ name: l, address: 192.0.2.1 }}]\n\
                 ike: {{ identity: \"{identity}\", peers: [{{ name: p, id: \"{id}\", auth: psk, psk: k }}] }}\n"
            )
        };
        let built = |identity, id| build(&Config::from_yaml("t", &text(identity, id)).unwrap());
        let c = built("CN=gw, O=Example", "CN=p, O=Example").unwrap();
        assert_eq!(c.pad[0].local_id.to_string(), "CN=gw,O=Example");
        assert_eq!(c.pad[0].remote, "CN=p,O=EXAMPLE".parse().unwrap());
        let e = built("gw", "CN=p, Example").unwrap_err();
        assert!(e.to_string().starts_with("ike.peers[0].id: \"CN=p, Example\""), "{e}");
    }

    #[test]
    fn bad_proposals_name_their_path() {
        let e = yaml("proposals: [aes128gcm16-prfsha256-x25519, des-md5-modp768],").unwrap_err();
        assert!(e.to_string().starts_with("ike.proposals[1]: \"des-md5-modp768\""), "{e}");
    }

    #[test]
    fn ikev1_is_off_unless_a_listener_has_it() {
        assert!(yaml("").unwrap().v1.is_empty());
        let text = "ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24, 192.0.2.2/24] }]\n\
                    listeners:\n- { name: l, address: 192.0.2.1 }\n\
                    - { name: m, address: 192.0.2.2, ikev1: { weak: [sha1], sha256_96: true, shared_secret: { secret: k } } }\n\
                    ike: { identity: gw.example.net, child_rekey: 10m, \
                    peers: [{ name: p, id: p@example.net, auth: psk, psk: o }] }\n";
        let c = build(&Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}"))).unwrap();
        let [v1] = &c.v1[..] else { panic!("{:?}", c.v1) };
        assert_eq!((v1.local.to_string().as_str(), v1.sha256_96), ("192.0.2.2", true));
        let shared = v1.legacy.as_ref().unwrap();
        assert_eq!((shared.name.as_str(), shared.local_id.to_string().as_str()), ("m/shared-secret", "192.0.2.2"));
        assert_eq!(shared.child.rekey_after, Some(Duration::from_secs(600)));
        assert_eq!(shared.child.local_ts[0].ports, (1701, 1701));
        // IKEv2 never sees it.
        assert!(c.pad.iter().all(|entry| entry.remote != IdMatch::Any));
        assert!(!format!("{c:?}").contains("\"k\""));
    }

    #[test]
    fn a_listener_for_ikev1_has_somebody_who_can_come() {
        let dir = std::env::temp_dir().join(format!("ikev1-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["gw.example.net".to_owned()]).unwrap();
        let file = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (chain, key) = (file("gw.pem", made.cert.pem()), file("gw.key", made.signing_key.serialize_pem()));
        let built = |peers: &str, more: &str| {
            let text = format!(
                "ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
                 listeners: [{{ name: l, address: 192.0.2.1, ikev1: {{ {more} }} }}]\n\
                 ike: {{ identity: gw.example.net, certificate: {{ chain: {chain}, key: {key} }}, peers: [{peers}] }}\n"
            );
            build(&Config::from_yaml("t", &text).unwrap_or_else(|e| panic!("{e}")))
        };
        // Our key is one of ECDSA, which does not sign in IKEv1.
        let certificate = format!("{{ name: c, id: c@example.net, auth: certificate, ca: {chain} }}");
        let e = built(&certificate, "").unwrap_err().to_string();
        assert!(e.starts_with("listeners[0].ikev1: nobody in ike.peers can come"), "{e}");
        let psk = "{ name: p, id: p@example.net, auth: psk, local_auth: psk, psk: o }";
        for (peers, more) in [(format!("{certificate}, {psk}"), ""), (certificate, "shared_secret: { secret: k }")] {
            assert!(built(&peers, more).is_ok(), "{peers} {more}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn tries_cover_the_time() {
        assert_eq!(tries(Duration::from_secs(2), Duration::from_secs(1)), 1);
        let n = tries(Duration::from_secs(2), Duration::from_secs(60));
        assert!((5..=7).contains(&n), "{n}");
    }
}
