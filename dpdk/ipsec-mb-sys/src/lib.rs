//! Raw bindings of Intel's Multi-Buffer Crypto for IPsec library (`libIPSec_MB`), generated at build time from the
//! installed header. The library's functions are pointers in `IMB_MGR`, whose layout changes from version to
//! version: compare `imb_get_version()` with [`IMB_VERSION_NUM`] before touching any of it. The crate `ipsec-mb`
//! does, and is the only user.

#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, missing_docs)]
#![allow(clippy::all, unsafe_op_in_unsafe_fn)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
