//! The benchmarks of the control plane, small: they check what they measure.

#![allow(clippy::unwrap_used, clippy::panic)]

use perf::subscribers::Source;

/// Tests of this process share an EAL.
fn eal() {
    let args = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry", "--file-prefix=perf-control"];
    dpdk::sim::eal_with(&args).unwrap();
}

#[test]
fn subscribers_come_back_at_once() {
    perf::storm::run(300, Source::Local, 0).unwrap();
}

#[test]
fn subscribers_of_radius_come_back_at_once() {
    perf::storm::run(300, Source::Radius, 0).unwrap();
}

#[test]
fn every_way_to_prove_who_one_is() {
    perf::handshake::run(2).unwrap();
}

#[test]
fn tables_take_what_they_are_told() {
    eal();
    perf::programming::run(100).unwrap();
}

#[test]
fn a_rekey_of_all_loses_nothing() {
    eal();
    perf::rekey::run(50).unwrap();
}
