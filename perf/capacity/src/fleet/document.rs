//! The part of the gateway's configuration that follows from a profile.

use super::named;
use crate::profile::Profile;
use serde_json::{Map, Value, json};

/// Routes to the subscribers, their entries of the PAD and in the embedded file: what is to be added to ports, listener,
/// workers and pools. `access` are the gateway's names of the subscribers' ports, one for each packet core; the last one
/// stands for the rest. What is printed is YAML, too.
pub fn document(profile: &Profile, access: &[String]) -> Value {
    let s = &profile.subscribers;
    let numbers = || 0..s.count;
    let routes: Vec<_> = profile
        .generator
        .cores
        .iter()
        .enumerate()
        .map(|(i, c)| {
            let port = access.get(i).or(access.last());
            json!({ "to": c.access.outer, "via": [c.access.address], "port": port })
        })
        .collect();
    let users: Vec<_> =
        numbers().map(|n| json!({ "user": named(&s.ppp.user, n), "secret": named(&s.ppp.secret, n) })).collect();
    let mut document = Map::new();
    document.insert("routes".into(), routes.into());
    if let Some(ike) = &s.ike {
        let peers: Vec<_> = match (&ike.psk, &ike.certificates) {
            (Some(psk), _) => numbers()
                .map(|n| {
                    let id = named(&ike.identity, n);
                    json!({ "name": format!("capacity-{n}"), "id": id, "auth": "psk", "psk": named(psk, n) })
                })
                .collect(),
            (None, Some(files)) => {
                let domain = ike.identity.split_once('@').map_or("*".into(), |(_, domain)| format!("*@{domain}"));
                vec![json!({ "name": "capacity", "id": domain, "auth": "certificate", "ca": files.ca })]
            }
            (None, None) => Vec::new(),
        };
        document.insert("ike".into(), json!({ "identity": profile.gateway.identity, "peers": peers }));
    }
    document.insert("subscribers".into(), users.into());
    document.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn each_packet_core_has_a_route_over_a_port() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/memif.yaml");
        let mut profile = Profile::load(&file).unwrap();
        profile.subscribers.count = 2;
        let (document, one) = (document(&profile, &["a".into(), "b".into()]), document(&profile, &["a".into()]));
        let ports = |document: &Value| [0, 1].map(|i| document["routes"][i]["port"].clone());
        assert_eq!((ports(&document), ports(&one)), (["a".into(), "b".into()], ["a".into(), "a".into()]));
        assert_eq!(document["routes"][1]["to"], "198.19.0.0/16");
        assert_eq!(document["subscribers"][1], json!({ "user": "s1", "secret": "secret-of-1" }));
        assert_eq!(document["ike"]["peers"][1]["id"], "s1@lab.example.net");
        assert_eq!(document["ike"]["peers"][1]["psk"], "key-of-1-0123456789");
    }
}
