//! The rules that keep the planes apart, checked on what cargo itself says of the workspace.

#![allow(clippy::unwrap_used, clippy::panic)]

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeMap;
use std::path::Path;

/// Our crates and which of ours each may import. A crate that is not listed may not exist.
const ALLOWED: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("dataplane-api", &[]),
    ("dpdk-sys", &[]),
    ("ipsec-mb-sys", &[]),
    ("dpdk", &["dpdk-sys"]),
    ("ipsec-mb", &["ipsec-mb-sys"]),
    ("esp", &["dataplane-api", "ipsec-mb", "wire"]),
    ("dataplane", &["dataplane-api", "dpdk", "esp", "ipsec-mb", "wire"]),
    ("timers", &[]),
    ("ike", &["timers", "wire"]),
    ("l2tp", &["secret", "timers", "wire"]),
    ("ppp", &["eap", "secret", "wire"]),
    ("eap", &[]),
    ("radius", &["secret", "timers"]),
    ("secret", &[]),
    ("dhcp6", &["wire"]),
    ("bgp", &["timers", "wire"]),
    ("bfd", &["timers", "wire"]),
    ("tcp-options", &[]),
    (
        "controlplane",
        &["bfd", "bgp", "dataplane-api", "dhcp6", "eap", "ike", "l2tp", "ppp", "radius", "tcp-options", "wire"],
    ),
    ("softwire-initiator", &["dataplane-api", "dhcp6", "eap", "esp", "ike", "ipsec-mb", "l2tp", "ppp", "wire"]),
    ("softwire-capacity", &["dpdk", "esp", "ike", "ipsec-mb", "l2tp", "ppp", "softwire-initiator", "timers", "wire"]),
    ("mgmt-api", &["controlplane", "dataplane-api"]),
    ("swctl", &[]),
    (
        "perf",
        &[
            "bgp",
            "controlplane",
            "dataplane",
            "dataplane-api",
            "dhcp6",
            "dpdk",
            "esp",
            "fastpath",
            "ike",
            "ipsec-mb",
            "l2tp",
            "ppp",
            "radius",
            "timers",
            "wire",
        ],
    ),
    ("fastpath", &["dataplane", "dataplane-api", "dpdk", "esp", "ipsec-mb", "wire"]),
    ("softwire-gateway", &["controlplane", "dataplane", "dataplane-api", "dpdk", "mgmt-api"]),
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["dpdk-sys", "dpdk", "ipsec-mb-sys", "ipsec-mb"];

/// Crates without sockets, clock or runtime.
const SANS_IO: &[&str] = &["wire", "ike", "l2tp", "ppp", "dhcp6", "eap", "radius", "bgp", "bfd", "secret", "timers"];

#[test]
fn crates_import_only_what_the_design_allows() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let ours: Vec<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let may = allowed.get(name).unwrap_or_else(|| panic!("crate {name} has no rule"));
        for d in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            if ours.contains(&d.name) {
                assert!(may.contains(&d.name.as_str()), "{name} must not import {}", d.name);
            }
            if SANS_IO.contains(&name) {
                assert!(!["tokio", "socket2", "nix", "mio"].contains(&d.name.as_str()), "{name} imports {}", d.name);
            }
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_outside_the_ffi_crates() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in metadata.packages.iter().filter(|p| !UNSAFE.contains(&p.name.as_str())) {
        for target in package.targets.iter().filter(|t| t.is_lib() || t.is_bin()) {
            let text = std::fs::read_to_string(&target.src_path).unwrap();
            assert!(text.contains("#![forbid(unsafe_code)]"), "{} does not forbid unsafe code", target.src_path);
        }
    }
}

#[test]
fn protocol_crates_have_no_clock_and_no_randomness_of_their_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for crate_ in SANS_IO {
        let dir = if *crate_ == "wire" { root.join("dataplane/wire") } else { root.join("controlplane").join(crate_) };
        for file in sources(&dir.join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            // Test modules stand at the end of a file, or in files of their own.
            let code = text.split("#[cfg(test)]").next().unwrap();
            for word in ["Instant::now", "SystemTime::now", "tokio::", "rand::rng()", "UdpSocket", "TcpStream"] {
                assert!(!code.contains(word) || file.to_string_lossy().contains("test"), "{}: {word}", file.display());
            }
        }
    }
}

fn sources(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out
}
