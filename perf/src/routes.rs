//! `routes`: a full table from a neighbour, from its octets to the forwarding tables that workers use; then from a second
//! neighbour with other egresses, the loss of the first egress, and the withdrawal of everything.

use anyhow::ensure;
use bgp::message::Family;
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
/// Room in the forwarding tables, per family.
const ROOM: u32 = 1 << 20;

/// Octets of memory that the process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// Measures; without `tables` the control plane alone, whose output is dropped.
pub fn run(tables: bool) -> anyhow::Result<()> {
    let table = Table::new(V4, V6, SETS);
    let dataplane = if tables { Some(router::dataplane(ROOM)?) } else { None };
    let mut router = Router::new(router::config(ROOM, "")?, dataplane)?;
    let (first, second) = (router.connect(1)?, router.connect(2)?);
    let n = &first.negotiated;
    let announced =
        [1, 2].map(|egress| table.announce(n, 101 - u32::from(egress), |family| router::egress(egress, family)));
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
        let [v4, v6] = d.tables.load().fibs.memory().map(|octets| 2 * octets >> 20);
        println!("forwarding tables, both pairs: IPv4 {v4} MiB, IPv6 {v6} MiB");
    }
    check(&router, &table, tables, Some(1))?;
    refused += step("learned from a second neighbour", &mut router, &|r| r.receive(2, &announced[1]));
    let lost = Family::ALL.map(|family| router::egress(1, family));
    refused += step("first egress lost, all moved", &mut router, &|r| r.reachable(&lost, false));
    check(&router, &table, tables, Some(2))?;
    refused += step("withdrawn", &mut router, &|r| r.receive(2, &withdrawn));
    check(&router, &table, tables, None)?;
    ensure!(refused == 0, "{refused} routes do not fit");
    Ok(())
}

/// Every fiftieth prefix leads to the egress, or nowhere.
fn check(router: &Router, table: &Table, tables: bool, egress: Option<u8>) -> anyhow::Result<()> {
    if !tables {
        return Ok(());
    }
    let some: Vec<IpAddr> = table.prefixes().step_by(50).map(|p| p.addr()).collect();
    let found = router.lookup(&some);
    let family = |a: &IpAddr| if a.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast };
    let wrong = some.iter().zip(&found).filter(|(a, f)| **f != egress.map(|e| router::egress(e, family(a)))).count();
    ensure!(wrong == 0, "{wrong} of {} addresses lead elsewhere", some.len());
    Ok(())
}
