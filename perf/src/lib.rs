//! Crate `perf`.
