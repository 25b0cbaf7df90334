//! `feed`: sends a full table over TCP to whatever speaks BGP there, and does what lines on standard input say: `churn`
//! changes routes one by one and ends by withdrawing the last [`MARK`] of them, `withdraw` withdraws all.
//!
//! It prints `begin` and `sent` for each with the time in nanoseconds since the epoch: before the first octet, and when the
//! kernel has taken the last.

use crate::routes::{SETS, V4, V6};
use anyhow::{Context, ensure};
use bgp::message::{self, MAX_LEN, kind};
use ipnet::IpNet;
use perf::peer::Peer;
use perf::table::{Random, Table};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Changes of `churn`: a third of them other attributes, the others the end of a route and the same route anew.
const CHANGES: usize = 500_000;
/// Routes that are gone after it: they show that it is done.
const MARK: usize = 1000;
/// Tries to connect, one a second.
const TRIES: usize = 30;

/// Where to, the AS of both ends, the next hop of all routes.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let [to, asn, next_hop] = args else { anyhow::bail!("perf feed TO AS NEXT-HOP") };
    let (to, asn, next_hop): (IpAddr, u32, IpAddr) = (to.parse()?, asn.parse()?, next_hop.parse()?);
    let table = Table::new(V4, V6, SETS);
    let peer = Peer::new(asn, asn, Ipv4Addr::new(10, 255, 0, 1));
    let announced = table.announce(&peer.negotiated, 100, |_, _| next_hop);
    let withdrawn = table.withdraw(&peer.negotiated);
    let churned = churn(&table, &peer, next_hop);

    let mut stream = connect(to)?;
    stream.write_all(&peer.open())?;
    await_message(&mut stream, kind::OPEN)?;
    stream.write_all(&peer.keep_alive())?;
    await_message(&mut stream, kind::KEEPALIVE)?;
    let mut other = stream.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut other, &mut std::io::sink()));
    send("announced", &mut stream, &announced)?;
    // Until nobody asks for anything any more.
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "churn" => send("churned", &mut stream, &churned)?,
            "withdraw" => send("withdrawn", &mut stream, &withdrawn)?,
            other => anyhow::bail!("{other:?} is neither churn nor withdraw"),
        }
    }
    Ok(())
}

/// UPDATEs of one prefix each.
fn churn(table: &Table, peer: &Peer, next_hop: IpAddr) -> Vec<u8> {
    let all: Vec<IpNet> = table.prefixes().collect();
    let (mark, rest) = all.split_at(MARK);
    let (mut random, mut octets, mut changes) = (Random(17), Vec::new(), 0);
    while changes < CHANGES {
        let prefix = rest[random.below(rest.len() as u64) as usize];
        if random.below(2) == 0 {
            Table::change(prefix, None, &peer.negotiated, &mut octets);
            changes += 1;
        }
        Table::change(prefix, Some(next_hop), &peer.negotiated, &mut octets);
        changes += 1;
    }
    for prefix in mark {
        Table::change(*prefix, None, &peer.negotiated, &mut octets);
    }
    octets
}

fn connect(to: IpAddr) -> anyhow::Result<TcpStream> {
    for _ in 0..TRIES {
        if let Ok(stream) = TcpStream::connect((to, 179)) {
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    anyhow::bail!("nobody listens at {to}")
}

/// Reads messages up to the first of a kind.
fn await_message(stream: &mut TcpStream, wanted: u8) -> anyhow::Result<()> {
    loop {
        let mut message = vec![0; message::HEADER_LEN];
        stream.read_exact(&mut message).context("the session was closed")?;
        let length = usize::from(u16::from_be_bytes([message[16], message[17]]));
        ensure!((message::HEADER_LEN..=MAX_LEN).contains(&length), "a message of {length} octets");
        message.resize(length, 0);
        stream.read_exact(&mut message[message::HEADER_LEN..])?;
        ensure!(message[18] != kind::NOTIFICATION, "NOTIFICATION {}/{}", message[19], message[20]);
        if message[18] == wanted {
            return Ok(());
        }
    }
}

fn send(what: &str, stream: &mut TcpStream, octets: &[u8]) -> anyhow::Result<()> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    println!("begin {what} {}", now());
    stream.write_all(octets)?;
    println!("sent {what} {}", now());
    Ok(())
}
