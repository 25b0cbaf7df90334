//! Authentication and authorization of subscribers, behind one seam: a request is handed in, its answer is
//! polled for. The embedded subscriber file answers at once; RADIUS takes its time.
//!
//! ```text
//!  PPP: PAP, CHAP, MS-CHAPv2, EAP ─┐              ┌─ local: the embedded file
//!  IKE: EAP ───────────────────────┴─► Request ───┤     unknown user │ ▲ no server answers
//!            Accept, Reject, Challenge ◄── Answer └─ RADIUS ──────────┴─┘   the next of `aaa.sources`
//! ```
//!
//! A password never leaves this module: what comes in is the proof the peer gave. EAP is passed through (RFC 3579): the
//! server speaks with the peer, and its State goes back to the very server it came from.

pub mod context;
mod local;
pub mod profile;

pub use context::{Context, Nas};
pub use profile::{Limits, Profile, Unhonoured};

use crate::config::Config;
use crate::config::aaa::Source;
use dataplane_api::SessionId;
use local::Users;
use radius::attribute::*;
use radius::vendor;
use radius::{AttributeList, Client, Code, Reply, Secret, ServerId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Values of Service-Type (RFC 2865, RFC 5176).
pub(crate) const FRAMED: u32 = 2;
pub(crate) const AUTHORIZE_ONLY: u32 = 17;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// PPP of a session.
    Session(SessionId),
    /// A CoA-Request that has a session authorized anew (RFC 5176, section 3.2).
    Again(SessionId),
    /// EAP in IKE.
    Ike(ike::EapSession),
}

/// What the peer proved its name with.
#[derive(Clone, Debug)]
pub enum Proof {
    /// PAP's password.
    Pap(Secret),
    /// CHAP with MD5.
    Chap {
        /// Identifier of the challenge.
        id: u8,
        /// Ours.
        challenge: Vec<u8>,
        /// The peer's.
        response: Vec<u8>,
    },
    /// MS-CHAPv2 (RFC 2759).
    MsChapV2 {
        /// Identifier of the challenge.
        id: u8,
        /// Ours.
        challenge: [u8; 16],
        /// Challenge, zeroes, NT-Response and flags of the peer.
        response: [u8; 49],
        /// The name as the peer gave it, which goes into the response.
        name: Vec<u8>,
    },
    /// An EAP response.
    Eap(Vec<u8>),
    /// Nothing: an anonymous listener (H33).
    Anonymous,
    /// State of a CoA-Request that asks for authorization anew (RFC 5176, section 3.2).
    State(Vec<u8>),
}

/// A question to AAA.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back with the answer.
    pub who: Who,
    /// The user's name; empty when anonymous.
    pub user: String,
    /// Its proof.
    pub proof: Proof,
    /// Where it comes from.
    pub context: Arc<Context>,
}

/// Admitted.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// What it is given.
    pub profile: Profile,
    /// Who said so.
    pub radius: bool,
    /// MS-CHAPv2's `S=...`, which proves the server to the peer.
    pub mschap: Option<String>,
    /// The last EAP packet.
    pub eap: Option<Vec<u8>>,
    /// The key that EAP agreed on.
    pub msk: Option<Secret>,
}

/// Refused.
#[derive(Clone, Debug, Default)]
pub struct Reject {
    /// For the audit log, not for the peer.
    pub why: String,
    /// MS-CHAPv2's `E=...`.
    pub mschap: Option<String>,
    /// The last EAP packet.
    pub eap: Option<Vec<u8>>,
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Admitted.
    Accept(Box<Accept>),
    /// Refused.
    Reject(Reject),
    /// EAP goes on with this packet.
    Challenge(Vec<u8>),
    /// Nobody who could say has answered.
    Silence,
}

impl Answer {
    fn reject(why: impl Into<String>) -> Self {
        Self::Reject(Reject { why: why.into(), ..Reject::default() })
    }
}

/// A request that a server has.
struct Asked {
    request: Request,
    /// Sources that are left.
    rest: usize,
}

/// An EAP conversation.
struct Conversation {
    server: ServerId,
    state: Option<Vec<u8>>,
}

/// AAA.
pub struct Aaa {
    users: Users,
    order: Vec<Source>,
    nas: Nas,
    radius: Client,
    asked: HashMap<u64, Asked>,
    tokens: HashMap<Who, u64>,
    next: u64,
    eap: HashMap<Who, Conversation>,
    answers: VecDeque<(Who, Answer)>,
}

impl Aaa {
    /// From the configuration; `radius` knows the servers that authenticate.
    pub fn new(config: &Config, nas: Nas, radius: Client) -> Self {
        Self {
            users: Users::new(&config.subscribers),
            order: config.aaa.order(),
            nas,
            radius,
            asked: HashMap::new(),
            tokens: HashMap::new(),
            next: 0,
            eap: HashMap::new(),
            answers: VecDeque::new(),
        }
    }

    /// Takes another configuration: the subscriber file, the order of sources, and `radius` with the servers that
    /// authenticate. What waits for a server that is gone is asked elsewhere.
    pub fn configure(&mut self, now: Instant, config: &Config, radius: radius::Config) {
        self.users = Users::new(&config.subscribers);
        self.order = config.aaa.order();
        self.radius.set_config(now, radius);
    }

    /// The RADIUS client, whose octets have to be carried.
    pub fn radius(&mut self) -> &mut Client {
        &mut self.radius
    }

    /// Requests that wait for a server.
    pub fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// Hands a question in. An older one of the same asker is forgotten.
    pub fn request(&mut self, now: Instant, request: Request) {
        self.drop_request(request.who);
        // A conversation that begins has nothing to do with one before.
        if matches!(&request.proof, Proof::Eap(p) if begins(p)) {
            self.eap.remove(&request.who);
        }
        self.ask(now, request, 0);
    }

    /// Nobody waits for an answer any more.
    pub fn forget(&mut self, who: Who) {
        self.drop_request(who);
        self.eap.remove(&who);
    }

    fn drop_request(&mut self, who: Who) {
        if let Some(token) = self.tokens.remove(&who) {
            self.asked.remove(&token);
        }
    }

    /// The next answer.
    pub fn poll(&mut self, now: Instant) -> Option<(Who, Answer)> {
        while let Some(event) = self.radius.poll_event() {
            match event {
                radius::Event::Reply { token, server, reply } => self.replied(token, server, &reply),
                radius::Event::Failed { token, reason } => {
                    if let Some(Asked { request, rest }) = self.take(token) {
                        tracing::warn!(user = request.user, %reason, "RADIUS does not answer");
                        // Another server knows nothing of this one's conversation.
                        self.eap.remove(&request.who);
                        self.ask(now, request, self.order.len().saturating_sub(rest));
                    }
                }
                radius::Event::ServerDown(s) => tracing::warn!(server = self.radius.name(s), "RADIUS server is dead"),
                radius::Event::ServerUp(s) => tracing::info!(server = self.radius.name(s), "RADIUS server is back"),
            }
        }
        self.answers.pop_front()
    }

    fn take(&mut self, token: u64) -> Option<Asked> {
        let asked = self.asked.remove(&token)?;
        self.tokens.remove(&asked.request.who);
        Some(asked)
    }

    /// Asks the sources from the given one on.
    fn ask(&mut self, now: Instant, request: Request, from: usize) {
        if matches!(request.proof, Proof::Anonymous) {
            self.answers.push_back((request.who, Answer::Accept(Box::default())));
            return;
        }
        for i in from..self.order.len() {
            let last = i + 1 == self.order.len();
            match self.order[i] {
                // The file has nothing to add to what a server has said.
                Source::Local if matches!(request.proof, Proof::State(_)) => {}
                Source::Local if !last && (!self.users.knows(&request.user) || is_eap(&request.proof)) => {}
                Source::Local => {
                    let answer = self.users.decide(&request.user, &request.proof, request.context.ike_id.as_deref());
                    self.answers.push_back((request.who, answer));
                    return;
                }
                Source::Radius => {
                    self.next += 1;
                    let conversation = self.eap.get(&request.who);
                    let sticky = conversation.map(|c| c.server);
                    let state = conversation.and_then(|c| c.state.as_deref());
                    let packet = access_request(&request, &self.nas, state);
                    self.radius.request(now, self.next, packet, sticky);
                    self.tokens.insert(request.who, self.next);
                    self.asked.insert(self.next, Asked { request, rest: self.order.len() - i - 1 });
                    return;
                }
            }
        }
        self.answers.push_back((request.who, Answer::Silence));
    }

    fn replied(&mut self, token: u64, server: ServerId, reply: &Reply) {
        let Some(Asked { request, .. }) = self.take(token) else { return };
        let attributes = reply.attributes();
        let answer = match reply.code() {
            Code::AccessAccept => accept(&request, reply).unwrap_or_else(|e| Answer::reject(e.to_string())),
            Code::AccessChallenge => match attributes.eap_message().filter(|_| is_eap(&request.proof)) {
                Some(packet) => {
                    let state = attributes.octets(STATE).map(<[u8]>::to_vec);
                    self.eap.insert(request.who, Conversation { server, state });
                    self.answers.push_back((request.who, Answer::Challenge(packet)));
                    return;
                }
                None => Answer::reject("challenged, which only EAP can answer"),
            },
            _ => {
                let text = attributes.first(REPLY_MESSAGE).and_then(|a| a.text().ok()).unwrap_or_default();
                let why = format!(
                    "rejected by {}{}{text}",
                    self.radius.name(server),
                    if text.is_empty() { "" } else { ": " }
                );
                let mschap = chap_text(attributes.octets(vendor::MS_CHAP_ERROR));
                Answer::Reject(Reject { why, mschap, eap: attributes.eap_message() })
            }
        };
        self.eap.remove(&request.who);
        self.answers.push_back((request.who, answer));
    }
}

fn begins(packet: &[u8]) -> bool {
    matches!(eap::Packet::parse(packet), Some(eap::Packet::Response { kind: eap::Type::IDENTITY, .. }))
}

fn is_eap(proof: &Proof) -> bool {
    matches!(proof, Proof::Eap(_) | Proof::State(_))
}

/// What follows the identifier in Microsoft's attributes.
fn chap_text(value: Option<&[u8]>) -> Option<String> {
    std::str::from_utf8(value?.get(1..)?).ok().map(str::to_owned)
}

fn accept(request: &Request, reply: &Reply) -> Result<Answer, Unhonoured> {
    let a = reply.attributes();
    // RFC 2865, section 5.6: a service that we do not have is a reject.
    if let Some(service) = a.u32(SERVICE_TYPE)?.filter(|s| request.context.ppp && ![FRAMED, AUTHORIZE_ONLY].contains(s))
    {
        return Err(Unhonoured::new(SERVICE_TYPE, format!("{service} is not Framed")));
    }
    let msk = match is_eap(&request.proof) {
        true => reply.mppe_keys()?.map(|keys| keys.msk()),
        false => None,
    };
    Ok(Answer::Accept(Box::new(Accept {
        profile: Profile::from_accept(a)?,
        radius: true,
        mschap: chap_text(a.octets(vendor::MS_CHAP2_SUCCESS)),
        eap: a.eap_message(),
        msk,
    })))
}

fn access_request(request: &Request, nas: &Nas, state: Option<&[u8]>) -> radius::Request {
    let mut list = AttributeList::new();
    list.text(USER_NAME, &request.user);
    let mut password = None;
    match &request.proof {
        Proof::Pap(given) => password = Some(given.clone()),
        Proof::Chap { id, challenge, response } => {
            list.octets(CHAP_PASSWORD, &[&[*id], response.as_slice()].concat()).octets(CHAP_CHALLENGE, challenge);
        }
        Proof::MsChapV2 { id, challenge, response, .. } => {
            // Flags first here, last in CHAP (RFC 2548, section 2.3.2).
            let (value, flags) = response.split_at(48);
            list.octets(vendor::MS_CHAP_CHALLENGE, challenge);
            list.octets(vendor::MS_CHAP2_RESPONSE, &[&[*id], flags, value].concat());
        }
        Proof::Eap(packet) => drop(list.eap_message(packet)),
        Proof::State(state) => drop(list.octets(STATE, state)),
        Proof::Anonymous => {}
    }
    if let Some(state) = state {
        list.octets(STATE, state);
    }
    nas.put(&mut list);
    request.context.put(&mut list);
    list.u32(SERVICE_TYPE, if matches!(request.proof, Proof::State(_)) { AUTHORIZE_ONLY } else { FRAMED });
    let mut packet = radius::Request::new(Code::AccessRequest, list);
    packet.user_password = password;
    packet
}
