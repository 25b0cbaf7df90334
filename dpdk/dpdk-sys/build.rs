//! Generates the bindings and compiles the shim against the DPDK that pkg-config finds (package `libdpdk-dev`).

#![allow(clippy::panic)] // how a build script reports

use std::env;
use std::path::PathBuf;

/// Oldest DPDK whose API we use.
const MINIMUM: &str = "22.11";

/// What pkg-config's crate drops from DPDK's C flags: without `rte_config.h` structures get other sizes, and without
/// the instruction set the headers refuse to compile.
const C_FLAGS: [&str; 3] = ["-include", "rte_config.h", "-march=corei7"];

/// Functions, by the header they come from.
const FUNCTIONS: &[&str] = &[
    "sw_.*",
    // rte_eal.h, rte_lcore.h, rte_version.h, rte_errno.h, rte_cycles.h
    "rte_eal_init",
    "rte_thread_(register|unregister)",
    "rte_version(_year|_month)?",
    "rte_strerror",
    "rte_get_tsc_hz",
    // rte_mempool.h, rte_mbuf.h
    "rte_mempool_avail_count",
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_free_bulk",
    // rte_dev.h, rte_ethdev.h, rte_eth_ring.h, rte_ring.h
    "rte_dev_(probe|remove)",
    "rte_eth_dev_(configure|start|stop|close|info_get|set_mtu|get_mtu|get_port_by_name|get_name_by_port)",
    "rte_eth_dev_(adjust_nb_rx_tx_desc|socket_id|is_valid_port|set_link_up)",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_eth_(macaddr_get|stats_get|link_get_nowait)",
    "rte_eth_(promiscuous|allmulticast)_(enable|disable|get)",
    "rte_eth_from_rings",
    "rte_ring_(create|free)",
    // rte_ip_frag.h
    "rte_ip_frag_(table_create|table_destroy|free_death_row|table_del_expired_entries)",
    "rte_ipv[46]_frag_reassemble_packet",
];

/// Constants.
const VARIABLES: &[&str] = &[
    "RTE_MAX_ETHPORTS",
    "RTE_MEMPOOL_NAMESIZE",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_PKTMBUF_HEADROOM",
    "RTE_LIBRTE_IP_FRAG_MAX_FRAG",
    "RTE_IP_FRAG_DEATH_ROW_MBUF_LEN",
    "RING_F_S[PC]_.*",
];

fn main() {
    println!("cargo:rerun-if-changed=shim.c");
    println!("cargo:rerun-if-changed=shim.h");

    let dpdk = pkg_config::Config::new()
        .atleast_version(MINIMUM)
        .probe("libdpdk")
        .unwrap_or_else(|e| panic!("DPDK {MINIMUM} or later is needed to build (Debian: libdpdk-dev): {e}"));
    // rte_eth_from_rings, for tests over in-memory ports, is in a driver.
    println!("cargo:rustc-link-lib=dylib=rte_net_ring");

    let mut shim = cc::Build::new();
    shim.file("shim.c").includes(&dpdk.include_paths).opt_level(3).flag_if_supported("-Wno-deprecated-declarations");
    let mut bindings = bindgen::Builder::default().header("shim.h");
    for flag in C_FLAGS {
        shim.flag(flag);
        bindings = bindings.clang_arg(flag);
    }
    shim.compile("sw_shim");

    for path in &dpdk.include_paths {
        bindings = bindings.clang_arg(format!("-I{}", path.display()));
    }
    for name in FUNCTIONS {
        bindings = bindings.allowlist_function(name);
    }
    for name in VARIABLES {
        bindings = bindings.allowlist_var(name);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindings
        // packed structures with aligned members cannot be expressed (E0588); nothing reads them
        .opaque_type("rte_l2tpv2_.*|rte_gtp_psc_.*")
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(true)
        .generate()
        .unwrap_or_else(|e| panic!("bindgen over DPDK's headers: {e}"))
        .write_to_file(&out)
        .unwrap_or_else(|e| panic!("writing {}: {e}", out.display()));
}
