//! Accounting (RFC 2866): every record is written down before it is sent, and forgotten when a server has taken it.
//!
//! ```text
//!  session up ─ Start ─┐                                        ┌─► journal:  + 7 stop 5f..-12 <attributes>
//!  clock ── Interim ───┼─► number, queue of the session ────────┤              = 5f..-13 <time> <attributes>   checkpoint
//!  session down ─ Stop ┘        one at a time, in order         │              - 7                             taken
//!                                                               └─► RADIUS: until a server says Accounting-Response
//! ```
//!
//! No record is lost: what servers do not take is sent again and again, and after a restart the journal says what is left.
//! Sessions that were open when the gateway ended without a word have a checkpoint there, of which a Stop is made. An
//! interim record that nobody has taken yet is replaced by the next one, so that an outage of the servers does not fill the
//! memory.
//!
//! Sans-IO: the owner appends the lines of [`Accounting::poll_line`] to a file before it carries RADIUS's octets, and
//! replaces the file by [`Accounting::compact`]'s.

pub mod journal;
pub mod record;

pub use record::{Cause, Status, Subject};

use crate::aaa::Nas;
use crate::config::Config;
use journal::{Kind, Line};
use radius::{AttributeList, Client, Code};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Until a record that no server has taken is sent again.
const RETRY: Duration = Duration::from_secs(10);
/// The journal is written anew when it has so many lines more than are needed.
const SLACK: usize = 10_000;
/// The queue of records that are of no session.
const NAS: &str = "-";

struct Pending {
    session: String,
    kind: Kind,
    record: AttributeList,
}

/// All records that are not yet taken.
pub struct Accounting {
    enabled: bool,
    nas: Nas,
    radius: Client,
    pending: BTreeMap<u64, Pending>,
    // Numbers of a session's records, oldest first; the first one is on its way, or waits in `retry`.
    queues: HashMap<String, VecDeque<u64>>,
    retry: BTreeSet<(Instant, u64)>,
    // Accounting-On ends sessions at the server: while it is on its way, others wait. Accounting-Off comes last.
    on: Option<u64>,
    on_its_way: bool,
    off: Option<u64>,
    waiting: BTreeSet<u64>,
    open: HashMap<String, (u32, AttributeList)>,
    next: u64,
    lines: VecDeque<Line>,
    written: usize,
    taken: u64,
}

impl Accounting {
    /// `radius` knows the servers that take records; without any, nothing is recorded.
    pub fn new(config: &Config, nas: Nas, radius: Client) -> Self {
        Self {
            enabled: config.aaa.servers.iter().any(|s| s.accounting),
            nas,
            radius,
            pending: BTreeMap::new(),
            queues: HashMap::new(),
            retry: BTreeSet::new(),
            on: None,
            on_its_way: false,
            off: None,
            waiting: BTreeSet::new(),
            open: HashMap::new(),
            next: 1,
            lines: VecDeque::new(),
            written: 0,
            taken: 0,
        }
    }

    /// Takes another configuration, and `radius` with the servers that take records. Without any, what is pending waits.
    pub fn configure(&mut self, now: Instant, config: &Config, radius: radius::Config) {
        self.enabled = config.aaa.servers.iter().any(|s| s.accounting);
        self.radius.set_config(now, radius);
    }

    /// Whether there is anybody to tell.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// The RADIUS client, whose octets have to be carried.
    pub fn radius(&mut self) -> &mut Client {
        &mut self.radius
    }

    /// Records that nobody has taken yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Records that were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Begins, with the lines of a journal: what was not taken is sent, sessions that were open get a Stop, and the servers
    /// hear that the NAS has started. `at` is the time in seconds since 1970. Lines that cannot be read are counted.
    pub fn start<'a>(&mut self, now: Instant, at: u32, lines: impl Iterator<Item = &'a str>) -> usize {
        let mut bad = 0;
        for line in lines {
            self.written += 1;
            match line.parse() {
                Ok(Line::Add { number, kind, session, record }) => {
                    if kind == Kind::Stop {
                        self.open.remove(&session);
                    }
                    self.next = self.next.max(number.saturating_add(1));
                    self.pending.insert(number, Pending { session, kind, record });
                }
                Ok(Line::Taken(number)) => {
                    self.next = self.next.max(number.saturating_add(1));
                    self.pending.remove(&number);
                }
                Ok(Line::Open { session, at, about }) => drop(self.open.insert(session, (at, about))),
                // The last line of a file may be torn.
                Err(_) => bad += 1,
            }
        }
        if !self.enabled {
            return bad;
        }
        for (number, p) in &self.pending {
            self.queues.entry(p.session.clone()).or_default().push_back(*number);
        }
        let first: Vec<u64> = self.queues.values().filter_map(|q| q.front().copied()).collect();
        for number in first {
            self.send(now, number);
        }
        for (session, (at, about)) in std::mem::take(&mut self.open) {
            let stop = record::record(Status::Stop, Some(Cause::NasReboot), at, &about);
            self.submit(now, Kind::Stop, session, stop);
        }
        self.of_nas(now, Status::On, at);
        bad
    }

    /// The last word of an orderly end.
    pub fn stop(&mut self, now: Instant, at: u32) {
        self.of_nas(now, Status::Off, at);
    }

    fn of_nas(&mut self, now: Instant, status: Status, at: u32) {
        let mut about = AttributeList::new();
        self.nas.put(&mut about);
        let cause = (status == Status::Off).then_some(Cause::AdminReboot);
        let record = record::record(status, cause, at, &about);
        let slot = if status == Status::On { &mut self.on } else { &mut self.off };
        *slot = Some(self.next);
        self.submit(now, Kind::Start, NAS.into(), record);
    }

    /// A record of a session.
    pub fn record(&mut self, now: Instant, at: u32, status: Status, cause: Option<Cause>, subject: &Subject<'_>) {
        let kind = match status {
            Status::Interim => Kind::Interim,
            Status::Stop => Kind::Stop,
            Status::Start | Status::On | Status::Off | Status::TunnelStart | Status::TunnelStop => Kind::Start,
        };
        let about = record::attributes(&self.nas, subject);
        let record = record::record(status, cause, at, &about);
        let session = subject.context.session.clone();
        if matches!(status, Status::Start | Status::Interim) {
            self.checkpoint(at, subject);
        }
        self.submit(now, kind, session, record);
    }

    /// Notes what a session has used so far, for the case that nothing more can be said of it.
    pub fn checkpoint(&mut self, at: u32, subject: &Subject<'_>) {
        if self.enabled {
            let (session, about) = (subject.context.session.clone(), record::attributes(&self.nas, subject));
            self.write(Line::Open { session: session.clone(), at, about: about.clone() });
            self.open.insert(session, (at, about));
        }
    }

    fn submit(&mut self, now: Instant, kind: Kind, session: String, record: AttributeList) {
        if !self.enabled {
            return;
        }
        if kind == Kind::Stop {
            self.open.remove(&session);
        }
        let number = self.next;
        self.next += 1;
        let queue = self.queues.entry(session.clone()).or_default();
        let interim = |n: &u64| self.pending.get(n).is_some_and(|p| p.kind == Kind::Interim);
        let stale = queue.back().copied().filter(|n| queue.len() > 1 && interim(n));
        if let Some(stale) = stale.filter(|_| kind != Kind::Start) {
            queue.pop_back();
            self.pending.remove(&stale);
            self.write(Line::Taken(stale));
        }
        let queue = self.queues.entry(session.clone()).or_default();
        queue.push_back(number);
        let first = queue.len() == 1;
        self.write(Line::Add { number, kind, session: session.clone(), record: record.clone() });
        self.pending.insert(number, Pending { session, kind, record });
        if first {
            self.send(now, number);
        }
    }

    fn send(&mut self, now: Instant, number: u64) {
        let Some(p) = self.pending.get(&number) else { return };
        let on = self.on == Some(number);
        let last = self.off == Some(number) && self.pending.len() > 1;
        if last || self.on_its_way && !on {
            self.waiting.insert(number);
            return;
        }
        self.on_its_way |= on;
        let request = radius::Request::new(Code::AccountingRequest, p.record.clone());
        self.radius.request(now, number, request, None);
    }

    /// A record has come to its end, or to that of an attempt: others may have waited for that.
    fn go_on(&mut self, now: Instant, number: u64) {
        if self.on == Some(number) {
            self.on_its_way = false;
        }
        if !self.on_its_way {
            std::mem::take(&mut self.waiting).into_iter().for_each(|n| self.send(now, n));
        }
    }

    fn take(&mut self, now: Instant, number: u64) {
        let Some(p) = self.pending.remove(&number) else { return };
        self.taken += 1;
        self.write(Line::Taken(number));
        let Some(queue) = self.queues.get_mut(&p.session) else { return };
        queue.retain(|n| *n != number);
        match queue.front().copied() {
            Some(next) => self.send(now, next),
            None => drop(self.queues.remove(&p.session)),
        }
        self.go_on(now, number);
    }

    fn write(&mut self, line: Line) {
        self.written += 1;
        self.lines.push_back(line);
    }

    /// The next line for the journal, without its end.
    pub fn poll_line(&mut self) -> Option<String> {
        self.lines.pop_front().map(|l| l.to_string())
    }

    /// The whole journal, when what there is has become much longer than it needs to be.
    pub fn compact(&mut self) -> Option<impl Iterator<Item = String> + Send + use<>> {
        let needed = self.pending.len() + self.open.len();
        (self.written >= needed * 2 + SLACK).then(|| self.whole())
    }

    /// The whole journal, as short as it can be. Its lines are made as they are taken, which may be elsewhere.
    pub fn whole(&mut self) -> impl Iterator<Item = String> + Send + use<> {
        self.written = self.pending.len() + self.open.len();
        self.lines.clear();
        let open = self.open.iter().map(|(session, (at, about))| Line::Open {
            session: session.clone(),
            at: *at,
            about: about.clone(),
        });
        let add = self.pending.iter().map(|(number, p)| Line::Add {
            number: *number,
            kind: p.kind,
            session: p.session.clone(),
            record: p.record.clone(),
        });
        let lines: Vec<Line> = open.chain(add).collect();
        lines.into_iter().map(|l| l.to_string())
    }

    /// Takes what RADIUS says.
    pub fn poll(&mut self, now: Instant) {
        while let Some(event) = self.radius.poll_event() {
            match event {
                radius::Event::Reply { token, .. } => self.take(now, token),
                radius::Event::Failed { token, .. } => {
                    self.retry.insert((now + RETRY, token));
                    self.go_on(now, token);
                }
                radius::Event::ServerDown(s) => {
                    tracing::warn!(server = self.radius.name(s), "RADIUS server takes no accounting records");
                }
                radius::Event::ServerUp(s) => {
                    tracing::info!(server = self.radius.name(s), "RADIUS server takes accounting records again");
                    // It need not wait for what is due later.
                    let due: Vec<_> = std::mem::take(&mut self.retry).into_iter().map(|(_, n)| n).collect();
                    due.into_iter().for_each(|n| self.send(now, n));
                }
            }
        }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.radius.handle_timeout(now);
        while let Some(&(at, number)) = self.retry.first().filter(|(at, _)| *at <= now) {
            self.retry.remove(&(at, number));
            self.send(now, number);
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.radius.poll_timeout().into_iter().chain(self.retry.first().map(|r| r.0)).min()
    }
}

#[cfg(test)]
mod tests;
