//! A BGP speaker between a neighbour that behaves and one that does what the script says.
//!
//! ```text
//!   first octet: what is configured for the second neighbour
//!   step = control (1 octet) │ with `OCTETS`: length (2 octets), data
//!   control: bits 0-2  what happens, bits 3-7  how
//! ```
//!
//! Whatever the one does, the session with the other stays, its route too, and the RIB holds no more than was sent.

use ::bgp::attribute::{AsPath, Attributes, NextHop};
use ::bgp::fsm::State;
use ::bgp::message::{
    Announcement, Capability, Family, Message, Negotiated, Notification, Open, RouteRefresh, Update, decode, frame,
};
use ::bgp::neighbour::{FamilyConfig, NeighbourConfig, NeighbourId, RemoteAs};
use ::bgp::policy::Policy;
use ::bgp::rib::{Source, Tracking};
use ::bgp::session::{MaxPrefix, MaxPrefixAction};
use ::bgp::speaker::{ConnId, Event, Speaker, SpeakerConfig};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ACCEPT: u8 = 0;
const OCTETS: u8 = 1;
const CLOCK: u8 = 2;
const CONNECT: u8 = 3;
const TRANSMIT: u8 = 4;
const CLOSE: u8 = 5;
const OPERATE: u8 = 6;
const SAY: u8 = 7;

/// Steps of one script.
const MAX_STEPS: usize = 64;
/// Calls of `handle_timeout` without the time moving on.
const MAX_SPIN: usize = 64;
/// The good neighbour says that often that it is still there.
const KEEPALIVE: Duration = Duration::from_secs(20);
const TIMES: [u64; 8] = [0, 1, 5, 30, 90, 125, 400, 1800];
const AS: u32 = 65000;
const GOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const BAD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));

struct Bed {
    now: Instant,
    speaker: Speaker,
    good: NeighbourId,
    bad: NeighbourId,
    good_conn: ConnId,
    good_agreed: Negotiated,
    /// What it was sent before the OPENs were exchanged.
    good_heard: Vec<u8>,
    bad_asn: u32,
    bad_conn: Option<ConnId>,
    /// Connections to the bad one that the speaker wants.
    wanted: VecDeque<ConnId>,
    /// Octets that the bad one has sent: no path takes less than one.
    bad_sent: usize,
}

fn bad_config(choice: u8) -> (NeighbourConfig, u32) {
    let asn = if choice & 1 == 0 { AS } else { 64999 };
    let mut config = NeighbourConfig::new(RemoteAs::Exactly(asn));
    config.passive = choice & 2 == 0;
    config.peering.import = Some(Arc::new(Policy::accept_all()));
    config.peering.export = Some(Arc::new(Policy::accept_all()));
    if choice & 4 != 0 {
        let max = MaxPrefix { limit: 3, warn_percent: 50, action: MaxPrefixAction::TearDown { restart: None } };
        config.families.insert(Family::Ipv4Unicast, FamilyConfig { required: false, max_prefix: Some(max) });
    }
    if choice & 8 != 0 {
        config.graceful_restart = None;
        config.extended_message = false;
    }
    config.collision_in_established = choice & 16 != 0;
    config.peering.first_as = choice & 32 == 0;
    config.martian_endpoints = true;
    (config, asn)
}

fn open(asn: u32, last: u8) -> Message {
    let families = vec![(Family::Ipv4Unicast, true)];
    let restart = Capability::GracefulRestart { restarting: false, notification: true, time: 120, families };
    Message::Open(Open {
        asn,
        hold_time: 90,
        router_id: Ipv4Addr::new(10, 0, 0, last),
        capabilities: vec![
            Capability::MultiProtocol(Family::Ipv4Unicast),
            Capability::MultiProtocol(Family::Ipv6Unicast),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
            Capability::FourOctetAs(asn),
            restart,
        ],
    })
}

fn octets(message: &Message, agreed: &Negotiated) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(agreed, &mut out);
    out
}

/// Routes of the bad one. Of the good one, `n` 0: 10.0.0.0/16.
fn routes(n: u8, count: u8, asns: &[u32]) -> Message {
    let mut attributes = Attributes::new(NextHop::from(IpAddr::from([192, 0, 2, n])));
    attributes.as_path = AsPath::sequence(asns);
    attributes.local_pref = Some(100);
    let prefix = |low: u8| format!("10.{n}.{low}.0/24").parse().ok();
    let prefixes = (0..count).filter_map(prefix).collect();
    let announced = vec![Announcement { attributes: Arc::new(attributes), prefixes }];
    Message::Update(Update { announced, ..Update::default() })
}

impl Bed {
    fn new(choice: u8) -> Self {
        let now = Instant::now();
        let router_id = Ipv4Addr::new(10, 0, 0, 254);
        let config = SpeakerConfig { asn: AS, router_id, cluster_id: router_id, max_paths: 2, restarted: None };
        let mut speaker = Speaker::new(now, config, super::rng(8));
        let passive = NeighbourConfig { passive: true, ..NeighbourConfig::new(RemoteAs::Internal) };
        let good = speaker.set_neighbour(now, GOOD, passive);
        let (config, bad_asn) = bad_config(choice);
        let bad = speaker.set_neighbour(now, BAD, config);
        let good_conn = speaker.accepted(now, (OURS, 179).into(), (GOOD, 50_000).into()).unwrap();
        let good_agreed = Negotiated::default();
        let mut bed = Self {
            now,
            speaker,
            good,
            bad,
            good_conn,
            good_agreed,
            good_heard: Vec::new(),
            bad_asn,
            bad_conn: None,
            wanted: VecDeque::new(),
            bad_sent: 0,
        };
        bed.drain();
        let heard = std::mem::take(&mut bed.good_heard);
        let Ok(Message::Open(theirs)) = decode(&heard, &Negotiated::default()) else { panic!("no OPEN") };
        let ours = open(AS, 1);
        if let Message::Open(ours) = &ours {
            bed.good_agreed = Negotiated::between(ours, &theirs).unwrap();
        }
        for message in [ours, Message::KeepAlive, routes(0, 1, &[])] {
            bed.good_says(&message);
        }
        bed
    }

    fn good_says(&mut self, message: &Message) {
        let octets = octets(message, &self.good_agreed);
        self.speaker.received(self.now, self.good_conn, &octets);
        self.drain();
    }

    /// Events; and the good one takes what there is for it, and understands it.
    fn drain(&mut self) {
        while let Some(event) = self.speaker.poll_event() {
            match event {
                Event::Connect(connect) => {
                    assert_eq!(connect.neighbour, self.bad);
                    self.wanted.push_back(connect.conn);
                }
                Event::Close { conn, last } => {
                    assert_ne!(conn, self.good_conn, "the good session is closed");
                    messages(&last);
                    self.wanted.retain(|wanted| *wanted != conn);
                    self.bad_conn = self.bad_conn.filter(|open| *open != conn);
                }
                Event::Down { neighbour, .. } => assert_eq!(neighbour, self.bad),
                Event::NextHop(Tracking::Start(address)) => {
                    let near = matches!(address, IpAddr::V4(v4) if v4.octets()[..3] == [192, 0, 2]);
                    self.speaker.next_hop_changed(self.now, address, near.then_some(1));
                }
                _ => {}
            }
        }
        while let Some(octets) = self.speaker.poll_transmit(self.now, self.good_conn) {
            if self.good_agreed.families.is_empty() {
                self.good_heard.extend(octets);
                return;
            }
            for message in messages(&octets) {
                match decode(message, &self.good_agreed).unwrap() {
                    Message::Update(update) => assert!(update.faults.is_empty()),
                    Message::Notification(why) => panic!("the good neighbour is sent {why}"),
                    _ => {}
                }
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..MAX_SPIN {
            if self.speaker.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            self.speaker.handle_timeout(self.now);
            self.drain();
        }
        panic!("a deadline stays in the past");
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            let next = (self.now + KEEPALIVE).min(until);
            while let Some(at) = self.speaker.poll_timeout().filter(|at| *at <= next) {
                self.now = self.now.max(at);
                self.settle();
            }
            self.now = next;
            self.good_says(&Message::KeepAlive);
        }
    }

    fn bad_says(&mut self, octets: &[u8], fragment: usize) {
        for part in octets.chunks(fragment) {
            let Some(conn) = self.bad_conn else { return };
            self.bad_sent += part.len();
            self.speaker.received(self.now, conn, part);
            self.drain();
        }
    }

    fn step(&mut self, control: u8, data: &[u8]) {
        let (what, how) = (control & 7, control >> 3);
        let remote = SocketAddr::from((BAD, 50_000));
        match what {
            ACCEPT => {
                if let Ok(conn) = self.speaker.accepted(self.now, (OURS, 179).into(), remote) {
                    self.bad_conn = Some(conn);
                }
            }
            OCTETS => self.bad_says(data, usize::from(how) * usize::from(how) + 1),
            CLOCK => self.pass(Duration::from_secs(TIMES[usize::from(how & 7)])),
            CONNECT => match self.wanted.pop_front() {
                Some(conn) if how & 1 == 0 => {
                    self.speaker.connected(self.now, conn, (OURS, 40_000).into());
                    self.bad_conn = Some(conn);
                }
                Some(conn) => self.speaker.connect_failed(self.now, conn),
                None => {}
            },
            TRANSMIT => {
                // A kernel with room for so many batches.
                for _ in 0..how {
                    let Some(conn) = self.bad_conn else { break };
                    let Some(octets) = self.speaker.poll_transmit(self.now, conn) else { break };
                    messages(&octets);
                }
            }
            CLOSE => {
                if let Some(conn) = self.bad_conn.take() {
                    self.speaker.closed(self.now, conn);
                }
            }
            OPERATE => match how & 7 {
                0 => self.speaker.clear(self.now, self.bad, "fuzz", false),
                1 => self.speaker.clear(self.now, self.bad, "fuzz", true),
                2 => self.speaker.disable(self.now, self.bad, "fuzz"),
                3 => self.speaker.enable(self.now, self.bad),
                4 => _ = self.speaker.soft_refresh_in(self.now, self.bad, Family::Ipv4Unicast),
                5 => self.speaker.soft_refresh_out(self.now, self.bad, Family::Ipv4Unicast),
                6 => self.speaker.bfd_down(self.now, self.bad),
                _ => {
                    let (config, asn) = bad_config(how >> 3);
                    self.bad_asn = asn;
                    assert_eq!(self.speaker.set_neighbour(self.now, BAD, config), self.bad);
                }
            },
            _ => {
                let refresh = |subtype| RouteRefresh { family: Family::Ipv4Unicast, subtype };
                let withdrawn = Update { withdrawn: "10.2.0.0/24".parse().into_iter().collect(), ..Update::default() };
                let message = match how & 15 {
                    0 => open(self.bad_asn, 2),
                    1 => Message::KeepAlive,
                    2..6 => routes(2, how & 15, &[64999]),
                    6 => routes(0, 1, &[64999]),
                    7 => Message::Update(withdrawn),
                    8 => Message::Update(Update { end_of_rib: Some(Family::Ipv4Unicast), ..Update::default() }),
                    9 => Message::RouteRefresh(refresh(RouteRefresh::REQUEST)),
                    10 => Message::RouteRefresh(refresh(RouteRefresh::BORR)),
                    11 => Message::RouteRefresh(refresh(RouteRefresh::EORR)),
                    12 => Message::Notification(Notification::administrative_shutdown("bye")),
                    13 => Message::Notification(Notification::hard_reset(&Notification::bfd_down())),
                    14 => routes(77, 2, &[64999, 64998]),
                    _ => routes(2, 2, &[64999, AS]),
                };
                let agreed = Negotiated { ibgp: self.bad_asn == AS, four_octet_as: true, ..self.good_agreed.clone() };
                self.bad_says(&octets(&message, &agreed), usize::MAX);
            }
        }
        self.drain();
        self.settle();
    }

    fn check(&self) {
        let good = self.speaker.neighbour(self.good).unwrap();
        assert_eq!((good.state, good.established), (State::Established, 1));
        let rib = self.speaker.rib();
        let route = rib.route(&"10.0.0.0/24".parse().unwrap()).unwrap();
        assert!(route.paths().iter().any(|path| path.source() == Source::Neighbour(self.good)));
        let paths: usize = Family::ALL.iter().map(|family| rib.totals(*family).paths).sum();
        assert!(paths <= self.bad_sent + 1, "{paths} paths of {} octets", self.bad_sent);
        assert!(rib.attribute_sets() <= 4 * (self.bad_sent + 64));
        assert!(self.speaker.connections() <= 3);
    }
}

/// What the speaker sends are whole messages.
fn messages(mut octets: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !octets.is_empty() {
        let (message, rest) = octets.split_at(frame(octets, 65535).unwrap().unwrap());
        all.push(message);
        octets = rest;
    }
    all
}

/// Plays a script. Gives how often the other neighbour's session was established.
pub fn speaker(data: &[u8]) -> u64 {
    let Some((&choice, mut script)) = data.split_first() else { return 0 };
    let mut bed = Bed::new(choice);
    bed.check();
    for _ in 0..MAX_STEPS {
        let Some((&control, rest)) = script.split_first() else { break };
        script = rest;
        let mut data: &[u8] = &[];
        if control & 7 == OCTETS {
            let (length, rest) = script.split_first_chunk::<2>().unwrap_or((&[0, 0], script));
            (data, script) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        }
        bed.step(control, data);
        bed.check();
    }
    // Time goes on whatever was left behind.
    bed.pass(Duration::from_secs(600));
    bed.check();
    bed.speaker.neighbour(bed.bad).map_or(0, |bad| bad.established)
}

/// Scripts that lead somewhere, for seeds.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let say = |what: u8| vec![what << 3 | SAY];
    let step = |what: u8, how: u8| vec![how << 3 | what];
    let raw = |fragment: u8, octets: &[u8]| {
        [&[fragment << 3 | OCTETS][..], &(octets.len() as u16).to_be_bytes(), octets].concat()
    };
    let up = [step(ACCEPT, 0), step(TRANSMIT, 1), say(0), step(TRANSMIT, 2), say(1)].concat();
    let called = [step(CONNECT, 0), step(TRANSMIT, 1), say(0), say(1)].concat();
    let stories: [(&str, u8, Vec<Vec<u8>>); 10] = [
        ("routes", 0, vec![say(3), say(8), say(6), say(7), step(TRANSMIT, 9), say(14), step(CLOCK, 3)]),
        ("external", 1, vec![say(4), say(15), say(14), step(TRANSMIT, 9), step(CLOCK, 4)]),
        ("refresh", 0, vec![say(3), say(9), step(TRANSMIT, 5), say(10), say(2), say(11), step(OPERATE, 4)]),
        ("restart", 0, vec![say(3), step(CLOSE, 0), step(CLOCK, 2), up.clone(), say(2), say(8), step(CLOCK, 5)]),
        ("gone", 0, vec![say(5), step(CLOSE, 0), step(CLOCK, 6)]),
        ("stalls", 0, vec![say(3), step(OPERATE, 5), step(CLOCK, 2), step(TRANSMIT, 0), step(CLOCK, 6)]),
        ("too-many", 4, vec![say(5), step(CLOCK, 3), step(OPERATE, 0), up.clone(), say(2)]),
        (
            "operator",
            0,
            vec![step(OPERATE, 0), up.clone(), step(OPERATE, 2), step(CLOCK, 3), step(OPERATE, 3), up.clone()],
        ),
        ("bye", 8, vec![say(3), say(12), step(CLOCK, 3), up.clone(), say(13)]),
        ("again", 16, vec![up.clone(), say(3), step(ACCEPT, 0), step(OPERATE, 7)]),
    ];
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, choice, story) in stories {
        all.push((name.to_owned(), [vec![choice], up.clone(), story.concat()].concat()));
        all.push((format!("{name}-called"), [vec![choice | 2], called.clone(), story.concat()].concat()));
    }
    // Raw octets in fragments: an OPEN, a KEEPALIVE, UPDATEs good and bad.
    let agreed = Negotiated {
        ibgp: true,
        four_octet_as: true,
        families: Family::ALL.into_iter().collect(),
        ..Negotiated::default()
    };
    let update = octets(&routes(2, 3, &[64999]), &agreed);
    for (n, fragment) in [0, 1, 3, 31].into_iter().enumerate() {
        let mut bad = update.clone();
        let at = 23 + n * 3;
        bad[at] ^= 0x40;
        let talk = [octets(&open(AS, 2), &agreed), octets(&Message::KeepAlive, &agreed), update.clone(), bad].concat();
        all.push((format!("raw{n}"), [vec![0], step(ACCEPT, 0), raw(fragment, &talk), step(CLOCK, 5)].concat()));
        all.push((
            format!("part{n}"),
            [vec![0], up.clone(), raw(fragment, &update[..20 + n]), step(CLOCK, 6)].concat(),
        ));
    }
    all
}
