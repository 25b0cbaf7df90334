//! A small EAP server for one peer whose password is known: what RADIUS is otherwise asked for.
//!
//! ```text
//!  Identity --Response--> Challenged --right--> MD5: Success.  MSCHAPv2: Proving --Response--> Success
//!                           |  ^  `----wrong--> MD5: Failure.  MSCHAPv2: Refusing --Response--> Failure
//!                           `--' Nak: another method
//! ```

use crate::method::{Method, md5_verify, op, operation, parse_operation, parse_value, value};
use crate::mschap::{self, Response};
use crate::packet::{Packet, Type, wanted};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// What to do after a Response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this Request.
    Request(Vec<u8>),
    /// The peer is who it says it is: send this.
    Success(Vec<u8>),
    /// It is not: send this.
    Failure(Vec<u8>),
    /// It answers nothing that was asked: wait for another.
    Discard,
}

enum State {
    Identity,
    Challenged { method: Method, challenge: [u8; mschap::CHALLENGE_LEN], naks: usize },
    Proving,
    Refusing,
    Done,
}

/// One conversation.
pub struct Server {
    methods: Vec<Method>,
    name: Vec<u8>,
    password: Zeroizing<Vec<u8>>,
    state: State,
    /// Of the latest Request.
    id: u8,
    msk: Option<Zeroizing<[u8; 64]>>,
}

impl Server {
    /// Methods best first; our name goes into challenges.
    pub fn new(methods: &[Method], name: &[u8], password: &[u8]) -> Self {
        Self {
            methods: methods.to_vec(),
            name: name.to_vec(),
            password: Zeroizing::new(password.to_vec()),
            state: State::Identity,
            id: 0,
            msk: None,
        }
    }

    /// The session key, after success by a method that has one.
    pub fn msk(&self) -> Option<&[u8; 64]> {
        self.msk.as_deref().filter(|_| matches!(self.state, State::Done))
    }

    /// A Response of the peer; the first is to Request/Identity.
    pub fn handle<R: CryptoRng + ?Sized>(&mut self, response: &[u8], rng: &mut R) -> Step {
        let Some(Packet::Response { id, kind, data }) = Packet::parse(response) else { return Step::Discard };
        let kind = kind.canonical();
        if !matches!(self.state, State::Identity) && id != self.id {
            return Step::Discard;
        }
        match self.state {
            State::Identity if kind == Type::IDENTITY => {
                self.id = id;
                self.challenge(self.methods.first().copied(), 0, rng)
            }
            State::Challenged { method, challenge, naks } => match wanted(kind, data) {
                Some(types) => {
                    // At most one for each method, so that it ends.
                    let other = self.methods.iter().find(|m| types.contains(&m.kind())).copied();
                    self.challenge(other.filter(|_| naks < self.methods.len()), naks + 1, rng)
                }
                None if kind == method.kind() => self.check(method, &challenge, data, rng).unwrap_or(Step::Discard),
                None => Step::Discard,
            },
            State::Proving if kind == Type::MSCHAPV2 && data == [op::SUCCESS] => self.end(true),
            State::Refusing if kind == Type::MSCHAPV2 && data == [op::FAILURE] => self.end(false),
            State::Identity | State::Proving | State::Refusing | State::Done => Step::Discard,
        }
    }

    fn challenge<R: CryptoRng + ?Sized>(&mut self, method: Option<Method>, naks: usize, rng: &mut R) -> Step {
        let Some(method) = method else { return self.end(false) };
        let mut challenge = [0; mschap::CHALLENGE_LEN];
        rng.fill_bytes(&mut challenge);
        self.state = State::Challenged { method, challenge, naks };
        let data = value(&challenge, &self.name);
        match method {
            Method::Md5Challenge => self.request(method, |_| data),
            Method::MsChapV2 => self.request(method, |id| operation(op::CHALLENGE, id, &data)),
        }
    }

    fn check<R: CryptoRng + ?Sized>(
        &mut self,
        method: Method,
        challenge: &[u8; mschap::CHALLENGE_LEN],
        data: &[u8],
        rng: &mut R,
    ) -> Option<Step> {
        if method == Method::Md5Challenge {
            let (found, _) = parse_value(data)?;
            let right = md5_verify(&self.password, self.id, challenge, found);
            return Some(self.end(right));
        }
        let (op::RESPONSE, _, body) = parse_operation(data)? else { return None };
        let (found, name) = parse_value(body)?;
        let response = Response::parse(found.try_into().ok()?);
        if !response.verify(&self.password, name, challenge) {
            self.state = State::Refusing;
            let text = mschap::Failure::rejected("authentication failed", rng).format();
            return Some(self.request(method, |id| operation(op::FAILURE, id, text.as_bytes())));
        }
        self.state = State::Proving;
        self.msk = Some(response.msk(&self.password));
        let proof = response.authenticator_response(&self.password, name, challenge);
        let text = mschap::success_message(&proof, "welcome");
        Some(self.request(method, |id| operation(op::SUCCESS, id, text.as_bytes())))
    }

    fn request(&mut self, method: Method, data: impl FnOnce(u8) -> Vec<u8>) -> Step {
        self.id = self.id.wrapping_add(1);
        let data = data(self.id);
        Step::Request(Packet::Request { id: self.id, kind: method.kind(), data: &data }.encode())
    }

    fn end(&mut self, success: bool) -> Step {
        self.state = State::Done;
        let id = self.id;
        match success {
            true => Step::Success(Packet::Success { id }.encode()),
            false => {
                self.msk = None;
                Step::Failure(Packet::Failure { id }.encode())
            }
        }
    }
}
