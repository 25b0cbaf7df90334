//! The peer: the side that is authenticated (RFC 3748; the states are those of RFC 4137, section 4, in short).
//!
//! It answers Requests and waits for Success or Failure. Once it has answered a method it stays with it, and it
//! believes a Success only after the method is through: of MSCHAPv2, after the authenticator's own proof.

use crate::method::{Method, md5_response, op, operation, parse_operation, parse_value, value};
use crate::mschap::{self, Response};
use crate::packet::{Packet, Type, nak};
use rand_core::CryptoRng;
use std::collections::VecDeque;
use zeroize::Zeroizing;

/// Requests whose repetition is recognized: PPP over UDP reorders, which RFC 3748 does not expect of a link.
const REMEMBERED: usize = 4;

/// How the conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Under way, or not begun.
    Running,
    /// Both sides are satisfied.
    Success,
    /// One side is not; why.
    Failure(String),
}

enum Exchange {
    /// No method is agreed.
    None,
    /// Answered; only the authenticator knows whether well.
    Md5,
    /// Answered; this is the proof that the authenticator owes us.
    MsChap { response: Response, expected: [u8; 20] },
    /// It gave it.
    Proven,
    /// It said no, with this text.
    Refused(String),
}

/// One peer.
pub struct Peer {
    identity: Vec<u8>,
    password: Zeroizing<Vec<u8>>,
    methods: Vec<Method>,
    state: State,
    exchange: Exchange,
    msk: Option<Zeroizing<[u8; 64]>>,
    /// Requests and our Responses, the latest at the end.
    answered: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Peer {
    /// A peer with what it is ready to use, best first. A Request for anything else is answered by Nak.
    pub fn new(identity: &[u8], password: &[u8], methods: &[Method]) -> Self {
        Self {
            identity: identity.to_vec(),
            password: Zeroizing::new(password.to_vec()),
            methods: methods.to_vec(),
            state: State::Running,
            exchange: Exchange::None,
            msk: None,
            answered: VecDeque::new(),
        }
    }

    /// How it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The session key, after success by a method that has one.
    pub fn msk(&self) -> Option<&[u8; 64]> {
        self.msk.as_deref().filter(|_| self.state == State::Success)
    }

    /// A packet of the authenticator; the Response to send. What cannot be expected is silently discarded.
    pub fn handle<R: CryptoRng + ?Sized>(&mut self, packet: &[u8], rng: &mut R) -> Option<Vec<u8>> {
        if matches!(self.state, State::Failure(_)) {
            return None;
        }
        match Packet::parse(packet)? {
            Packet::Request { id, kind, data } => {
                let request = Packet::Request { id, kind, data }.encode();
                if let Some((_, response)) = self.answered.iter().find(|(known, _)| *known == request) {
                    return Some(response.clone());
                }
                let (kind, data) = self.answer(id, kind, data, rng)?;
                let response = Packet::Response { id, kind, data: &data }.encode();
                if self.answered.len() == REMEMBERED {
                    self.answered.pop_front();
                }
                self.answered.push_back((request, response.clone()));
                Some(response)
            }
            Packet::Success { id } => {
                if self.is_latest(id) {
                    self.lower_layer_success();
                }
                None
            }
            Packet::Failure { id } => {
                if self.is_latest(id) && self.state == State::Running {
                    self.state = match &self.exchange {
                        // RFC 3748, section 4.2: after results have been exchanged, a Failure is not believed.
                        Exchange::Proven => State::Running,
                        Exchange::Refused(text) => State::Failure(text.clone()),
                        Exchange::None | Exchange::Md5 | Exchange::MsChap { .. } => State::Failure("refused".into()),
                    };
                }
                None
            }
            Packet::Response { .. } => None,
        }
    }

    fn is_latest(&self, id: u8) -> bool {
        self.answered.back().is_some_and(|(request, _)| request.get(1) == Some(&id))
    }

    /// The link says that the authenticator has let us in (RFC 3748, section 3.4: a Success may be lost, and nobody
    /// sends it again). `true`: the method is through, and so this is success.
    pub fn lower_layer_success(&mut self) -> bool {
        if self.state == State::Running && matches!(self.exchange, Exchange::Md5 | Exchange::Proven) {
            self.state = State::Success;
        }
        self.state == State::Success
    }

    /// Nothing comes any more. `true`: both sides had already told each other the result (section 4.2), and so this
    /// is success.
    pub fn no_answer(&mut self) -> bool {
        matches!(self.exchange, Exchange::Proven) && self.lower_layer_success()
    }

    fn answer<R: CryptoRng + ?Sized>(
        &mut self,
        id: u8,
        kind: Type,
        data: &[u8],
        rng: &mut R,
    ) -> Option<(Type, Vec<u8>)> {
        let wanted = self.methods.iter().any(|m| m.kind() == kind.canonical());
        match kind.canonical() {
            // A conversation begins, or begins anew.
            Type::IDENTITY => {
                (self.state, self.exchange, self.msk) = (State::Running, Exchange::None, None);
                Some((kind, self.identity.clone()))
            }
            Type::NOTIFICATION => Some((kind, Vec::new())),
            Type::Legacy(0 | 3) => None,
            Type::MD5_CHALLENGE if wanted => {
                if !matches!(self.exchange, Exchange::None | Exchange::Md5) {
                    return None;
                }
                let (challenge, _) = parse_value(data)?;
                self.exchange = Exchange::Md5;
                Some((kind, value(&md5_response(&self.password, id, challenge), &self.identity)))
            }
            Type::MSCHAPV2 if wanted => self.mschap(data, rng).map(|data| (kind, data)),
            // Section 5.3.1: only before a method is agreed.
            _ if matches!(self.exchange, Exchange::None) => {
                let ours: Vec<Type> = self.methods.iter().map(|m| m.kind()).collect();
                Some(nak(kind, &ours))
            }
            _ => None,
        }
    }

    fn mschap<R: CryptoRng + ?Sized>(&mut self, data: &[u8], rng: &mut R) -> Option<Vec<u8>> {
        let (op, ms_id, body) = parse_operation(data)?;
        match (op, &self.exchange) {
            (op::CHALLENGE, Exchange::None | Exchange::MsChap { .. }) => {
                let (challenge, _) = parse_value(body)?;
                let challenge = challenge.try_into().ok()?;
                let response = Response::new(&self.password, &self.identity, challenge, rng);
                let expected = response.authenticator_response(&self.password, &self.identity, challenge);
                self.exchange = Exchange::MsChap { response, expected };
                Some(operation(op::RESPONSE, ms_id, &value(&response.encode(), &self.identity)))
            }
            (op::SUCCESS, Exchange::MsChap { response, expected }) => {
                if !mschap::verify_success(body, expected) {
                    self.state = State::Failure("the authenticator does not know the password".into());
                    return None;
                }
                self.msk = Some(response.msk(&self.password));
                self.exchange = Exchange::Proven;
                Some(vec![op::SUCCESS])
            }
            (op::FAILURE, Exchange::MsChap { .. }) => {
                let text = match mschap::Failure::parse(body) {
                    Some(failure) => failure.to_string(),
                    None => "refused".into(),
                };
                self.exchange = Exchange::Refused(text);
                Some(vec![op::FAILURE])
            }
            _ => None,
        }
    }
}
