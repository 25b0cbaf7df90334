//! Bindings to the part of DPDK that the gateway uses: an explicit allow-list in `build.rs`, and the few static
//! inlines that we call, out of line in `shim.c` (`sw_*`). Use the safe crate `dpdk`.

#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, missing_docs)]
#![allow(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
// generated code
#![allow(clippy::all)]
#![allow(unnecessary_transmutes)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
