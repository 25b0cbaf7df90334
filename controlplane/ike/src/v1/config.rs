//! Where IKEv1 is spoken, and with what.

use super::proposal::{Method, Phase1};
use crate::auth::{LocalAuth, RemoteAuth};
use crate::config::PadEntry;
use crate::proposal::EspProposal;
use std::net::IpAddr;
use std::sync::Arc;

/// One of our addresses at which IKEv1 is answered. Entries of the PAD with a key or a certificate may be used there
/// with IKEv1 as well.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub local: IpAddr,
    /// Algorithms of phase 1 in order of preference.
    pub proposals: Vec<Phase1>,
    /// Algorithms of ESP in order of preference.
    pub esp: Vec<EspProposal>,
    /// HMAC-SHA2-256 of ESP is truncated to 96 bits, as a draft of RFC 4868 had it.
    pub sha256_96: bool,
    /// For whoever proves to have the shared secret of the listener and is no entry of the PAD (a legacy override, H46).
    pub legacy: Option<Arc<PadEntry>>,
}

/// Method by which a PAD entry authenticates both ends; none with EAP, or where each end has another.
pub(crate) fn method(pad: &PadEntry) -> Option<Method> {
    match (&pad.remote_auth, &pad.local_auth) {
        (RemoteAuth::Psk(_), LocalAuth::Psk(_)) => Some(Method::Psk),
        (RemoteAuth::Certificate(_), LocalAuth::Certificate(own)) if own.signs_raw() => Some(Method::RsaSig),
        _ => None,
    }
}

/// Whether IKEv1 can be spoken with a PAD entry: both ends have the pre-shared key, or both a certificate, and ours is
/// one of RSA, since nothing else signs there.
pub fn usable(pad: &PadEntry) -> bool {
    method(pad).is_some()
}

/// What of the PAD is of use here.
#[derive(Debug)]
pub(crate) struct Usable {
    /// Methods of authentication, the better one first.
    pub methods: Vec<Method>,
    /// The entries with a pre-shared key.
    pub secrets: Vec<Arc<PadEntry>>,
}

impl Usable {
    pub fn of(pad: &[Arc<PadEntry>]) -> Self {
        let is = |wanted: &Method| pad.iter().any(|pad| method(pad) == Some(*wanted));
        let secrets = pad.iter().filter(|pad| method(pad) == Some(Method::Psk));
        Self {
            methods: [Method::RsaSig, Method::Psk].into_iter().filter(is).collect(),
            secrets: secrets.cloned().collect(),
        }
    }
}

/// IKEv1 messages that were refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// To an address at which IKEv1 is off.
    pub off: u64,
    /// Aggressive mode (H46).
    pub aggressive: u64,
    /// Another exchange that we do not speak.
    pub exchange: u64,
    /// No proposal was acceptable.
    pub proposal: u64,
    /// For IKE SAs that do not exist.
    pub unknown_cookie: u64,
    /// Malformed, not authentic, or not for the state of its SA.
    pub invalid: u64,
    /// Too many SAs were half open: this one was refused, or the oldest of which nothing more had come made room.
    pub half_open: u64,
    /// Put off, since as many pre-shared keys as may be have been tried ([`crate::Limits::v1_secrets_per_second`]), or
    /// are being tried on another message of the same SA.
    pub secrets: u64,
}

impl Refused {
    /// All reasons with their names in metrics.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("off", self.off),
            ("aggressive", self.aggressive),
            ("exchange", self.exchange),
            ("proposal", self.proposal),
            ("unknown_cookie", self.unknown_cookie),
            ("invalid", self.invalid),
            ("half_open", self.half_open),
            ("secrets", self.secrets),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::IdMatch;
    use crate::config::ChildPolicy;

    fn certificate(key: &rcgen::KeyPair) -> LocalAuth {
        let params = rcgen::CertificateParams::new(vec!["gateway.example.net".to_owned()]).unwrap();
        let certificate = params.self_signed(key).unwrap();
        LocalAuth::certificate(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    #[test]
    fn entries_that_are_of_use() {
        let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let ec = rcgen::KeyPair::generate().unwrap();
        let (psk, own) = (LocalAuth::psk(b"secret"), RemoteAuth::psk(b"secret"));
        let anchor = rcgen::CertificateParams::default().self_signed(&ec).unwrap();
        let trust = RemoteAuth::certificate(anchor.pem().as_bytes(), &[]).unwrap();
        let entry = |local_auth: &LocalAuth, remote_auth: &RemoteAuth| PadEntry {
            name: "peer".to_owned(),
            remote: IdMatch::Any,
            remote_auth: remote_auth.clone(),
            local_id: "gateway.example.net".parse().unwrap(),
            local_auth: local_auth.clone(),
            ike_proposals: Vec::new(),
            child: ChildPolicy::l2tp(true),
            ike_rekey_after: None,
            dpd_delay: None,
            mlkem: false,
            force_encap: false,
            mobike: false,
            return_routability: true,
        };
        let (rsa, ec) = (certificate(&rsa), certificate(&ec));
        let mut pad = Vec::new();
        for (local, remote, expected) in [
            (&psk, &own, Some(Method::Psk)),
            (&rsa, &trust, Some(Method::RsaSig)),
            (&ec, &trust, None),
            (&psk, &trust, None),
            (&rsa, &own, None),
            (&psk, &RemoteAuth::Eap, None),
            (&LocalAuth::Eap, &own, None),
            (&rsa, &RemoteAuth::Eap, None),
            (&LocalAuth::Eap, &RemoteAuth::Eap, None),
        ] {
            let entry = entry(local, remote);
            assert_eq!((usable(&entry), method(&entry)), (expected.is_some(), expected), "{local:?} {remote:?}");
            pad.push(Arc::new(entry));
        }
        let of = |pad: &[Arc<PadEntry>]| (Usable::of(pad).methods, Usable::of(pad).secrets.len());
        assert_eq!(of(&pad), (vec![Method::RsaSig, Method::Psk], 1));
        assert_eq!(of(&pad[..1]), (vec![Method::Psk], 1));
        assert_eq!(of(&pad[1..]), (vec![Method::RsaSig], 0));
        assert_eq!(of(&pad[2..]), (Vec::new(), 0));
    }
}
