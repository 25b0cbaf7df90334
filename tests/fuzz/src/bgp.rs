//! BGP: messages under two agreements between the neighbours, and the Tunnel Encapsulation attribute.

use ::bgp::message::{Family, Negotiated, decode, frame};
use ::bgp::tunnel::TunnelEncap;
use std::collections::BTreeSet;

/// An internal neighbour that speaks everything, and an external one of old.
fn agreements() -> [Negotiated; 2] {
    let everything = Negotiated {
        local_as: 65000,
        peer_as: 65000,
        ibgp: true,
        four_octet_as: true,
        families: Family::ALL.into_iter().collect(),
        extended_next_hop: [(Family::Ipv4Unicast, 2)].into(),
        extended_message: true,
        route_refresh: true,
        enhanced_route_refresh: true,
        hold_time: 90,
        martian_endpoints: true,
    };
    let old = Negotiated {
        peer_as: 64999,
        ibgp: false,
        four_octet_as: false,
        families: [Family::Ipv4Unicast].into(),
        extended_next_hop: BTreeSet::new(),
        extended_message: false,
        ..everything.clone()
    };
    [everything, old]
}

/// A stream of messages. What is accepted can be sent, and is accepted again.
pub fn codecs(data: &[u8]) {
    for agreement in agreements() {
        let mut rest = data;
        while let Ok(Some(len)) = frame(rest, agreement.max_message()) {
            let (message, after) = rest.split_at(len);
            rest = after;
            let Ok(message) = decode(message, &agreement) else { break };
            let mut sent = Vec::new();
            message.encode(&agreement, &mut sent);
            let mut again = sent.as_slice();
            while !again.is_empty() {
                let len = frame(again, agreement.max_message()).unwrap().unwrap();
                decode(&again[..len], &agreement).unwrap();
                again = &again[len..];
            }
        }
    }
    for martians in [false, true] {
        if let Ok(encap) = TunnelEncap::decode(data, martians) {
            let mut out = Vec::new();
            encap.encode(&mut out);
            assert_eq!(TunnelEncap::decode(&out, martians), Ok(encap));
        }
    }
}
