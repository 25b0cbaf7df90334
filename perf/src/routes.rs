//! `routes`: a full table from a neighbour, from its octets to the forwarding tables that workers use; then from a second
//! neighbour with other egresses, the loss of the first ones, and the withdrawal of everything.

use anyhow::ensure;
use bgp::message::Family;
use perf::resident;
use perf::router::{self, Router};
use perf::table::Table;
use std::net::IpAddr;
use std::time::Instant;

/// Of a full table.
pub const V4: usize = 1_000_000;
/// Of a full table.
pub const V6: usize = 250_000;
/// Of a full table: 60,000 when each is counted once per family.
pub const SETS: usize = 40_000;
/// Egresses of each neighbour's routes; those of the first neighbour from, and of the second.
const EGRESSES: u8 = 100;
const FIRST: u8 = 1;
const SECOND: u8 = 101;
/// Room in the forwarding tables, per family.
const ROOM: u32 = 1 << 20;

/// Measures; without `tables` the control plane alone, whose output is dropped.
pub fn run(tables: bool) -> anyhow::Result<()> {
    let table = Table::new(V4, V6, SETS);
    let dataplane = if tables { Some(router::dataplane(ROOM)?) } else { None };
    let mut router = Router::new(router::config(ROOM, "")?, dataplane)?;
    let (first, second) = (router.connect(1)?, router.connect(2)?);
    let n = &first.negotiated;
    let announced = [FIRST, SECOND]
        .map(|from| table.announce(n, 200 - u32::from(from), |set, family| router::egress(from + turn(set), family)));
    let withdrawn = table.withdraw(&second.negotiated);
    let routes = V4 + V6;
    println!(
        "{V4} IPv4 and {V6} IPv6 routes, {} sets of attributes, {} octets of UPDATEs",
        table.sets(),
        announced[0].len()
    );

    let step = |what: &str, router: &mut Router, act: &dyn Fn(&mut Router)| {
        let (memory, start) = (resident(), Instant::now());
        act(router);
        let told = start.elapsed();
        let refused = router.settle();
        let took = start.elapsed();
        let grown = resident().saturating_sub(memory) as f64 / routes as f64;
        println!(
            "{what:<34} control plane {:>7.2} s, FIB complete {:>7.2} s, {:>6.0} ns and {grown:>4.0} octets a route",
            told.as_secs_f64(),
            took.as_secs_f64(),
            took.as_nanos() as f64 / routes as f64,
        );
        refused
    };
    let mut refused = step("learned", &mut router, &|r| r.receive(1, &announced[0]));
    if let Some(d) = &router.dataplane {
        let [v4, v6] = d.tables.load().fibs.memory().map(|octets| (2 * octets) >> 20);
        println!("forwarding tables, both pairs: IPv4 {v4} MiB, IPv6 {v6} MiB");
    }
    check(&router, &table, tables, Some(FIRST))?;
    refused += step("learned from a second neighbour", &mut router, &|r| r.receive(2, &announced[1]));
    let of_first = |n| Family::ALL.map(|family| router::egress(FIRST + n, family));
    let lost: Vec<IpAddr> = (0..EGRESSES).flat_map(of_first).collect();
    refused += step("first egresses lost, all moved", &mut router, &|r| r.reachable(&lost, false));
    check(&router, &table, tables, Some(SECOND))?;
    refused += step("withdrawn", &mut router, &|r| r.receive(2, &withdrawn));
    check(&router, &table, tables, None)?;
    ensure!(refused == 0, "{refused} routes do not fit");
    Ok(())
}

/// Which egress of a neighbour a set has.
fn turn(set: usize) -> u8 {
    (set % usize::from(EGRESSES)) as u8
}

/// Some of the longest prefixes lead to the egresses of a neighbour, or nowhere.
fn check(router: &Router, table: &Table, tables: bool, first: Option<u8>) -> anyhow::Result<()> {
    if !tables {
        return Ok(());
    }
    let longest =
        table.routes().filter(|(_, p)| p.prefix_len() == if p.addr().is_ipv4() { 24 } else { 48 }).step_by(50);
    let (wanted, some): (Vec<_>, Vec<_>) = longest
        .map(|(set, p)| (first.map(|first| router::egress(first + turn(set), Family::of(&p))), p.addr()))
        .unzip();
    let wrong = wanted.iter().zip(router.lookup(&some)).filter(|(wanted, found)| *wanted != found).count();
    ensure!(wrong == 0, "{wrong} of {} addresses lead elsewhere", some.len());
    Ok(())
}
