//! A peer that is no speaker: it says what the test wants.

use super::{SECOND, address};
use bgp::message::{Capability, Family, Message, Negotiated, Notification, Open, frame};
use bgp::speaker::{ConnId, Event, Speaker};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

/// A connection that the peer has opened to a speaker.
pub struct Raw {
    pub conn: ConnId,
    pub negotiated: Negotiated,
    /// What the speaker sent, as whole messages.
    pub heard: Vec<Message>,
    /// The speaker has closed the connection.
    pub closed: bool,
}

/// The OPEN of a peer with all capabilities.
pub fn open(asn: u32, n: usize) -> Open {
    Open {
        asn,
        hold_time: 90,
        router_id: Ipv4Addr::new(10, 0, 0, n as u8 + 1),
        capabilities: vec![
            Capability::MultiProtocol(Family::Ipv4Unicast),
            Capability::MultiProtocol(Family::Ipv6Unicast),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::FourOctetAs(asn),
        ],
    }
}

impl Raw {
    /// Connects from the address of node `n`.
    pub fn connect(speaker: &mut Speaker, now: Instant, n: usize) -> Self {
        let local = SocketAddr::new(address(0), 179);
        let conn = speaker.accepted(now, local, SocketAddr::new(address(n), 50_000)).unwrap();
        Self { conn, negotiated: Negotiated::default(), heard: Vec::new(), closed: false }
    }

    /// Connects and goes through the OPENs to Established.
    pub fn establish(speaker: &mut Speaker, now: Instant, n: usize, open: Open) -> Self {
        let mut raw = Self::connect(speaker, now, n);
        raw.listen(speaker, now);
        let ours = raw.heard.iter().find_map(|m| if let Message::Open(open) = m { Some(open.clone()) } else { None });
        raw.say(speaker, now, &Message::Open(open.clone()));
        raw.say(speaker, now, &Message::KeepAlive);
        raw.negotiated = Negotiated::between(&open, &ours.unwrap()).unwrap();
        raw.listen(speaker, now);
        raw
    }

    pub fn say(&mut self, speaker: &mut Speaker, now: Instant, message: &Message) {
        let mut octets = Vec::new();
        message.encode(&self.negotiated, &mut octets);
        speaker.received(now, self.conn, &octets);
        self.listen(speaker, now);
    }

    /// Takes what the speaker has to send and to tell.
    pub fn listen(&mut self, speaker: &mut Speaker, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(octets) = speaker.poll_transmit(now, self.conn) {
            self.hear(&octets);
        }
        while let Some(event) = speaker.poll_event() {
            if let Event::Close { conn, last } = &event
                && *conn == self.conn
            {
                self.hear(last);
                self.closed = true;
            }
            events.push(event);
        }
        events
    }

    fn hear(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let length = frame(octets, 65535).unwrap().unwrap();
            self.heard.push(bgp::message::decode(&octets[..length], &self.negotiated).unwrap());
            octets = &octets[length..];
        }
    }

    /// The NOTIFICATION that the speaker ended the connection with.
    pub fn notification(&self) -> Option<&Notification> {
        self.heard.iter().find_map(|m| if let Message::Notification(n) = m { Some(n) } else { None })
    }
}

/// Lets time pass for a speaker alone, with the timers that run out meanwhile.
pub fn pass(speaker: &mut Speaker, now: &mut Instant, seconds: u32) {
    let until = *now + SECOND * seconds;
    while let Some(at) = speaker.poll_timeout().filter(|at| *at <= until) {
        *now = at.max(*now);
        speaker.handle_timeout(*now);
    }
    *now = until;
}
