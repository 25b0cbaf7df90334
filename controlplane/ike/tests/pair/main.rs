//! Pair simulation: an initiator and a responder over a virtual link and a virtual clock.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod eap;
mod followup;
mod hostile;
mod life;
mod mobike;
mod net;
mod resource;
mod revocation;
mod setup;
mod spis;
mod v1;
mod v1_faults;
mod v1_nat;

use net::{A, B, Net};

#[test]
fn connects_and_agrees() {
    let net = Net::plain(1).up();
    let (natt, suite) = net.sides[A].peer_up();
    assert!(!natt);
    assert_eq!(suite, "aes256gcm16-prfsha256-x25519");
    assert_eq!(net.sides[B].peer_up().1, suite);
    let child = net.sides[B].child();
    assert_eq!(child.suite.to_string(), "aes256gcm16-esn");
    assert_eq!(child.mode, ike::Mode::Transport);
    assert_eq!(child.inbound.encr.len(), 36);
    assert_eq!(child.local_ts, [ike::TrafficSelector::host(17, (1701, 1701), net::addr(B))]);
    assert_eq!(child.remote_ts, [ike::TrafficSelector::host(17, (1701, 1701), net::addr(A))]);
    assert_eq!(net.log.len(), 4);
}
