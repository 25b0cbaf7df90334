//! Replays the fuzzer's corpora without a fuzzer: each file, its prefixes, and the file with one octet changed.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)]

#[path = "fuzz/src/lib.rs"]
#[allow(dead_code)]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Runs of one target beyond the files themselves; scripts of endpoints take longer than codecs.
fn budget(target: &str) -> usize {
    match target {
        "ike_pair" => 200,
        name if ["_pair", "_link", "_speaker"].iter().any(|end| name.ends_with(end)) => 2000,
        _ => 20_000,
    }
}

fn check(target: &str, from: &str, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| targets::run(target, data))).is_err() {
        let hex: String = data.iter().map(|b| format!("{b:02x}")).collect();
        panic!("{target} fails on this, made from {from}: {hex}");
    }
}

fn replay(target: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    let each = budget(target) / files.len() / 2 + 1;
    for path in files {
        let (name, data) = (path.display().to_string(), std::fs::read(&path).unwrap());
        check(target, &name, &data);
        let stride = data.len() / each + 1;
        for at in (0..data.len()).step_by(stride) {
            check(target, &name, &data[..at]);
            let mut changed = data.clone();
            changed[at] ^= [0xff, 0x01, 0x80, 0x10][at % 4];
            check(target, &name, &changed);
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_is_replayed_and_can_be_fuzzed() {
            let names: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            for name in names {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fuzz/fuzz_targets/{name}.rs"));
                assert!(std::fs::read_to_string(file).unwrap().contains(&format!("\"{name}\"")));
            }
        }
    };
}

replays!(wire ppp ppp_link dhcp6 dhcp6_pair esp l2tp l2tp_pair ike ike_pair ikev1 bfd bfd_pair bgp bgp_speaker radius config);
