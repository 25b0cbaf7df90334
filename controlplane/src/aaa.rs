//! Authentication and authorization of subscribers, behind one seam: a request is handed in, its answer is
//! polled for. The embedded subscriber file answers at once; a server elsewhere takes its time.
//!
//! A password never leaves this module: what comes in is the proof the peer gave in PAP or CHAP.

use crate::config::{Secret, Subscriber};
use ipnet::Ipv6Net;
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What the peer proved its name with.
#[derive(Clone, Debug)]
pub enum Proof {
    /// PAP's password.
    Pap(Zeroizing<Vec<u8>>),
    /// CHAP-MD5: identifier, our challenge, the peer's response.
    Chap(u8, Vec<u8>, Vec<u8>),
    /// Nothing: an anonymous listener (H33).
    Anonymous,
}

/// A question to AAA.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which session asks; comes back with the answer.
    pub session: u32,
    /// PPP user name; empty when anonymous.
    pub user: String,
    /// Its proof.
    pub proof: Proof,
    /// The identity authenticated by IKE, when there was IKE.
    pub ike_id: Option<String>,
}

/// What an accepted subscriber is given. Absent parts come from the pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Fixed IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Fixed /64.
    pub ipv6_prefix: Option<Ipv6Net>,
    /// Fixed delegated prefix.
    pub delegated: Option<Ipv6Net>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Admitted.
    Accept(Profile),
    /// Refused; the reason goes to the audit log, not to the peer.
    Reject(&'static str),
}

/// The embedded subscriber file.
pub struct Aaa {
    users: HashMap<String, Arc<Subscriber>>,
    answers: VecDeque<(u32, Answer)>,
}

impl Aaa {
    /// From the configuration's list.
    pub fn new(subscribers: &[Subscriber]) -> Self {
        let users = subscribers.iter().map(|s| (s.user.clone(), Arc::new(s.clone()))).collect();
        Self { users, answers: VecDeque::new() }
    }

    /// Hands a question in.
    pub fn request(&mut self, request: &Request) {
        let answer = self.decide(request);
        self.answers.push_back((request.session, answer));
    }

    /// The next answer, with the session it is for.
    pub fn poll(&mut self) -> Option<(u32, Answer)> {
        self.answers.pop_front()
    }

    fn decide(&self, r: &Request) -> Answer {
        if matches!(r.proof, Proof::Anonymous) {
            return Answer::Accept(Profile::default());
        }
        let Some(s) = self.users.get(&r.user) else { return Answer::Reject("unknown user") };
        if let Err(why) = proven(s, &r.proof) {
            return Answer::Reject(why);
        }
        // H23: the user is tied to the device that IKE authenticated.
        if s.ike_id.is_some() && s.ike_id != r.ike_id {
            return Answer::Reject("user is bound to another IKE identity");
        }
        Answer::Accept(Profile { ipv4: s.ipv4, ipv6_prefix: s.ipv6_prefix, delegated: s.delegated })
    }
}

fn proven(s: &Subscriber, proof: &Proof) -> Result<(), &'static str> {
    use subtle::ConstantTimeEq;
    let good = match (proof, &s.secret, &s.hash) {
        (Proof::Pap(given), Some(secret), _) => bool::from(given.as_slice().ct_eq(secret.bytes())),
        (Proof::Pap(given), None, Some(hash)) => crypt_verify(given, hash),
        (Proof::Chap(id, challenge, response), Some(secret), _) => {
            ppp::chap::verify(secret.bytes(), *id, challenge, response)
        }
        (Proof::Chap(..), None, _) => return Err("CHAP needs the secret in the clear, only a hash is stored"),
        (Proof::Pap(_), None, None) | (Proof::Anonymous, ..) => false,
    };
    if good { Ok(()) } else { Err("wrong secret") }
}

fn crypt_verify(given: &[u8], hash: &Secret) -> bool {
    use sha_crypt::{PasswordVerifier, ShaCrypt};
    let Ok(text) = std::str::from_utf8(hash.bytes()) else { return false };
    ShaCrypt::default().verify_password(given, text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user: &str, proof: Proof, ike_id: Option<&str>) -> Answer {
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
        let mut aaa = Aaa::new(&[base, hashed]);
        aaa.request(&Request { session: 7, user: user.into(), proof, ike_id: ike_id.map(Into::into) });
        let (session, answer) = aaa.poll().expect("answered at once");
        assert_eq!(session, 7);
        answer
    }

    fn pap(p: &str) -> Proof {
        Proof::Pap(Zeroizing::new(p.as_bytes().to_vec()))
    }

    #[test]
    fn pap_against_clear_and_hash() {
        assert!(matches!(ask("alice", pap("wonderland"), Some("alice@example.net")), Answer::Accept(_)));
        assert_eq!(ask("alice", pap("wonderlane"), Some("alice@example.net")), Answer::Reject("wrong secret"));
        assert!(matches!(ask("bob", pap("Hello world!"), None), Answer::Accept(_)));
        assert_eq!(ask("bob", pap("Hello world"), None), Answer::Reject("wrong secret"));
        assert_eq!(ask("eve", pap("x"), None), Answer::Reject("unknown user"));
    }

    #[test]
    fn user_is_bound_to_the_ike_identity() {
        assert!(
            matches!(ask("alice", pap("wonderland"), Some("bob@example.net")), Answer::Reject(w) if w.contains("bound"))
        );
        assert!(matches!(ask("alice", pap("wonderland"), None), Answer::Reject(_)));
    }

    #[test]
    fn chap_needs_the_clear_secret() {
        assert!(
            matches!(ask("bob", Proof::Chap(1, vec![1; 16], vec![2; 16]), None), Answer::Reject(w) if w.contains("hash"))
        );
        assert_eq!(ask("alice", Proof::Chap(1, vec![1; 16], vec![2; 16]), None), Answer::Reject("wrong secret"));
    }
}
