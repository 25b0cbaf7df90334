//! RADIUS: packets and their attributes, replies to a client, requests to the server of dynamic authorization.

use ::radius::attribute::{AttributeList, Attributes, EVENT_TIMESTAMP, MESSAGE_AUTHENTICATOR, STATE, VENDOR_SPECIFIC};
use ::radius::crypto::{self, MessageAuthenticator};
use ::radius::dynauth::{self, ErrorCause, Verdict};
use ::radius::packet::MAX;
use ::radius::{Builder, Client, Code, Config, Event, LinkOp, Packet, Request, Route, Secret, ServerConfig, Transport};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const SECRET: &[u8] = b"testing123";
/// When the requests of radclient among the seeds were made.
const TIME: u64 = 0x6b07_9489;

/// The octets as a packet, as attributes, as a datagram and as a stream.
pub fn packets(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data) {
        assert!((20..=MAX).contains(&packet.octets().len()));
        black_box(crypto::message_authenticator(&packet, &packet.authenticator, SECRET));
        let list = getters(packet.attributes());
        reply(&list);
        request(packet.id, &list);
    }
    if let Some(attributes) = Attributes::parse(data) {
        getters(attributes);
    }
    black_box((crypto::reveal_salted(SECRET, &[7; 16], data), crypto::reveal_password(SECRET, &[7; 16], data)));
    if let Some(route) = str::from_utf8(data).ok().and_then(|text| text.parse::<Route>().ok()) {
        let again = format!("{}/{}", route.prefix, route.length).parse::<Route>();
        assert!(again.is_ok_and(|again| (again.prefix, again.length) == (route.prefix, route.length)));
    }
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut client, now, _) = asked(transport);
        for piece in data.chunks(if transport.is_stream() { 7 } else { MAX }) {
            input(&mut client, now, piece);
        }
        assert!(!replied(&mut client), "a reply was forged");
    }
    dynamic(data);
}

/// Reads every attribute as everything; what is copied is the same.
fn getters(attributes: Attributes<'_>) -> AttributeList {
    let mut list = AttributeList::new();
    for a in attributes.iter() {
        black_box((a.text().is_ok(), a.u32().is_ok(), a.u64().is_ok(), a.ipv4().is_ok(), a.ipv6().is_ok()));
        black_box((a.interface_id().is_ok(), a.route().is_ok(), a.tagged_text().is_ok(), a.tagged_u32().is_ok()));
        // A Vendor-Specific that holds no attributes may do so when its bits are masked.
        if let (Ok((prefix, length)), true) = (a.ipv6_prefix(), a.kind != VENDOR_SPECIFIC) {
            let mut one = AttributeList::new();
            one.ipv6_prefix(a.kind, prefix, length);
            assert_eq!(one.as_attributes().ipv6_prefix(a.kind), Ok(Some((prefix, length))));
        }
        list.copy(a);
    }
    black_box(attributes.eap_message());
    assert!(list.as_attributes().iter().eq(attributes.iter()));
    list
}

/// A client that waits for a reply to its request.
fn asked(transport: Transport) -> (Client, Instant, Vec<u8>) {
    let (now, address) = (Instant::now(), SocketAddr::from(([192, 0, 2, 1], 1812)));
    let server = ServerConfig { transport, ..ServerConfig::new("a", address, Secret::new(SECRET)) };
    let mut client = Client::new(Config { servers: vec![server], ..Config::default() }, super::rng(5));
    client.request(now, 1, Request::new(Code::AccessRequest, AttributeList::new()), None);
    let Some(LinkOp::Open(link)) = client.poll_link() else { panic!("no link") };
    client.link_up(now, link);
    let Some((_, octets)) = client.poll_transmit() else { panic!("no request") };
    (client, now, octets)
}

fn input(client: &mut Client, now: Instant, octets: &[u8]) {
    let link = ::radius::LinkId { server: ::radius::ServerId(0), number: 0 };
    client.handle_input(now, link, octets);
    while client.poll_link().is_some() {}
    assert!(client.in_flight() <= 1);
}

fn replied(client: &mut Client) -> bool {
    std::iter::from_fn(|| client.poll_event()).any(|event| matches!(event, Event::Reply { .. }))
}

/// An authentic reply that has these attributes is one, unless its Message-Authenticator comes twice.
fn reply(list: &AttributeList) {
    let (mut client, now, request) = asked(Transport::Udp);
    let Ok(request) = Packet::parse(&request) else { panic!("our own request is malformed") };
    let builder = Builder::new(Code::AccessAccept, request.id).attributes(list);
    let Ok(octets) = builder.reply(&request.authenticator, SECRET) else { return };
    let twice = list.as_attributes().first(MESSAGE_AUTHENTICATOR).is_some();
    input(&mut client, now, &octets);
    let Some(event) = client.poll_event() else { return assert!(twice, "a reply was refused") };
    let Event::Reply { reply, .. } = event else { panic!("{event:?}") };
    assert!(!twice && client.in_flight() == 0);
    black_box((reply.mppe_keys().is_ok(), reply.tunnel_password().is_ok(), format!("{reply:?}")));
}

/// An authentic CoA-Request with these attributes is taken, if it is of the time.
fn request(id: u8, list: &AttributeList) {
    if let Ok(octets) = Builder::new(Code::CoaRequest, id).attributes(list).hashed_request(SECRET) {
        let of_the_time = list.as_attributes().u32(EVENT_TIMESTAMP).ok().flatten().is_some_and(|time| {
            u64::from(time).abs_diff(TIME) <= 300 && list.as_attributes().first(MESSAGE_AUTHENTICATOR).is_none()
        });
        assert_eq!(dynamic(&octets), of_the_time);
    }
}

/// A datagram at the server of dynamic authorization, twice; says whether it was a request.
fn dynamic(data: &[u8]) -> bool {
    let (now, from) = (Instant::now(), SocketAddr::from(([192, 0, 2, 9], 4000)));
    let clients = vec![(from.ip(), Secret::new(SECRET))];
    let mut server = dynauth::Server::new(dynauth::Config { clients, ..dynauth::Config::default() });
    let Verdict::Request(request) = server.handle_input(now, TIME, from, data) else { return false };
    getters(request.attributes());
    let state = request.attributes().all(STATE).count();
    let Some((to, answer)) = server.answer(request.handle, Err(ErrorCause::SessionContextNotFound)) else {
        panic!("there is no answer")
    };
    let (Ok(asked), Ok(packet)) = (Packet::parse(data), Packet::parse(&answer)) else { panic!("malformed") };
    let mac = crypto::message_authenticator(&packet, &asked.authenticator, SECRET);
    assert!(to == from && mac == MessageAuthenticator::Valid && packet.attributes().all(STATE).count() == state);
    let again = server.handle_input(now + Duration::from_secs(1), TIME + 1, from, data);
    assert!(matches!(again, Verdict::Resend(octets) if octets == answer));
    true
}
