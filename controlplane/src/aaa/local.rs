//! The embedded subscriber file.

use super::{Accept, Answer, Profile, Proof};
use crate::config::{Secret, Subscriber};
use eap::mschap;
use std::collections::HashMap;
use std::sync::Arc;

/// Subscribers by name.
pub(super) struct Users(HashMap<String, Arc<Subscriber>>);

impl Users {
    pub fn new(subscribers: &[Subscriber]) -> Self {
        Self(subscribers.iter().map(|s| (s.user.clone(), Arc::new(s.clone()))).collect())
    }

    pub fn knows(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }

    /// What the file says of a user with that proof, authenticated as `ike_id` by IKE.
    pub fn decide(&self, user: &str, proof: &Proof, ike_id: Option<&str>) -> Answer {
        let Some(s) = self.0.get(user) else { return Answer::reject("unknown user") };
        let mschap = match proven(s, proof) {
            Ok(mschap) => mschap,
            Err(why) => return Answer::reject(why),
        };
        // H23: the user is tied to the device that IKE authenticated.
        if s.ike_id.is_some() && s.ike_id.as_deref() != ike_id {
            return Answer::reject("user is bound to another IKE identity");
        }
        let profile =
            Profile { ipv4: s.ipv4, ipv6_prefix: s.ipv6_prefix, delegated: s.delegated, ..Profile::default() };
        Answer::Accept(Box::new(Accept { profile, mschap, ..Accept::default() }))
    }
}

/// With MS-CHAPv2, what proves us in turn.
fn proven(s: &Subscriber, proof: &Proof) -> Result<Option<String>, &'static str> {
    use subtle::ConstantTimeEq;
    let good = match (proof, &s.secret, &s.hash) {
        (Proof::Pap(given), Some(secret), _) => bool::from(given.expose().ct_eq(secret.bytes())),
        (Proof::Pap(given), None, Some(hash)) => crypt_verify(given.expose(), hash),
        (Proof::Chap { id, challenge, response }, Some(secret), _) => {
            ppp::chap::verify(secret.bytes(), *id, challenge, response)
        }
        (Proof::MsChapV2 { challenge, response, name, .. }, Some(secret), _) => {
            let response = mschap::Response::parse(response);
            if !response.verify(secret.bytes(), name, challenge) {
                return Err("wrong secret");
            }
            let ours = response.authenticator_response(secret.bytes(), name, challenge);
            return Ok(Some(mschap::success_message(&ours, "")));
        }
        (Proof::Chap { .. } | Proof::MsChapV2 { .. }, None, _) => {
            return Err("CHAP needs the secret in the clear, only a hash is stored");
        }
        (Proof::Eap(_), ..) => return Err("EAP takes a RADIUS server"),
        (Proof::Pap(_), None, None) | (Proof::Anonymous | Proof::State(_), ..) => false,
    };
    if good { Ok(None) } else { Err("wrong secret") }
}

fn crypt_verify(given: &[u8], hash: &Secret) -> bool {
    use sha_crypt::{PasswordVerifier, ShaCrypt};
    let Ok(text) = std::str::from_utf8(hash.bytes()) else { return false };
    ShaCrypt::default().verify_password(given, text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user: &str, proof: Proof, ike_id: Option<&str>) -> Result<Box<Accept>, String> {
        let base = Subscriber {
            user: "alice".into(),
            secret: Some(Secret::new("wonderland")),
            hash: None,
            ike_id: Some("alice@example.net".into()),
            ipv4: None,
            ipv6_prefix: None,
            delegated: None,
        };
        // openssl passwd -5 -salt saltstring 'Hello world!' (also the example of the SHA-crypt specification)
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let hashed = Subscriber {
            user: "bob".into(),
            secret: None,
            hash: Some(Secret::new(hash)),
            ike_id: None,
            ..base.clone()
        };
        match Users::new(&[base, hashed]).decide(user, &proof, ike_id) {
            Answer::Accept(a) => Ok(a),
            Answer::Reject(r) => Err(r.why),
            Answer::Challenge(_) | Answer::Silence => unreachable!(),
        }
    }

    fn pap(p: &str) -> Proof {
        Proof::Pap(radius::Secret::new(p))
    }

    fn chap() -> Proof {
        Proof::Chap { id: 1, challenge: vec![1; 16], response: vec![2; 16] }
    }

    const ALICE: Option<&str> = Some("alice@example.net");

    #[test]
    fn pap_against_clear_and_hash() {
        assert!(ask("alice", pap("wonderland"), ALICE).is_ok());
        assert_eq!(ask("alice", pap("wonderlane"), ALICE).unwrap_err(), "wrong secret");
        assert!(ask("bob", pap("Hello world!"), None).is_ok());
        assert_eq!(ask("bob", pap("Hello world"), None).unwrap_err(), "wrong secret");
        assert_eq!(ask("eve", pap("x"), None).unwrap_err(), "unknown user");
    }

    #[test]
    fn user_is_bound_to_the_ike_identity() {
        assert!(ask("alice", pap("wonderland"), Some("bob@example.net")).unwrap_err().contains("bound"));
        assert!(ask("alice", pap("wonderland"), None).is_err());
    }

    #[test]
    fn chap_needs_the_clear_secret() {
        assert!(ask("bob", chap(), None).unwrap_err().contains("hash"));
        assert_eq!(ask("alice", chap(), None).unwrap_err(), "wrong secret");
    }
}
