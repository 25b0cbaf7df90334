//! Two RADIUS servers on the virtual clock: they check CHAP, answer accounting, and can be down.

use controlplane::gateway::Gateway;
use controlplane::gateway::servers::Purpose;
use radius::attribute::*;
use radius::{AttributeList, Builder, Code, LinkId, Packet};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const SECRET: &[u8] = b"radius-secret";
const DELAY: Duration = Duration::from_millis(20);

/// An accounting record as it came, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub user: String,
    pub session: String,
    pub status: u32,
    pub cause: u32,
    pub input: u64,
    pub output: u64,
}

pub struct Servers {
    pub up: [bool; 2],
    /// What each has answered.
    pub answered: [usize; 2],
    /// Secret, and what an Accept says.
    pub users: HashMap<String, (Vec<u8>, AttributeList)>,
    pub records: Vec<Record>,
    seen: HashSet<Vec<u8>>,
    flight: VecDeque<(Instant, Purpose, LinkId, Vec<u8>)>,
}

impl Servers {
    pub fn new() -> Self {
        Self {
            up: [true; 2],
            answered: [0; 2],
            users: HashMap::new(),
            records: Vec::new(),
            seen: HashSet::new(),
            flight: VecDeque::new(),
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.flight.front().map(|f| f.0)
    }

    /// Takes what the gateway says, and brings what is due.
    pub fn carry(&mut self, now: Instant, gateway: &mut Gateway) -> bool {
        let mut busy = false;
        while gateway.poll_journal().is_some() {}
        while gateway.poll_radius_link().is_some() {}
        while let Some((purpose, link, octets)) = gateway.poll_radius() {
            busy = true;
            if self.up[usize::from(link.server.0)] {
                let answer = self.answer(purpose, &octets);
                self.answered[usize::from(link.server.0)] += 1;
                self.flight.push_back((now + DELAY, purpose, link, answer));
            }
        }
        while self.flight.front().is_some_and(|f| f.0 <= now) {
            let Some((_, purpose, link, octets)) = self.flight.pop_front() else { break };
            busy = true;
            gateway.radius_input(now, purpose, link, &octets);
        }
        busy
    }

    fn answer(&mut self, purpose: Purpose, octets: &[u8]) -> Vec<u8> {
        let packet = Packet::parse(octets).unwrap();
        let a = packet.attributes();
        let (code, list) = match (packet.code, purpose) {
            (Code::StatusServer, Purpose::Authentication) => (Code::AccessAccept, AttributeList::new()),
            (Code::AccessRequest, _) => match self.users.get(a.text(USER_NAME).unwrap().unwrap()) {
                // Authorize Only, with what a CoA-Request gave (RFC 5176, section 3.2).
                Some((_, list)) if a.octets(STATE) == Some(b"again") && a.u32(SERVICE_TYPE) == Ok(Some(17)) => {
                    (Code::AccessAccept, list.clone())
                }
                Some((secret, list)) if proven(secret, a) => (Code::AccessAccept, list.clone()),
                _ => (Code::AccessReject, AttributeList::new()),
            },
            _ => {
                self.note(octets);
                (Code::AccountingResponse, AttributeList::new())
            }
        };
        Builder::new(code, packet.id).attributes(&list).reply(&packet.authenticator, SECRET).unwrap()
    }

    fn note(&mut self, octets: &[u8]) {
        let packet = Packet::parse(octets).unwrap();
        let a = packet.attributes();
        if packet.code != Code::AccountingRequest || !self.seen.insert(octets[20..].to_vec()) {
            return;
        }
        let number = |kind| a.u32(kind).unwrap().unwrap_or_default();
        let text = |kind| a.text(kind).unwrap().unwrap_or_default().to_owned();
        let wide = |high, low| u64::from(number(high)) << 32 | u64::from(number(low));
        self.records.push(Record {
            user: text(USER_NAME),
            session: text(ACCT_SESSION_ID),
            status: number(ACCT_STATUS_TYPE),
            cause: number(ACCT_TERMINATE_CAUSE),
            input: wide(ACCT_INPUT_GIGAWORDS, ACCT_INPUT_OCTETS),
            output: wide(ACCT_OUTPUT_GIGAWORDS, ACCT_OUTPUT_OCTETS),
        });
    }

    /// Records of a user, by Acct-Status-Type.
    pub fn of(&self, user: &str, status: u32) -> Vec<&Record> {
        self.records.iter().filter(|r| r.user == user && r.status == status).collect()
    }
}

fn proven(secret: &[u8], a: radius::Attributes<'_>) -> bool {
    let (Some(password), Some(challenge)) = (a.octets(CHAP_PASSWORD), a.octets(CHAP_CHALLENGE)) else { return false };
    ppp::chap::verify(secret, password[0], challenge, &password[1..])
}

/// A CoA-Request or Disconnect-Request at `from`, and its answer: code, Error-Cause.
pub fn dynamic(
    gateway: &mut Gateway,
    now: Instant,
    from: SocketAddr,
    code: Code,
    id: u8,
    list: &AttributeList,
) -> Option<(Code, u32)> {
    let request = Builder::new(code, id).attributes(list).hashed_request(SECRET).unwrap();
    let (to, answer) = gateway.dynamic_input(now, from, &request)?;
    assert_eq!(to, from);
    let packet = Packet::parse(&answer).unwrap();
    Some((packet.code, packet.attributes().u32(ERROR_CAUSE).unwrap().unwrap_or_default()))
}
