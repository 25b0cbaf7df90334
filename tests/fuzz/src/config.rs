//! The configuration file: not from a peer, but from the API, where a fault would take the gateway down.

use controlplane::config::Config;
use std::hint::black_box;

/// Text of any kind.
pub fn text(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        match Config::from_yaml("fuzz", text) {
            Ok(config) => drop(black_box(config)),
            Err(error) => drop(black_box(error.to_string())),
        }
    }
}
