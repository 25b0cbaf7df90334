//! `make bench`, or one of them: `make bench BENCH=routes`.
//!
//! What a packet costs a worker is measured by `softwire-fastpath` (`perf/fastpath`).
//!
//! ```text
//! perf churn       forwarding while a full table changes
//! perf routes      a full BGP table: time to the forwarding tables, memory
//! perf control     the same without forwarding tables
//! perf ike [N]     what a new IKE SA costs the responder: pre-shared key, certificates, ML-KEM
//! perf storm [N] [radius]   N subscribers come, stay, vanish, and come back at the same moment
//! perf storm-traffic [N] [radius]   the same, while a worker on another core carries packets
//! perf tables [N]  changes a second of a worker's tables, and of what all workers share
//! perf rekey [N]   N child SAs are rekeyed under traffic
//! perf feed TO AS NEXT-HOP   sends that table to a BGP speaker at TO, for perf/reference-bgp.sh
//! ```

#![forbid(unsafe_code)]

mod churn;
mod feed;
mod routes;

use perf::subscribers::Source;

fn main() -> anyhow::Result<()> {
    let which = std::env::args().nth(1).unwrap_or_default();
    let args: Vec<String> = std::env::args().skip(2).collect();
    match which.as_str() {
        "ike" => return perf::handshake::run(number(&args, 500)?),
        "storm" => return perf::storm::run(number(&args, 100_000)?, source(&args), 0),
        "control" => return routes::run(false),
        "feed" => return feed::run(&args),
        _ => {}
    }
    fastpath::measure::huge_pages()?;
    match which.as_str() {
        "churn" => churn::run(),
        "routes" => routes::run(true),
        "tables" => perf::programming::run(number(&args, 100_000)?),
        "rekey" => perf::rekey::run(number(&args, 100_000)?),
        "storm-traffic" => perf::storm::run(number(&args, 100_000)?, source(&args), 1000),
        other => {
            anyhow::bail!("no benchmark {other:?}: churn, routes, control, ike, rekey, storm, storm-traffic, tables")
        }
    }
}

/// The first argument that is a number.
fn number(args: &[String], otherwise: usize) -> anyhow::Result<usize> {
    Ok(args.iter().find(|a| a.starts_with(|c: char| c.is_ascii_digit())).map_or(Ok(otherwise), |a| a.parse())?)
}

fn source(args: &[String]) -> Source {
    if args.iter().any(|a| a == "radius") { Source::Radius } else { Source::Local }
}
