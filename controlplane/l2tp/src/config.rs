//! What the operator decides about tunnels, with the defaults of RFC 2661 and RFC 5571.

use secret::Secret;
use std::time::Duration;

/// What to do when a peer's messages come from another UDP port than before, in the same binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortChange {
    /// Drop and count them (H49, H51).
    #[default]
    Refuse,
    /// Go on with the new port and report it.
    Follow,
}

/// Configuration of an [`Endpoint`](crate::Endpoint).
#[derive(Clone, Debug)]
pub struct Config {
    /// Accept tunnels that peers open (the LNS side, a softwire concentrator).
    pub accept: bool,
    /// Host Name AVP.
    pub host_name: String,
    /// Vendor Name AVP; left out when empty.
    pub vendor_name: String,
    /// Receive Window Size AVP: control messages that may be on their way to us, at least 1.
    pub receive_window: u16,
    /// Silence after which a HELLO is sent.
    pub hello: Duration,
    /// Silence after which an established tunnel's peer is dead (RFC 5571, section 5.2.3); longer than `hello`.
    pub dead_after: Duration,
    /// Time for a tunnel to get its session.
    pub setup: Duration,
    /// Retransmissions of a message, before the tunnel is established or when it is closing, until we give up.
    pub max_retransmits: u32,
    /// Tunnel secret of the tunnels we accept; with it a peer's Challenge is answered and hidden AVPs are read.
    pub secret: Option<Secret>,
    /// Challenge the peer where there is a secret (H14).
    pub challenge: bool,
    /// As LAC: send data with sequence numbers and have the LNS do so (Sequencing Required AVP).
    pub sequencing: bool,
    /// Source ports that change.
    pub port_change: PortChange,
    /// Tunnels that peers opened and that have no session yet.
    pub max_half_open: usize,
    /// Tunnels of one peer (binding, or address and port where there is none) that it opened.
    pub max_per_peer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accept: true,
            host_name: "softwire".into(),
            vendor_name: String::new(),
            receive_window: 8,
            hello: Duration::from_secs(30),
            dead_after: Duration::from_secs(83),
            setup: Duration::from_secs(60),
            max_retransmits: 5,
            secret: None,
            challenge: false,
            sequencing: false,
            port_change: PortChange::Refuse,
            max_half_open: 10_000,
            max_per_peer: 4,
        }
    }
}
