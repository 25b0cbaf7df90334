//! `make bench`, or one of them: `make bench BENCH=routes`.
//!
//! ```text
//! perf l2tp        what a packet of a subscriber costs one worker, in and out
//! perf softwires   what a packet of the mesh costs one worker, in and out
//! perf churn       forwarding while a full table changes
//! perf routes      a full BGP table: time to the forwarding tables, memory
//! perf control     the same without forwarding tables
//! perf feed TO AS NEXT-HOP   sends that table to a BGP speaker at TO, for perf/reference-bgp.sh
//! ```

#![forbid(unsafe_code)]

mod bench;
mod churn;
mod feed;
mod frame;
mod l2tp;
mod routes;
mod softwires;

fn main() -> anyhow::Result<()> {
    let which = std::env::args().nth(1).unwrap_or_default();
    match which.as_str() {
        "control" => return routes::run(false),
        "feed" => return feed::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        _ => {}
    }
    let huge = dpdk::sim::eal_with(&dpdk::sim::HUGE_EAL_ARGS).is_ok();
    anyhow::ensure!(huge, "no huge pages: run tests/setup/hugepages.sh first (ordinary memory halves the speed)");
    match which.as_str() {
        "l2tp" => l2tp::run(),
        "softwires" => softwires::run(),
        "churn" => churn::run(),
        "routes" => routes::run(true),
        other => anyhow::bail!("no benchmark {other:?}: l2tp, softwires, churn, routes, control"),
    }
}
