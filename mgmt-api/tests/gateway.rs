//! The API in front of a control plane that is really there, with nobody at the other end.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use axum::body::Body;
use axum::http::Request;
use common::store;
use controlplane::config::Config;
use controlplane::gateway::Gateway;
use controlplane::northbound::Northbound;
use dataplane_api::{Counters, MacAddr};
use http_body_util::BodyExt;
use mgmt_api::AppState;
use mgmt_api::config::Store;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use tower::ServiceExt;

const YAML: &str = r#"
ports:
  - { name: core, device: "net_null0", zone: public, addresses: ["2001:db8:f1::1/64"] }
listeners: [{ name: old, address: "2001:db8:f1::1", ikev1: { weak: [sha1], shared_secret: { secret: also-hidden } } }]
routes: [{ to: "::/0", via: ["2001:db8:f1::ff"], port: core }]
mesh:
  local: ["2001:db8:f1::1"]
  profiles: [{ name: secret, mode: tunnel, esp_proposals: [aes256gcm16-esn] }, { name: spare, start: respond, identity: west-spare, rekey: 10m, replay_window: 64, tfc: true }]
  afbrs: [{ name: east, address: "2001:db8:f2::1", prefixes: [10.2.0.0/16] }, { name: south, address: "2001:db8:f3::1", prefixes: [10.3.0.0/16] }]
ike:
  identity: west
  esp_proposals: [aes128gmac]
  peers: [{ name: east-ike, id: east, auth: psk, psk: very-hidden-key, softwire: secret, address: "2001:db8:f2::1", color: 7, prefixes: [10.2.0.0/16] }]
bgp: { asn: 65000, router_id: 1.1.1.1, networks: [10.1.0.0/16, 10.7.0.0/16], neighbours: [{ address: "2001:db8:f2::1", asn: 65000, description: east }] }
"#;

struct Api {
    northbound: Northbound,
    store: Arc<Store>,
    audit: Receiver<String>,
}

impl Api {
    fn new() -> Self {
        let config = Arc::new(Config::from_yaml("test.yaml", YAML).unwrap_or_else(|e| panic!("{e}")));
        let (northbound, mut queries) = Northbound::channel();
        let (tell, audit) = channel();
        let counters = vec![Arc::new(Counters::new(8, 8))];
        let mut gateway = Gateway::new(config, Instant::now(), &[MacAddr::default()], counters, [7; 32]).unwrap();
        tokio::spawn(async move {
            while let Some(query) = queries.recv().await {
                gateway.handle_query(Instant::now(), query);
                while let Some(record) = gateway.poll_audit() {
                    tell.send(format!("{:?}: {}", record.verb, record.reason)).unwrap();
                }
            }
        });
        Self { store: store(YAML, northbound.clone()), northbound, audit }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let state = AppState { northbound: self.northbound.clone(), store: Arc::clone(&self.store) };
        let response = mgmt_api::router(state).0.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.call("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

const EAST: &str = "/api/v1/bgp/neighbours/2001:db8:f2::1";

#[tokio::test]
async fn every_resource_answers_and_none_tells_a_secret() {
    let api = Api::new();
    for path in [
        "/api/v1/status",
        "/api/v1/openapi.json",
        "/api/v1/drain",
        "/api/v1/subscribers",
        "/api/v1/softwires",
        "/api/v1/mesh/profiles",
        "/api/v1/bgp/neighbours",
        EAST,
        &format!("{EAST}/routes/in"),
        &format!("{EAST}/routes/out"),
        "/api/v1/bgp/routes",
        "/api/v1/bgp/rtr",
        "/api/v1/bfd",
        "/api/v1/ike-sas",
        "/api/v1/child-sas",
        "/api/v1/spd",
        "/api/v1/counters",
        "/metrics",
    ] {
        let (status, body) = api.call("GET", path, "").await;
        assert!(status == 200 && !body.contains("hidden"), "{path}: {body}");
    }
}

#[tokio::test]
async fn profiles_say_what_is_bound_to_them() {
    let profiles = Api::new().get("/api/v1/mesh/profiles").await;
    let expected = serde_json::json!([
        { "name": "secret", "mode": "tunnel", "esp_proposals": ["aes256gcm16-esn"], "identity": "west", "start": null,
          "rekey": 3600, "rekey_packets": 0, "rekey_octets": 0, "replay_window": 1024, "tfc": false, "per_worker": false,
          "peers": [{ "name": "east-ike", "address": "2001:db8:f2::1", "color": 7, "prefixes": ["10.2.0.0/16"], "bgp": false }] },
        { "name": "spare", "mode": "transport", "esp_proposals": ["aes128gmac"], "identity": "west-spare", "start": "respond",
          "rekey": 600, "rekey_packets": 0, "rekey_octets": 0, "replay_window": 64, "tfc": true, "per_worker": false,
          "peers": [] },
    ]);
    assert_eq!(profiles, expected);
}

#[tokio::test]
async fn own_routes_are_in_the_loc_rib_a_page_at_a_time() {
    let api = Api::new();
    let first = api.get("/api/v1/bgp/routes?limit=1").await;
    assert_eq!((&first["routes"][0]["prefix"], &first["next"]), (&"10.1.0.0/16".into(), &"10.1.0.0/16".into()));
    let path = &first["routes"][0]["paths"][0];
    assert!(path["neighbour"].is_null() && path["best"] == true && path["origin"] == "igp", "{path}");
    let rest = api.get("/api/v1/bgp/routes?limit=1&after=10.1.0.0/16").await;
    assert_eq!((&rest["routes"][0]["prefix"], &rest["next"]), (&"10.7.0.0/16".into(), &serde_json::Value::Null));
}

#[tokio::test]
async fn actions_leave_audit_lines_and_those_that_fail_none() {
    let api = Api::new();
    assert_eq!(api.get(EAST).await["description"], "east");
    for (action, body, status) in [
        ("soft-in", "{}", 409),
        ("soft-out", r#"{"family":"ipv6"}"#, 409),
        ("clear", r#"{"message":"patch"}"#, 202),
        ("disable", r#"{"message":"until \"noon\""}"#, 202),
        ("clear", "{}", 409),
    ] {
        let (answered, body) = api.call("POST", &format!("{EAST}/{action}"), body).await;
        assert_eq!(answered, status, "{action}: {body}");
    }
    let disabled = api.get(EAST).await;
    assert_eq!((&disabled["stopped"], &disabled["state"]), (&"disabled".into(), &"Idle".into()));
    assert_eq!(api.call("POST", &format!("{EAST}/enable"), "").await.0, 202);
    assert!(api.get(EAST).await["stopped"].is_null());
    for (softwire, status) in [(0, 409), (1, 409), (77, 404)] {
        let (answered, body) = api.call("POST", &format!("/api/v1/softwires/{softwire}/rekey"), "").await;
        assert_eq!(answered, status, "{softwire}: {body}");
    }
    let lines: Vec<String> = api.audit.try_iter().collect();
    assert_eq!(
        lines,
        [
            "Operate: clear of BGP neighbour 2001:db8:f2::1, message \"patch\"",
            "Operate: BGP neighbour 2001:db8:f2::1 disabled, message \"until \\\"noon\\\"\"",
            "Operate: BGP neighbour 2001:db8:f2::1 enabled",
        ]
    );
}

#[tokio::test]
async fn what_a_listener_allows_with_ikev1_is_in_the_status_and_what_it_refuses_in_the_metrics() {
    let api = Api::new();
    let status = api.get("/api/v1/status").await;
    let expected = serde_json::json!({ "weak": ["sha1"], "sha256_96": false, "shared_secret": true });
    assert_eq!(status["listeners"][0]["ikev1"], expected);
    let (_, body) = api.call("GET", "/metrics", "").await;
    for reason in ["off", "aggressive", "proposal"] {
        let line = format!("softwire_control_total{{event=\"ike.v1_{reason}\"}} 0");
        assert!(body.lines().any(|l| l == line), "{line}\n{body}");
    }
}
