//! `make bench`, or one of them: `make bench BENCH=routes`.
//!
//! What a packet costs a worker is measured by `softwire-fastpath` (`perf/fastpath`).
//!
//! ```text
//! perf churn       forwarding while a full table changes
//! perf routes      a full BGP table: time to the forwarding tables, memory
//! perf control     the same without forwarding tables
//! perf feed TO AS NEXT-HOP   sends that table to a BGP speaker at TO, for perf/reference-bgp.sh
//! ```

#![forbid(unsafe_code)]

mod churn;
mod feed;
mod routes;

fn main() -> anyhow::Result<()> {
    let which = std::env::args().nth(1).unwrap_or_default();
    match which.as_str() {
        "control" => return routes::run(false),
        "feed" => return feed::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        _ => {}
    }
    let huge = dpdk::sim::eal_with(&fastpath::measure::EAL).is_ok();
    anyhow::ensure!(huge, "no huge pages: run tests/setup/hugepages.sh first (ordinary memory halves the speed)");
    match which.as_str() {
        "churn" => churn::run(),
        "routes" => routes::run(true),
        other => anyhow::bail!("no benchmark {other:?}: churn, routes, control"),
    }
}
