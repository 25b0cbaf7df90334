use super::*;
use crate::aaa::{Context, Profile};
use crate::northbound::TrafficInfo;
use radius::attribute::*;
use radius::{Builder, LinkId, Packet, vendor};
use rand::SeedableRng;
use std::collections::BTreeSet;
use std::sync::Arc;

const SECRET: &[u8] = b"s";
const SECOND: Duration = Duration::from_secs(1);

/// Accounting, its journal as it would be on the disk, and a server that answers while it is up.
struct Lab {
    now: Instant,
    accounting: Accounting,
    journal: Vec<String>,
    up: bool,
    /// What comes at one time is answered last first.
    reverse: bool,
    /// Session, Acct-Status-Type, Acct-Terminate-Cause, octets in, in the order in which they came.
    records: Vec<(String, u32, u32, u64)>,
    seen: BTreeSet<Vec<u8>>,
}

fn accounting() -> Accounting {
    let text = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n\
                aaa: { servers: [{ name: r, address: 127.0.0.1, secret: s, timeout: 1s, tries: 2, dead_time: 5s }] }\n";
    let config = Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}"));
    let nas = Nas { identifier: "gw".into(), address: None };
    let client =
        Client::new(crate::gateway::servers::client(&config, true), Box::new(rand::rngs::StdRng::from_seed([7; 32])));
    Accounting::new(&config, nas, client)
}

impl Lab {
    fn new() -> Self {
        let mut lab = Self {
            now: Instant::now(),
            accounting: accounting(),
            journal: Vec::new(),
            up: true,
            reverse: false,
            records: Vec::new(),
            seen: BTreeSet::new(),
        };
        assert_eq!(lab.accounting.start(lab.now, 1000, [].into_iter()), 0);
        lab.run(0);
        lab
    }

    /// The process is gone, and another one reads what is on the disk.
    fn restart(&mut self) {
        self.accounting = accounting();
        let journal = std::mem::take(&mut self.journal);
        assert_eq!(self.accounting.start(self.now, 2000, journal.iter().map(String::as_str)), 0);
        self.journal = journal;
    }

    /// For so many seconds.
    fn run(&mut self, seconds: u32) {
        let end = self.now + seconds * SECOND;
        loop {
            self.carry();
            match self.accounting.poll_timeout().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.accounting.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn carry(&mut self) {
        loop {
            self.accounting.poll(self.now);
            while let Some(line) = self.accounting.poll_line() {
                self.journal.push(line);
            }
            if let Some(lines) = self.accounting.compact() {
                self.journal = lines.collect();
            }
            while self.accounting.radius().poll_link().is_some() {}
            let mut sent: Vec<_> = std::iter::from_fn(|| self.accounting.radius().poll_transmit()).collect();
            if sent.is_empty() {
                return;
            }
            if self.reverse {
                sent.reverse();
            }
            if self.up {
                sent.iter().for_each(|(link, octets)| self.answer(*link, octets));
            }
        }
    }

    fn answer(&mut self, link: LinkId, octets: &[u8]) {
        let packet = Packet::parse(octets).unwrap();
        let a = packet.attributes();
        if packet.code == Code::AccountingRequest && self.seen.insert(octets.to_vec()) {
            let number = |kind| a.u32(kind).unwrap().unwrap_or_default();
            let high = u64::from(number(ACCT_INPUT_GIGAWORDS)) << 32;
            self.records.push((
                a.text(ACCT_SESSION_ID).unwrap().unwrap_or("-").to_owned(),
                number(ACCT_STATUS_TYPE),
                number(ACCT_TERMINATE_CAUSE),
                high | u64::from(number(ACCT_INPUT_OCTETS)),
            ));
        }
        let reply = Builder::new(Code::AccountingResponse, packet.id).reply(&packet.authenticator, SECRET).unwrap();
        self.accounting.radius().handle_input(self.now, link, &reply);
    }

    fn say(&mut self, session: &str, status: Status, cause: Option<Cause>, octets: u64) {
        with(session, octets, |subject| self.accounting.record(self.now, 1000, status, cause, subject));
        self.carry();
    }

    fn of(&self, session: &str) -> Vec<(u32, u32, u64)> {
        self.records.iter().filter(|r| r.0 == session).map(|r| (r.1, r.2, r.3)).collect()
    }
}

fn with<T>(session: &str, octets: u64, f: impl FnOnce(&Subject<'_>) -> T) -> T {
    let context = Context {
        session: session.into(),
        multi: None,
        port: 3,
        listener: "l".into(),
        local: "10.0.0.1:1701".parse().unwrap(),
        outer: "10.0.0.9:1701".parse().unwrap(),
        ike_id: Some("alice@example.net".into()),
        ppp: true,
    };
    let profile = Profile { class: vec![b"gold".to_vec()], ..Profile::default() };
    let traffic = TrafficInfo { in_v4_octets: octets, in_v6_octets: 2, ..TrafficInfo::default() };
    let context = Arc::new(context);
    f(&Subject {
        user: "alice",
        context: &context,
        profile: &profile,
        radius: true,
        ipv4: Some(dataplane_api::IpPrefix::host([10, 1, 0, 5].into())),
        ipv6: None,
        delegated: None,
        address: None,
        interface_id: None,
        traffic,
        lasted: SECOND * 70,
    })
}

const TERA: u64 = 1 << 40;

#[test]
fn what_a_record_says() {
    let list = with("s1", TERA + 5, |s| {
        record::record(
            Status::Stop,
            Some(Cause::IdleTimeout),
            1_000_000,
            &record::attributes(&Nas { identifier: "gw".into(), address: None }, s),
        )
    });
    let a = list.as_attributes();
    let number = |kind| a.u32(kind).unwrap().unwrap();
    assert_eq!((number(ACCT_STATUS_TYPE), number(ACCT_TERMINATE_CAUSE), number(EVENT_TIMESTAMP)), (2, 4, 1_000_000));
    assert_eq!((number(ACCT_INPUT_GIGAWORDS), number(ACCT_INPUT_OCTETS), number(ACCT_SESSION_TIME)), (256, 7, 70));
    assert_eq!(a.u64(vendor::INPUT_OCTETS_IPV4), Ok(Some(TERA + 5)));
    assert_eq!(a.u64(vendor::INPUT_OCTETS_IPV6), Ok(Some(2)));
    assert_eq!((a.text(USER_NAME), a.text(NAS_IDENTIFIER)), (Ok(Some("alice")), Ok(Some("gw"))));
    assert_eq!((a.octets(CLASS), number(vendor::SOFTWIRE_TYPE)), (Some(&b"gold"[..]), 3));
    assert_eq!(a.ipv4(FRAMED_IP_ADDRESS), Ok(Some([10, 1, 0, 5].into())));
    assert_eq!(a.text(vendor::IKE_IDENTITY), Ok(Some("alice@example.net")));
}

#[test]
fn records_come_in_the_order_of_their_session_and_once() {
    let mut lab = Lab::new();
    for (status, cause, octets) in
        [(Status::Start, None, 0), (Status::Interim, None, 5), (Status::Stop, Some(Cause::UserRequest), 9)]
    {
        lab.say("s1", status, cause, octets);
    }
    lab.run(60);
    assert_eq!(lab.of("-"), [(7, 0, 0)]);
    assert_eq!(lab.of("s1"), [(1, 0, 2), (3, 0, 7), (2, 1, 11)]);
    assert_eq!((lab.accounting.pending(), lab.accounting.taken()), (0, 4));
}

#[test]
fn an_outage_loses_nothing_and_keeps_one_interim_record() {
    let mut lab = Lab::new();
    lab.say("s1", Status::Start, None, 0);
    lab.up = false;
    for n in 1..=50 {
        lab.say("s1", Status::Interim, None, n);
        lab.run(60);
    }
    lab.say("s2", Status::Start, None, 0);
    lab.say("s2", Status::Stop, Some(Cause::LostCarrier), 4);
    assert_eq!(lab.accounting.pending(), 4);
    lab.up = true;
    lab.run(120);
    // The first one was on its way all the time.
    assert_eq!(lab.of("s1"), [(1, 0, 2), (3, 0, 3), (3, 0, 52)]);
    assert_eq!(lab.of("s2"), [(1, 0, 2), (2, 2, 6)]);
    assert_eq!(lab.accounting.pending(), 0);
}

#[test]
fn a_stop_takes_the_place_of_a_waiting_interim_record() {
    let mut lab = Lab::new();
    lab.up = false;
    lab.say("s1", Status::Start, None, 0);
    lab.say("s1", Status::Interim, None, 1);
    lab.say("s1", Status::Stop, Some(Cause::UserRequest), 2);
    lab.up = true;
    lab.run(60);
    assert_eq!(lab.of("s1"), [(1, 0, 2), (2, 1, 4)]);
}

#[test]
fn nothing_is_lost_when_the_process_ends_without_a_word() {
    let mut lab = Lab::new();
    lab.say("open", Status::Start, None, 0);
    lab.say("over", Status::Start, None, 0);
    lab.up = false;
    lab.say("over", Status::Stop, Some(Cause::UserRequest), 3);
    with("open", 77, |s| lab.accounting.checkpoint(1500, s));
    lab.carry();
    lab.restart();
    lab.up = true;
    lab.run(60);
    assert_eq!(lab.of("over"), [(1, 0, 2), (2, 1, 5)]);
    assert_eq!(lab.of("open"), [(1, 0, 2), (2, 11, 79)]);
    assert_eq!(lab.of("-"), [(7, 0, 0), (7, 0, 0)]);
    // A second one finds nothing to do.
    lab.restart();
    lab.run(60);
    assert_eq!((lab.of("over").len(), lab.of("open").len(), lab.of("-").len()), (2, 2, 3));
}

// A server may take requests in any order; On would end sessions there, and after Off nothing is to come.
#[test]
fn on_is_first_and_off_is_last() {
    let mut lab = Lab::new();
    (lab.reverse, lab.up) = (true, false);
    lab.restart();
    for session in ["a", "b", "c"] {
        lab.say(session, Status::Start, None, 0);
    }
    lab.run(30);
    lab.up = true;
    lab.run(60);
    let statuses = |lab: &Lab, from: usize| lab.records[from..].iter().map(|r| r.1).collect::<Vec<_>>();
    // The first one is of the run before.
    assert_eq!(statuses(&lab, 1), [7, 1, 1, 1]);
    for session in ["a", "b", "c"] {
        lab.say(session, Status::Interim, None, 1);
        lab.say(session, Status::Stop, Some(Cause::AdminReboot), 2);
    }
    lab.up = false;
    lab.say("d", Status::Start, None, 0);
    lab.say("d", Status::Stop, Some(Cause::AdminReboot), 0);
    lab.accounting.stop(lab.now, 1000);
    lab.run(20);
    lab.up = true;
    lab.run(60);
    assert_eq!((lab.records.last().unwrap().1, lab.accounting.pending()), (8, 0));
}

#[test]
fn a_torn_or_foreign_journal_is_survived() {
    let mut a = accounting();
    let lines = [
        "+ 1 stop s 0102",
        "- x",
        "",
        "= s 1 zz",
        "+ 1 stop s 0",
        "hello",
        "+ 9 start s 2802",
        "- 18446744073709551615",
    ];
    assert!(a.start(Instant::now(), 1, lines.into_iter()) >= 6);
}

#[test]
fn the_journal_does_not_grow_for_ever() {
    let mut lab = Lab::new();
    lab.say("long", Status::Start, None, 0);
    for n in 0..6000 {
        lab.say(&format!("s{n}"), Status::Start, None, 0);
        lab.say(&format!("s{n}"), Status::Stop, Some(Cause::UserRequest), n);
    }
    assert!(lab.journal.len() < 21_000, "{}", lab.journal.len());
    lab.restart();
    lab.run(10);
    assert_eq!(lab.of("long"), [(1, 0, 2), (2, 11, 2)]);
}

#[test]
fn without_servers_there_is_nothing_to_record() {
    let text = "ports: [{ name: a, device: d, zone: trusted, addresses: [10.0.0.1/24] }]\n\
                listeners: [{ name: l, address: 10.0.0.1, protection: none }]\n";
    let config = Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}"));
    let client =
        Client::new(crate::gateway::servers::client(&config, true), Box::new(rand::rngs::StdRng::from_seed([7; 32])));
    let mut a = Accounting::new(&config, Nas { identifier: "gw".into(), address: None }, client);
    a.start(Instant::now(), 1, [].into_iter());
    with("s", 1, |s| a.record(Instant::now(), 1, Status::Start, None, s));
    assert!(a.poll_line().is_none() && a.pending() == 0 && a.poll_timeout().is_none());
}
