//! IKEv1 on a listener, for clients that speak nothing newer. Off where the key is absent.
//!
//! ```yaml
//! listeners:
//!   - name: secure
//!     address: 192.0.2.1
//!     ikev1:
//!       weak: [sha1, modp1024]                 # old algorithms are allowed one by one
//!       shared_secret: { secret: hunter2 }     # for whoever comes: see H46
//! ```
//!
//! Entries of `ike.peers` with a key or a certificate may be used with IKEv1 there as well.

use super::validate::Problems;
use super::{Config, Listener, PeerAuth, Protection, Secret};
use ike::EspProposal;
use ike::v1::proposal::{Phase1, Weak, esp_defaults, esp_weak, parse_esp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// IKEv1 (RFC 2409) on a listener. Entries of `ike.peers` with a key or a certificate may be used with it.
///
/// ```yaml
/// listeners:
///   - name: old-clients
///     address: 192.0.2.7
///     ikev1: { weak: [sha1, modp1024], shared_secret: { secret: one-key-for-all } }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ikev1 {
    /// Proposals of phase 1 in order of preference, like `aes256-sha256-modp2048`; the built-in list, with what `weak`
    /// names, where empty.
    pub proposals: Vec<String>,
    /// ESP proposals in order of preference, like `aes256-sha256`; the built-in list, with what `weak` names, where empty.
    pub esp_proposals: Vec<String>,
    /// Old algorithms that are allowed: `sha1`, `modp1024`, `3des`. No proposal may have one that is not named here.
    pub weak: Vec<String>,
    /// HMAC-SHA2-256 of ESP is truncated to 96 bits instead of 128 (RFC 4868), as old Androids do it.
    pub sha256_96: bool,
    /// One pre-shared key for whoever comes; none where absent. It is a group key, which H46 forbids: a legacy override for
    /// clients that can neither say who they are before they are authenticated nor have a certificate. Whoever knows it can
    /// pose as the gateway to all others.
    pub shared_secret: Option<SharedSecret>,
}

/// A pre-shared key of a whole listener.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedSecret {
    /// The key; no entry of `ike.peers` has the same.
    pub secret: Secret,
}

/// What is wrong: the setting below `ikev1`, and why.
pub type Wrong = (String, String);

impl Ikev1 {
    /// Old algorithms that are allowed.
    pub fn weak(&self) -> Result<Vec<Weak>, Wrong> {
        let read =
            |(i, text): (usize, &String)| text.parse().map_err(|e| (format!("weak[{i}]"), format!("\"{text}\": {e}")));
        self.weak.iter().enumerate().map(read).collect()
    }

    /// Proposals of phase 1.
    pub fn phase1(&self) -> Result<Vec<Phase1>, Wrong> {
        self.list("proposals", &self.proposals, Phase1::defaults, |text| text.parse(), Phase1::weak)
    }

    /// ESP proposals.
    pub fn esp(&self) -> Result<Vec<EspProposal>, Wrong> {
        self.list("esp_proposals", &self.esp_proposals, esp_defaults, parse_esp, esp_weak)
    }

    fn list<T>(
        &self,
        key: &str,
        texts: &[String],
        defaults: fn(&[Weak]) -> Vec<T>,
        parse: fn(&str) -> Result<T, &'static str>,
        weak: fn(&T) -> Vec<Weak>,
    ) -> Result<Vec<T>, Wrong> {
        let allowed = self.weak()?;
        if texts.is_empty() {
            return Ok(defaults(&allowed));
        }
        let read = |(i, text): (usize, &String)| {
            let wrong = |message: &str| (format!("{key}[{i}]"), format!("\"{text}\": {message}"));
            let proposal = parse(text).map_err(wrong)?;
            match weak(&proposal).into_iter().find(|w| !allowed.contains(w)) {
                Some(w) => Err(wrong(&format!("{w} is weak, and allowed only where weak: [{w}] names it"))),
                None => Ok(proposal),
            }
        };
        texts.iter().enumerate().map(read).collect()
    }
}

impl Listener {
    /// The PAD entry of those that have the shared secret.
    pub fn shared_secret_entry(&self) -> String {
        format!("{}/shared-secret", self.name)
    }
}

pub(super) fn check(c: &Config, p: &mut Problems) {
    for (i, l) in c.listeners.iter().enumerate() {
        let Some(v1) = &l.ikev1 else { continue };
        let path = format!("listeners[{i}].ikev1");
        if l.protection == Protection::None {
            p.add(&path, "there is nothing to protect: the listener does without IPsec");
        }
        for (key, message) in [v1.weak().err(), v1.phase1().err(), v1.esp().err()].into_iter().flatten() {
            // A word in `weak` that means nothing spoils the lists, too; it is told once.
            if !p.has(&format!("{path}.{key}")) {
                p.add(format!("{path}.{key}"), message);
            }
        }
        let Some(shared) = &v1.shared_secret else {
            let usable = |auth| matches!(auth, PeerAuth::Psk | PeerAuth::Certificate);
            if !c.ike.peers.iter().any(|q| usable(q.auth) && q.proves_us() == q.auth) {
                p.add(&path, "nobody can use it: no entry of ike.peers has a key or a certificate for both sides");
            }
            continue;
        };
        let secret = shared.secret.bytes();
        if secret.is_empty() {
            p.add(format!("{path}.shared_secret.secret"), "it is empty");
        }
        if let Some(q) = c.ike.peers.iter().find(|q| q.psk.as_ref().is_some_and(|s| s.bytes() == secret)) {
            let message =
                format!("it is the pre-shared key of peer \"{}\", whom then everybody could pose as (H46)", q.name);
            p.add(format!("{path}.shared_secret.secret"), message);
        }
        if let Some(j) = c.ike.peers.iter().position(|q| q.name == l.shared_secret_entry()) {
            p.add(
                format!("ike.peers[{j}].name"),
                format!("taken by those that have the shared secret of \"{}\"", l.name),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
ports: [{ name: access, device: d, zone: public, addresses: [192.0.2.1/24] }]
listeners:
  - name: secure
    address: 192.0.2.1
    ikev1:
      proposals: [aes256-sha256-modp2048, 3des-sha1-modp1024]
      esp_proposals: [aes128-sha256, 3des-sha1]
      weak: [sha1, modp1024, 3des]
      sha256_96: true
      shared_secret: { secret: hunter2 }
ike:
  identity: gw.example.net
  peers: [{ name: alice, id: alice@example.net, auth: psk, psk: correct-horse }]
"#;

    fn load(text: &str) -> Result<Config, String> {
        Config::from_yaml("test.yaml", text).map_err(|e| e.to_string())
    }

    #[test]
    fn all_there_is_to_say() {
        let c = load(GOOD).unwrap_or_else(|e| panic!("{e}"));
        let v1 = c.listeners[0].ikev1.as_ref().unwrap();
        assert_eq!((v1.phase1().unwrap().len(), v1.esp().unwrap().len(), v1.sha256_96), (2, 2, true));
        assert!(!format!("{c:?}").contains("hunter2"));
        // With the key alone there is IKEv1, without it there is none.
        let (before, rest) = GOOD.split_once("    ikev1:").unwrap();
        let rest = &rest[rest.find("ike:").unwrap()..];
        assert!(load(&format!("{before}{rest}")).unwrap().listeners[0].ikev1.is_none());
        assert!(load(&format!("{before}    ikev1: {{}}\n{rest}")).unwrap().listeners[0].ikev1.is_some());
        // Whoever has the shared secret needs no peer of its own.
        let alone = GOOD.split("ike:\n  identity").next().unwrap();
        load(alone).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn weak_adds_to_the_built_in_lists_and_nothing_else_does() {
        let weak_of = |weak: &[&str]| {
            let v1 = Ikev1 { weak: weak.iter().map(|&w| w.to_owned()).collect(), ..Ikev1::default() };
            let (phase1, esp) = (v1.phase1().unwrap(), v1.esp().unwrap());
            let mut found: Vec<String> = phase1
                .iter()
                .flat_map(Phase1::weak)
                .chain(esp.iter().flat_map(esp_weak))
                .map(|w| w.to_string())
                .collect();
            found.sort();
            found.dedup();
            found
        };
        assert!(weak_of(&[]).is_empty());
        assert_eq!(weak_of(&["sha1"]), ["sha1"]);
        assert_eq!(weak_of(&["sha1", "modp1024", "3des"]), ["3des", "modp1024", "sha1"]);
    }

    #[test]
    fn the_data_plane_has_whatever_can_be_agreed_on() {
        use ike::proposal::integ::{HMAC_SHA2_256_96, HMAC_SHA2_256_128};
        let weak = ["sha1", "modp1024", "3des"].map(str::to_owned).to_vec();
        let texts = ["null-sha256-sha1", "aes128gcm16-aes256gcm16"].map(str::to_owned).to_vec();
        let own = Ikev1 { weak, ..Ikev1::default() };
        let named = Ikev1 { esp_proposals: texts, ..own.clone() };
        for p in [own, named].iter().flat_map(|v1| v1.esp().unwrap()) {
            let truncated = p.integ.contains(&HMAC_SHA2_256_128).then_some(HMAC_SHA2_256_96);
            let none = p.integ.is_empty().then_some(0);
            for integ in p.integ.iter().copied().chain(truncated).chain(none) {
                for &encr in &p.encr {
                    let suite = ike::EspSuite { encr, integ, esn: false, ke: None, addke1: None };
                    let has = dataplane_api::EspSuite::from_transforms(encr, integ).expect("a suite");
                    let (cipher, hash) = suite.key_lengths();
                    assert_eq!(cipher + hash, has.key_len(), "{suite}");
                }
            }
        }
    }

    #[test]
    fn what_it_must_not_be() {
        let weak = "weak: [sha1, modp1024, 3des]";
        for (from, to, want) in [
            (
                weak,
                "weak: [modp1024, 3des]",
                ":7: listeners[0].ikev1.proposals[1]: \"3des-sha1-modp1024\": sha1 is weak",
            ),
            (weak, "weak: [modp1024, 3des]", ":8: listeners[0].ikev1.esp_proposals[1]: \"3des-sha1\": sha1 is weak"),
            (
                weak,
                "weak: [sha1, 3des]",
                ":7: listeners[0].ikev1.proposals[1]: \"3des-sha1-modp1024\": modp1024 is weak",
            ),
            (weak, "weak: [sha1, modp1024]", ":8: listeners[0].ikev1.esp_proposals[1]: \"3des-sha1\": 3des is weak"),
            (weak, "weak: [sha1, md5]", ":9: listeners[0].ikev1.weak[1]: \"md5\""),
            (
                "aes256-sha256-modp2048",
                "aes256-md5-modp2048",
                ":7: listeners[0].ikev1.proposals[0]: \"aes256-md5-modp2048\"",
            ),
            ("aes128-sha256", "aes128", ":8: listeners[0].ikev1.esp_proposals[0]: \"aes128\""),
            ("sha256_96:", "sha256_80:", "sha256_80"),
            ("{ secret: hunter2 }", "hunter2", "test.yaml"),
            ("hunter2", "''", ":11: listeners[0].ikev1.shared_secret.secret: it is empty"),
            (
                "hunter2",
                "correct-horse",
                ":11: listeners[0].ikev1.shared_secret.secret: it is the pre-shared key of peer \"alice\"",
            ),
            ("name: alice", "name: secure/shared-secret", ":14: ike.peers[0].name"),
            ("zone: public", "zone: trusted", "listeners[0].ikev1: there is nothing to protect"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "test is out of date: {from}");
            let text = if to == "zone: trusted" {
                text.replace("    ikev1:", "    protection: none\n    ikev1:")
            } else {
                text
            };
            let e = load(&text).map(|_| ()).expect_err(to);
            assert!(e.contains(want), "{to}: {e}");
            assert!(!e.contains("hunter2") && !e.contains("correct-horse"), "{to}: {e}");
        }
        assert_eq!(load(&GOOD.replacen(weak, "weak: [md5]", 1)).unwrap_err().matches("md5").count(), 1);
        let useless = GOOD.replace("      shared_secret: { secret: hunter2 }\n", "");
        load(&useless).unwrap_or_else(|e| panic!("{e}"));
        let eap = useless.replace("auth: psk, psk: correct-horse", "auth: eap");
        assert!(load(&eap).unwrap_err().contains(":7: listeners[0].ikev1: nobody can use it"));
    }
}
