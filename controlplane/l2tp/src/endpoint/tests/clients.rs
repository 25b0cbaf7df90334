//! What clients in the field do. Windows in particular takes any StopCCN for the end, whatever its result code says: none
//! may be sent that is not needed.

use super::*;
use crate::avp::attribute::*;

const BEARER_TYPE: u16 = 18;
const CALLED_NUMBER: u16 = 21;
const CALLING_NUMBER: u16 = 22;
const SUB_ADDRESS: u16 = 23;
const PHYSICAL_CHANNEL: u16 = 25;
const LAST_SENT_LCP: u16 = 27;
const PROXY_AUTHEN_TYPE: u16 = 29;
const PRIVATE_GROUP: u16 = 37;
const RX_CONNECT_SPEED: u16 = 38;
const MICROSOFT: u16 = 311;

fn avp(mandatory: bool, vendor: u16, attribute: u16, value: &[u8]) -> Vec<u8> {
    let flags = if mandatory { 0x8000 } else { 0 } | (6 + value.len()) as u16;
    [&flags.to_be_bytes()[..], &vendor.to_be_bytes(), &attribute.to_be_bytes(), value].concat()
}

/// A client that says what is written in its messages, all in one SA.
struct Client {
    lns: Endpoint,
    now: Instant,
    binding: Option<NonZeroU32>,
}

impl Client {
    fn new() -> Self {
        Self { lns: endpoint(2, Config::default(), 0x4000), now: Instant::now(), binding: binding(1) }
    }

    /// Sends a message and gives what comes back: tunnel in the header, and the message type, `None` for a ZLB.
    fn say(
        &mut self,
        (tunnel, session): (u16, u16),
        (ns, nr): (u16, u16),
        avps: &[Vec<u8>],
    ) -> Vec<(u16, Option<u16>)> {
        let data = Header { tunnel, session, ns, nr }.emit(&avps.concat());
        self.lns.handle_input(self.now, Meta { local: lns_addr(), remote: lac_addr(1), binding: self.binding }, &data);
        let sent = std::iter::from_fn(|| self.lns.poll_transmit());
        let kind = |t: Transmit| {
            let (header, body) = Header::parse(&t.data).unwrap();
            (header.tunnel, body.get(6..8).map(|k| u16::from_be_bytes([k[0], k[1]])))
        };
        sent.map(kind).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.lns.poll_event()).collect()
    }
}

fn kind(n: u16) -> Vec<u8> {
    avp(true, 0, MESSAGE_TYPE, &n.to_be_bytes())
}

fn sccrq(tunnel: u16) -> Vec<Vec<u8>> {
    vec![
        kind(1),
        avp(true, 0, PROTOCOL_VERSION, &[1, 0]),
        avp(true, 0, FRAMING_CAPABILITIES, &[0, 0, 0, 1]),
        avp(true, 0, BEARER_CAPABILITIES, &[0; 4]),
        avp(false, 0, FIRMWARE_REVISION, &[0x0a, 0]),
        avp(true, 0, HOST_NAME, b"DESKTOP-1"),
        avp(false, 0, VENDOR_NAME, b"Microsoft"),
        avp(true, 0, ASSIGNED_TUNNEL_ID, &tunnel.to_be_bytes()),
        avp(true, 0, RECEIVE_WINDOW_SIZE, &[0, 8]),
        // Of a vendor, of a later RFC, with a reserved bit, and empty: nobody has to know them.
        avp(false, MICROSOFT, 77, b"\x00\x01"),
        avp(false, 0, 99, b"?"),
        [&hex_literal::hex!("0407 0000 0063")[..], &[1]].concat(),
        avp(false, 0, VENDOR_NAME, b""),
    ]
}

fn icrq(session: u16) -> Vec<Vec<u8>> {
    vec![
        kind(10),
        avp(true, 0, ASSIGNED_SESSION_ID, &session.to_be_bytes()),
        avp(true, 0, CALL_SERIAL_NUMBER, &[0; 4]),
        avp(true, 0, BEARER_TYPE, &[0, 0, 0, 2]),
        avp(false, 0, PHYSICAL_CHANNEL, &[0; 4]),
        avp(true, 0, CALLED_NUMBER, b""),
        avp(true, 0, CALLING_NUMBER, b"1"),
        avp(true, 0, SUB_ADDRESS, b""),
        avp(false, MICROSOFT, 1, b""),
    ]
}

fn iccn() -> Vec<Vec<u8>> {
    vec![
        kind(12),
        avp(true, 0, TX_CONNECT_SPEED, &[0x05, 0xf5, 0xe1, 0]),
        avp(true, 0, FRAMING_TYPE, &[0, 0, 0, 1]),
        avp(false, 0, RX_CONNECT_SPEED, &[0; 4]),
        avp(false, 0, PROXY_AUTHEN_TYPE, &[0, 4]),
        avp(false, 0, LAST_SENT_LCP, b"\x01\x04\x05\x78"),
        avp(false, 0, PRIVATE_GROUP, b"g"),
        avp(false, MICROSOFT, 2, b"\xff"),
    ]
}

/// Establishes tunnel and session, each message twice, and gives the ids that we chose.
fn dial(c: &mut Client, tunnel: u16, session: u16) -> (u16, u16) {
    assert_eq!(c.say((0, 0), (0, 0), &sccrq(tunnel)), [(tunnel, Some(2))]);
    // A repeat is answered by what was sent already, and by nothing worse.
    assert!(c.say((0, 0), (0, 0), &sccrq(tunnel)).iter().all(|(to, kind)| *to == tunnel && *kind != Some(4)));
    let id =
        c.lns.tunnels().find(|t| t.peer_tunnel == tunnel && t.session == crate::fsm::session::State::Idle).unwrap().id;
    let (ours, our_session) = ((id >> 16) as u16, id as u16);
    c.say((ours, 0), (1, 1), &[kind(3)]);
    assert_eq!(c.say((ours, 0), (2, 1), &icrq(session)), [(tunnel, Some(11))]);
    assert!(c.say((ours, 0), (2, 1), &icrq(session)).iter().all(|(_, kind)| *kind != Some(14) && *kind != Some(4)));
    assert_eq!(c.say((ours, our_session), (3, 2), &iccn()), [(tunnel, None)]);
    (ours, our_session)
}

#[test]
fn a_client_as_windows_comes_up_and_is_told_nothing_that_ends_it() {
    let mut c = Client::new();
    let (ours, session) = dial(&mut c, 1, 1);
    let events = c.events();
    assert_eq!(ups(&events).len(), 1);
    // Set-Link-Info and Hello, and messages of types that are not mandatory to know.
    assert_eq!(c.say((ours, session), (4, 2), &[kind(16), avp(true, 0, 35, &[0xff; 10])]), [(1, None)]);
    assert_eq!(c.say((ours, 0), (5, 2), &[kind(6), avp(false, MICROSOFT, 3, b"x")]), [(1, None)]);
    assert_eq!(c.say((ours, 0), (6, 2), &[avp(false, 0, MESSAGE_TYPE, &[0, 77])]), [(1, None)]);
    assert_eq!(c.events(), []);
    assert_eq!(c.lns.tunnels().count(), 1);
}

#[test]
fn nobody_is_told_stopccn_for_what_he_does_not_have() {
    let mut c = Client::new();
    let (ours, session) = dial(&mut c, 1, 1);
    c.events();
    // A tunnel that is not there, a session that is not there, and the tunnel from the SA of somebody else.
    assert_eq!(c.say((0x777, 0), (4, 2), &[kind(6)]), []);
    assert!(
        c.say((ours, session ^ 1), (4, 2), &[kind(16), avp(true, 0, 35, &[0xff; 10])]).iter().all(|m| m.1.is_none())
    );
    c.binding = binding(2);
    assert_eq!(c.say((ours, 0), (5, 2), &[kind(6)]), []);
    assert_eq!(c.events(), []);
}

/// The new tunnel is answered like any other. The old one is told only when the new one is there, and by the id that it
/// has at the client, which the new one does not have.
#[test]
fn a_second_tunnel_draws_no_stopccn() {
    let mut c = Client::new();
    dial(&mut c, 1, 1);
    assert_eq!(c.say((0, 0), (0, 0), &sccrq(2)), [(2, Some(2))]);
    let new = (c.lns.tunnels().find(|t| t.peer_tunnel == 2).unwrap().id >> 16) as u16;
    c.events();
    let sent = c.say((new, 0), (1, 1), &[kind(3)]);
    assert!(sent.iter().all(|(to, kind)| *kind != Some(4) || *to == 1), "{sent:?}");
    let events = c.events();
    assert!(downs(&events).iter().all(|(_, reason)| reason.cause == Cause::Replaced));
    assert_eq!(c.say((new, 0), (2, 1), &icrq(1)), [(2, Some(11))]);
}

/// After a restart a client counts its tunnels from the beginning. Its old tunnel in the same SA has the id of the new
/// one: a StopCCN would hit that.
#[test]
fn a_tunnel_of_the_same_id_replaces_the_old_one_in_silence() {
    let mut c = Client::new();
    dial(&mut c, 1, 1);
    c.events();
    c.now += Duration::from_secs(60);
    let (_, _) = dial(&mut c, 1, 1);
    let events = c.events();
    assert_eq!((downs(&events)[0].1.cause, ups(&events).len()), (Cause::Replaced, 1));
}

/// Two clients behind one NAT: the same addresses and ports, the same ids, different SAs.
#[test]
fn clients_behind_one_nat_differ_by_their_sa_only() {
    let mut c = Client::new();
    let first = dial(&mut c, 1, 1);
    c.binding = binding(2);
    let second = dial(&mut c, 1, 1);
    assert_ne!(first, second);
    let events = c.events();
    assert_eq!((ups(&events).len(), downs(&events).len()), (2, 0));
    // One leaves.
    let stop = [kind(4), avp(true, 0, RESULT_CODE, &[0, 1]), avp(true, 0, ASSIGNED_TUNNEL_ID, &[0, 1])];
    assert_eq!(c.say((second.0, 0), (4, 2), &stop), [(1, None)]);
    let events = c.events();
    assert_eq!(downs(&events).len(), 1);
    c.binding = binding(1);
    assert_eq!(c.say((first.0, 0), (4, 2), &[kind(6)]), [(1, None)]);
    assert_eq!(c.events(), []);
}
