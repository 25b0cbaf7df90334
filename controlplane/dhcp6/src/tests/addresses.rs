//! IA_NA: golden octets (made with scapy), the server's answers, and both ends over a lossy wire.

use super::*;
use crate::message::MessageType::*;

const REPLY_NA: &[u8] = &hex!(
    "07123456 0002000a0002000000090c0ffee0 0001000a0003000102000000000a
     00030028 00000007 00000708 00000b40 00050018 20010db8000100000000000000000007 00000e10 00001c20"
);

fn address() -> Ipv6Addr {
    v6("2001:db8:1::7")
}

fn with_address(prefixes: &[Prefix]) -> ServerConfig {
    ServerConfig { addresses: vec![address()], ..server_config(prefixes) }
}

fn na(iaid: u32, addresses: &[Ipv6Addr]) -> DhcpOption {
    let entry = |a: &Ipv6Addr| IaAddress { address: *a, preferred: 9, valid: 9, status: None };
    DhcpOption::IaNa(Ia { iaid, addresses: addresses.iter().map(entry).collect(), ..Ia::default() })
}

fn pd(iaid: u32) -> DhcpOption {
    DhcpOption::IaPd(Ia { iaid, ..Ia::default() })
}

/// Asks as the client of [`client_duid`], or as another.
fn ask(server: &mut Server, kind: MessageType, other: bool, options: &[DhcpOption]) -> Message {
    let duid = if other { Duid::uuid([7; 16]) } else { client_duid() };
    let mut all = vec![DhcpOption::ClientId(duid)];
    if matches!(kind, Request | Renew | Release | Decline) {
        all.push(DhcpOption::ServerId(server_config(&[]).duid));
    }
    all.extend_from_slice(options);
    let message = Message { kind, transaction: [0x12, 0x34, 0x56], options: all };
    Message::parse(&server.handle_input(Instant::now(), &message.encode()).unwrap()).unwrap()
}

fn ia_status(reply: &Message) -> Option<u16> {
    reply.associations().find_map(|(_, ia)| ia.status.as_ref()).map(|s| s.code)
}

fn message_status(reply: &Message) -> Option<u16> {
    reply.options.iter().find_map(|o| if let DhcpOption::Status(s) = o { Some(s.code) } else { None })
}

fn drain(server: &mut Server) -> Vec<ServerEvent> {
    std::iter::from_fn(|| server.poll_event()).collect()
}

#[test]
fn an_assignment_is_scapys() {
    let mut server = Server::new(with_address(&[]));
    let reply = ask(&mut server, Request, false, &[na(7, &[])]);
    assert_eq!(reply.encode(), REPLY_NA);
    assert_eq!(drain(&mut server), [ServerEvent::Bound { lease: Lease::Address(address()) }]);
    assert_eq!(Lease::Address(address()).prefix(), prefix("2001:db8:1::7", 128));
}

#[test]
fn addresses_and_prefixes_have_identifiers_of_their_own() {
    let mut server = Server::new(with_address(&[delegated()]));
    for _ in 0..2 {
        let reply = ask(&mut server, Request, false, &[na(1, &[]), pd(1), na(2, &[]), pd(2)]);
        let found: Vec<_> = reply.associations().map(|(_, ia)| ia.leases().next().map(|l| l.0)).collect();
        assert_eq!(found, [Some(Lease::Address(address())), Some(Lease::Prefix(delegated())), None, None]);
    }
    assert_eq!(drain(&mut server).len(), 2);
    // A renewal of what is not the client's own names it with lifetimes of zero.
    let reply = ask(&mut server, Renew, false, &[na(1, &[v6("2001:db8::bad")])]);
    let leases: Vec<_> = reply.associations().next().unwrap().1.leases().map(|(l, _, valid)| (l, valid)).collect();
    assert_eq!(leases, [(Lease::Address(address()), 7200), (Lease::Address(v6("2001:db8::bad")), 0)]);
    // Another router takes over.
    let reply = ask(&mut server, Request, true, &[na(1, &[])]);
    assert_eq!(reply.associations().next().unwrap().1.addresses[0].address, address());
    assert_eq!((server.bound().count(), drain(&mut server).len()), (2, 0));
}

/// As routers do that would like an address too; NoBinding would send them back to Request at every Renew.
#[test]
fn who_renews_and_asks_in_passing_is_told_that_there_is_none() {
    let mut server = Server::new(server_config(&[delegated()]));
    ask(&mut server, Request, false, &[na(1, &[]), pd(1)]);
    for kind in [Renew, Rebind] {
        let reply = ask(&mut server, kind, false, &[na(1, &[]), pd(1)]);
        assert_eq!(ia_status(&reply), Some(status::NO_ADDRS_AVAIL));
        assert_eq!(reply.associations().nth(1).unwrap().1.prefixes[0].prefix, delegated().address());
        let reply = ask(&mut server, kind, false, &[na(1, &[address()])]);
        assert_eq!(ia_status(&reply), Some(status::NO_BINDING));
    }
}

#[test]
fn confirm_is_answered_by_what_is_bound() {
    let mut server = Server::new(with_address(&[]));
    let confirm = |server: &mut Server, other| message_status(&ask(server, Confirm, other, &[na(1, &[address()])]));
    // Of an earlier session: nothing is routed to it yet.
    assert_eq!(confirm(&mut server, false), Some(status::NOT_ON_LINK));
    ask(&mut server, Request, false, &[na(1, &[])]);
    assert_eq!(confirm(&mut server, false), Some(status::SUCCESS));
    assert_eq!(confirm(&mut server, true), Some(status::NOT_ON_LINK));
    let two = ask(&mut server, Confirm, false, &[na(1, &[address(), v6("2001:db8::bad")])]);
    assert_eq!(message_status(&two), Some(status::NOT_ON_LINK));
    let none =
        Message { kind: Confirm, transaction: [0; 3], options: vec![DhcpOption::ClientId(client_duid()), na(1, &[])] };
    assert_eq!(server.handle_input(Instant::now(), &none.encode()), None);
}

#[test]
fn a_declined_address_is_not_given_again() {
    let second = v6("2001:db8:1::8");
    let mut server = Server::new(ServerConfig { addresses: vec![address(), second], ..server_config(&[]) });
    assert_eq!(ia_status(&ask(&mut server, Decline, false, &[na(1, &[address()])])), Some(status::NO_BINDING));
    ask(&mut server, Request, false, &[na(1, &[])]);
    let reply = ask(&mut server, Decline, false, &[na(1, &[address()])]);
    assert_eq!((ia_status(&reply), message_status(&reply)), (None, Some(status::SUCCESS)));
    let lease = Lease::Address(address());
    assert_eq!(drain(&mut server), [ServerEvent::Bound { lease }, ServerEvent::Released { lease }]);
    let reply = ask(&mut server, Request, false, &[na(1, &[])]);
    assert_eq!(reply.associations().next().unwrap().1.addresses[0].address, second);
    ask(&mut server, Decline, false, &[na(1, &[second])]);
    assert_eq!(ia_status(&ask(&mut server, Request, false, &[na(1, &[])])), Some(status::NO_ADDRS_AVAIL));
    // What is released, and not declined, is.
    let mut server = Server::new(with_address(&[]));
    ask(&mut server, Request, false, &[na(1, &[])]);
    ask(&mut server, Release, false, &[na(1, &[address()])]);
    ask(&mut server, Request, false, &[na(1, &[])]);
    let lease = Lease::Address(address());
    let again = [ServerEvent::Bound { lease }, ServerEvent::Released { lease }, ServerEvent::Bound { lease }];
    assert_eq!(drain(&mut server), again);
}

fn sim(seed: u64, config: ServerConfig, rapid_commit: bool, loss: f64) -> Sim {
    let mut sim = Sim::new(seed, &[], rapid_commit, loss);
    let client = ClientConfig { duid: client_duid(), iaid: 7, address: true, length: None, rapid_commit };
    sim.client = Client::new(client, Box::new(StdRng::seed_from_u64(seed)));
    sim.client.start(sim.now);
    sim.server = Server::new(config);
    sim
}

fn lost(sim: &Sim) -> Vec<Lease> {
    sim.events.iter().filter_map(|e| if let ClientEvent::Lost { lease } = e { Some(*lease) } else { None }).collect()
}

#[test]
fn what_there_is_is_had_kept_and_given_back() {
    for seed in 0..20 {
        for (has_prefix, has_address) in [(true, true), (true, false), (false, true)] {
            let prefixes: Vec<_> = has_prefix.then(delegated).into_iter().collect();
            let mut config = server_config(&prefixes);
            config.addresses.extend(has_address.then(address));
            let mut sim = sim(seed, config, seed % 2 == 0, if seed == 0 { 0.0 } else { 0.2 });
            sim.run(120);
            let have = |sim: &Sim| (sim.client.prefix(), sim.client.address());
            let expected = (has_prefix.then(delegated), has_address.then(address));
            assert_eq!(have(&sim), expected, "{seed}");
            sim.run(86_400);
            assert_eq!((have(&sim), lost(&sim)), (expected, vec![]), "{seed}");
            sim.loss = 0.0;
            sim.client.release(sim.now);
            sim.run(60);
            let count = usize::from(has_prefix) + usize::from(has_address);
            assert_eq!((have(&sim), lost(&sim).len()), ((None, None), count));
            assert_eq!((sim.server.bound().count(), sim.server_events.len()), (0, 2 * count));
            assert_eq!(sim.client.poll_timeout(), None);
        }
    }
}

#[test]
fn one_that_is_taken_away_does_not_cost_the_other() {
    let mut sim = sim(1, with_address(&[delegated()]), false, 0.0);
    sim.run(60);
    sim.server = Server::new(server_config(&[delegated()]));
    sim.run(4000);
    assert_eq!(lost(&sim), [Lease::Address(address())]);
    assert_eq!((sim.client.prefix(), sim.client.address()), (Some(delegated()), None));
    sim.run(86_400);
    assert_eq!(lost(&sim).len(), 1);
}

#[test]
fn a_lifetime_of_zero_ends_a_lease_at_once() {
    let mut sim = sim(1, with_address(&[delegated()]), true, 0.0);
    sim.run(60);
    sim.loss = 1.0;
    sim.run(1800);
    assert_eq!(sim.sent.last(), Some(&Renew));
    while sim.client.poll_transmit().is_some() {}
    sim.client.handle_timeout(sim.client.poll_timeout().unwrap());
    let renew = Message::parse(&sim.client.poll_transmit().unwrap()).unwrap();
    let zero = IaAddress { address: address(), preferred: 0, valid: 0, status: None };
    let reply = Message {
        kind: Reply,
        transaction: renew.transaction,
        options: vec![
            DhcpOption::ServerId(server_config(&[]).duid),
            DhcpOption::ClientId(client_duid()),
            DhcpOption::IaNa(Ia { iaid: 7, addresses: vec![zero], ..Ia::default() }),
        ],
    };
    sim.client.handle_input(sim.now, &reply.encode());
    assert_eq!((sim.client.prefix(), sim.client.address()), (Some(delegated()), None));
}
