//! CHAP (RFC 1994), with one of two algorithms:
//!
//! | algorithm | value of the Response | Success, Failure |
//! |---|---|---|
//! | MD5 (5) | MD5(identifier, secret, challenge) | a text |
//! | MS-CHAPv2 (0x81, RFC 2759) | 49 octets, see [`eap::mschap`] | the authenticator's own proof, an error code |
//!
//! The authenticator sends a challenge until a response comes, has the owner check it, and says Success or Failure;
//! it may challenge again at any time. Both sides of a link can be authenticators (mutual CHAP), each with its own
//! identifiers. A peer that sends our own challenge back to have us compute its response gets none.

use crate::config::{Credentials, Timers};
use crate::cp::Context;
use crate::event::{AuthRequest, AuthVerdict, Proof, Reply};
use crate::message::{Packet, protocol};
use ::eap::{method, mschap};
use rand_core::CryptoRng;
use std::time::Instant;

/// MD5-Challenge of EAP is CHAP (RFC 3748, section 5.4).
pub use ::eap::method::{md5_response as response, md5_verify as verify, parse_value};

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

const CHALLENGE_LEN: usize = 16;

/// How a response is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    MsChapV2,
}

fn send_value(cx: &mut Context<'_>, code: u8, id: u8, value: &[u8], name: &[u8]) {
    cx.out.push_back(Packet { code, id, data: &method::value(value, name) }.frame(protocol::CHAP));
}

enum Waiting {
    /// For a response; the challenge is retransmitted.
    Response,
    /// For the owner's verdict.
    Verdict,
    /// For nothing; repeated responses get the verdict again: code and message.
    Nothing(u8, String),
}

/// The side that checks.
pub(crate) struct Authenticator {
    algorithm: Algorithm,
    id: u8,
    challenge: [u8; CHALLENGE_LEN],
    name: Vec<u8>,
    waiting: Waiting,
    tries: u32,
    timer: Option<Instant>,
    /// The name that was accepted: a repeated challenge must find the same peer.
    accepted: Option<Vec<u8>>,
    responder: Vec<u8>,
}

impl Authenticator {
    pub fn new(cx: &mut Context<'_>, algorithm: Algorithm, name: &[u8], timers: &Timers) -> Self {
        let mut authenticator = Self {
            algorithm,
            id: cx.rng.next_u32() as u8,
            challenge: [0; CHALLENGE_LEN],
            name: name.to_vec(),
            waiting: Waiting::Response,
            tries: 0,
            timer: None,
            accepted: None,
            responder: Vec::new(),
        };
        authenticator.challenge(cx, timers);
        authenticator
    }

    /// A new challenge with a new identifier (RFC 1994, section 2). Not while another is being answered.
    pub fn challenge(&mut self, cx: &mut Context<'_>, timers: &Timers) {
        if matches!(self.waiting, Waiting::Verdict) {
            return;
        }
        self.id = self.id.wrapping_add(1);
        cx.rng.fill_bytes(&mut self.challenge);
        self.waiting = Waiting::Response;
        self.tries = timers.max_configure;
        self.send(cx, timers);
    }

    fn send(&mut self, cx: &mut Context<'_>, timers: &Timers) {
        send_value(cx, CHALLENGE, self.id, &self.challenge, &self.name);
        self.tries = self.tries.saturating_sub(1);
        self.timer = Some(cx.now + timers.restart);
    }

    /// A challenge that we ourselves have sent.
    pub fn is_own_challenge(&self, value: &[u8]) -> bool {
        value == self.challenge
    }

    pub fn handle_packet(&mut self, cx: &mut Context<'_>, packet: &Packet<'_>) -> Option<AuthRequest> {
        if packet.code != RESPONSE || packet.id != self.id {
            return None;
        }
        let (value, name) = parse_value(packet.data)?;
        let (id, challenge) = (self.id, self.challenge);
        let proof = match self.algorithm {
            Algorithm::Md5 => Proof::ChapMd5 { id, challenge: challenge.to_vec(), response: value.try_into().ok()? },
            Algorithm::MsChapV2 => Proof::MsChapV2 { id, challenge, response: value.try_into().ok()? },
        };
        match self.waiting {
            Waiting::Response => {
                self.waiting = Waiting::Verdict;
                self.timer = None;
                self.responder = name.to_vec();
                Some(AuthRequest { name: name.to_vec(), proof, renewed: self.accepted.is_some() })
            }
            Waiting::Verdict => None,
            // RFC 1994, section 4.1: a repeated response gets the same reply, even in the network phase.
            Waiting::Nothing(..) => {
                self.reply(cx);
                None
            }
        }
    }

    /// The owner's answer. `None`: nothing was asked; else whether the peer was accepted.
    pub fn decide(&mut self, cx: &mut Context<'_>, verdict: AuthVerdict) -> Option<bool> {
        if !matches!(self.waiting, Waiting::Verdict) {
            return None;
        }
        let same = self.accepted.as_ref().is_none_or(|name| *name == self.responder);
        let verdict = if same { verdict } else { AuthVerdict::Reject("another name than before".into()) };
        let (code, message) = match (self.algorithm, verdict) {
            (Algorithm::Md5, AuthVerdict::Accept(reply)) => (SUCCESS, reply.text),
            (Algorithm::Md5, AuthVerdict::Reject(reply)) => (FAILURE, reply.text),
            (Algorithm::MsChapV2, AuthVerdict::Accept(Reply { mschap: Some(message), .. })) => (SUCCESS, message),
            // Without the authenticator's proof the peer would not go on.
            (Algorithm::MsChapV2, AuthVerdict::Accept(_)) => (FAILURE, failure(cx.rng, &Reply::from("no proof"))),
            (Algorithm::MsChapV2, AuthVerdict::Reject(reply)) => (FAILURE, failure(cx.rng, &reply)),
        };
        let accepted = code == SUCCESS;
        if accepted {
            self.accepted = Some(self.responder.clone());
        }
        self.waiting = Waiting::Nothing(code, message);
        self.reply(cx);
        Some(accepted)
    }

    fn reply(&self, cx: &mut Context<'_>) {
        let Waiting::Nothing(code, message) = &self.waiting else { return };
        cx.out.push_back(Packet { code: *code, id: self.id, data: message.as_bytes() }.frame(protocol::CHAP));
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// `true`: no answer.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, timers: &Timers) -> bool {
        if self.timer.is_none_or(|at| at > cx.now) {
            return false;
        }
        if self.tries == 0 {
            return true;
        }
        self.send(cx, timers);
        false
    }
}

/// The message of an MS-CHAPv2 Failure: the AAA's if it gave one, without the second try that we do not allow.
fn failure(rng: &mut dyn CryptoRng, reply: &Reply) -> String {
    let given = reply.mschap.as_ref().and_then(|message| mschap::Failure::parse(message.as_bytes()));
    let failure = given.unwrap_or_else(|| mschap::Failure::rejected(&reply.text, rng));
    mschap::Failure { retry: false, ..failure }.format()
}

/// What we answered, so that a repeated challenge gets the same.
struct Answer {
    id: u8,
    challenge: Vec<u8>,
    value: Vec<u8>,
    /// The proof that an MS-CHAPv2 authenticator owes us.
    expected: Option<[u8; 20]>,
}

impl Answer {
    /// `None`: not a challenge of this algorithm.
    fn new(
        algorithm: Algorithm,
        credentials: &Credentials,
        id: u8,
        challenge: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Option<Self> {
        let (secret, name) = (credentials.secret.expose(), &credentials.name);
        let (value, expected) = match algorithm {
            Algorithm::Md5 => (response(secret, id, challenge).to_vec(), None),
            Algorithm::MsChapV2 => {
                let challenge = challenge.try_into().ok()?;
                let response = mschap::Response::new(secret, name, challenge, rng);
                (response.encode().to_vec(), Some(response.authenticator_response(secret, name, challenge)))
            }
        };
        Some(Self { id, challenge: challenge.to_vec(), value, expected })
    }

    /// The peer's word on it.
    fn result(&self, code: u8, message: &[u8]) -> Result<(), String> {
        match (code, &self.expected) {
            (SUCCESS, None) => Ok(()),
            (SUCCESS, Some(expected)) if mschap::verify_success(message, expected) => Ok(()),
            (SUCCESS, Some(_)) => Err("the authenticator does not know the password".into()),
            (_, None) => Err(String::from_utf8_lossy(message).into_owned()),
            (_, Some(_)) => Err(match mschap::Failure::parse(message) {
                Some(failure) => failure.to_string(),
                None => String::from_utf8_lossy(message).into_owned(),
            }),
        }
    }
}

/// The side that is checked. It answers every challenge, and repeats its response in case the reply was lost.
pub(crate) struct Client {
    algorithm: Algorithm,
    answer: Option<Answer>,
    timer: Option<Instant>,
    tries: u32,
    succeeded: bool,
}

impl Client {
    pub fn new(now: Instant, algorithm: Algorithm, timers: &Timers) -> Self {
        // If no challenge comes at all, the authentication has failed.
        let timer = Some(now + timers.patience());
        Self { algorithm, answer: None, timer, tries: 0, succeeded: false }
    }

    /// `Some(Err)`: with the peer's message.
    pub fn handle_packet(
        &mut self,
        cx: &mut Context<'_>,
        packet: &Packet<'_>,
        credentials: &Credentials,
        timers: &Timers,
        own: Option<&Authenticator>,
    ) -> Option<Result<(), String>> {
        match packet.code {
            CHALLENGE => {
                let (value, _) = parse_value(packet.data)?;
                if own.is_some_and(|own| own.is_own_challenge(value)) {
                    return None;
                }
                let same = |a: &Answer| a.id == packet.id && a.challenge == value;
                if !self.answer.as_ref().is_some_and(same) {
                    self.answer = Some(Answer::new(self.algorithm, credentials, packet.id, value, cx.rng)?);
                }
                self.tries = timers.max_configure;
                self.send(cx, credentials, timers);
                None
            }
            SUCCESS | FAILURE => {
                let answer = self.answer.as_ref().filter(|answer| answer.id == packet.id)?;
                self.timer = None;
                if let Err(why) = answer.result(packet.code, packet.data) {
                    return Some(Err(why));
                }
                (!std::mem::replace(&mut self.succeeded, true)).then_some(Ok(()))
            }
            _ => None,
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, credentials: &Credentials, timers: &Timers) {
        if let Some(answer) = &self.answer {
            send_value(cx, RESPONSE, answer.id, &answer.value, &credentials.name);
            self.tries = self.tries.saturating_sub(1);
            self.timer = Some(cx.now + timers.restart);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// `true`: no answer.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>, credentials: &Credentials, timers: &Timers) -> bool {
        if self.timer.is_none_or(|at| at > cx.now) {
            return false;
        }
        if self.tries == 0 {
            return true;
        }
        self.send(cx, credentials, timers);
        false
    }
}
