//! Packet traces over the API, in front of a real control plane; the worker is played.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use axum::body::{Body, Bytes};
use axum::http::Request;
use common::store;
use controlplane::config::Config;
use controlplane::gateway::Gateway;
use controlplane::northbound::Northbound;
use controlplane::program::Output;
use dataplane_api::{Counters, DropReason, MacAddr, TableOp, TraceEnd, TraceNode, TracePacket, TraceSpec};
use http_body_util::BodyExt;
use mgmt_api::AppState;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower::ServiceExt;

const YAML: &str = r#"
ports:
  - { name: access, device: "net_null0", zone: public, addresses: ["192.0.2.1/24"] }
  - { name: core, device: "net_null1", zone: trusted, addresses: ["198.51.100.1/24"] }
listeners: [{ name: clear, address: "192.0.2.1", protection: none, anonymous: true }]
"#;

/// What the workers were told, last first.
type Told = Arc<Mutex<Vec<Option<TraceSpec>>>>;

struct Api {
    state: AppState,
    worker: tokio::sync::mpsc::UnboundedSender<TracePacket>,
    told: Told,
}

impl Api {
    fn new() -> Self {
        let config = Arc::new(Config::from_yaml("test.yaml", YAML).unwrap_or_else(|e| panic!("{e}")));
        let (northbound, mut queries) = Northbound::channel();
        let (worker, mut traced) = tokio::sync::mpsc::unbounded_channel();
        let counters = vec![Arc::new(Counters::new(8, 8))];
        let now = Instant::now();
        let mut gateway = Gateway::new(config, now, &[MacAddr::default(); 2], counters, [7; 32]).unwrap();
        gateway.set_clock(now, Duration::from_secs(1_795_000_000));
        let told = Told::default();
        let book = Arc::clone(&told);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    Some(packet) = traced.recv() => gateway.handle_trace(&packet),
                    Some(query) = queries.recv() => gateway.handle_query(Instant::now(), query),
                    else => break,
                }
                while let Some(output) = gateway.poll_output() {
                    if let Output::Op(_, _, TableOp::Trace(spec)) = output {
                        book.lock().unwrap().insert(0, spec);
                    }
                }
            }
        });
        Self { state: AppState { store: store(YAML, northbound.clone()), northbound }, worker, told }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> (u16, String, Bytes) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = mgmt_api::router(self.state.clone()).0.oneshot(request).await.unwrap();
        let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        (status, kind.unwrap_or_default(), response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn json(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (status, _, body) = self.call(method, path, body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }
}

const FRAME: &[u8] = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x09\x08\0E\0\0\x30\0\0\0\0\x40\x11\0\0\xc0\0\x02\x09\xc0\0\x02\x01\
    \x30\x39\x06\xa5\0\x1c\0\0very hidden contents";

fn dropped(spec: TraceSpec, id: u32) -> TracePacket {
    let mut p = TracePacket::new();
    (p.trace, p.id, p.headers, p.session) = (spec.trace, id, true, true);
    p.visit(TraceNode::Rx, (None, None, None), FRAME);
    p.visit(TraceNode::Forward, (None, None, None), &FRAME[14..]);
    p.finish(TraceEnd::Dropped(DropReason::NoRoute));
    p
}

#[tokio::test]
async fn a_trace_is_asked_for_looked_at_and_deleted() {
    let api = Api::new();
    let body =
        r#"{"filter": {"source": "192.0.2.0/24", "protocol": "udp", "port": 12345, "dropped": true}, "packets": 2}"#;
    let (status, started) = api.json("POST", "/api/v1/traces", body).await;
    assert_eq!((status, &started), (201, &serde_json::json!({ "id": 1 })));
    let spec = api.told.lock().unwrap()[0].unwrap();
    assert_eq!((spec.sample.get(), spec.filter.protocol, spec.filter.dropped), (1, Some(17), true));
    let (status, problem) = api.json("POST", "/api/v1/traces", "{}").await;
    assert_eq!((status, &problem["detail"]), (409, &"trace 1 is running: delete it first".into()));
    for id in 0..3 {
        api.worker.send(dropped(spec, id)).unwrap();
    }
    let (status, kind, body) = api.call("GET", "/api/v1/traces/1", "").await;
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    assert!(!body.windows(6).any(|w| w == b"hidden"), "contents");
    let trace: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&trace["state"], &trace["captured"], &trace["wanted"]), (&"done".into(), &2.into(), &2.into()));
    assert_eq!(*api.told.lock().unwrap(), [None, Some(spec)], "the workers may stop");
    let packet = &trace["packets"][1];
    assert_eq!((&packet["verdict"], &packet["port"]), (&"dropped no_route".into(), &"access".into()));
    let expected = serde_json::json!([
        { "node": "rx", "detail": { "port": "access", "length": FRAME.len(), "source": "192.0.2.9",
            "destination": "192.0.2.1", "protocol": "udp", "source_port": 12345, "destination_port": 1701 } },
        { "node": "forward", "detail": { "length": FRAME.len() - 14, "source": "192.0.2.9",
            "destination": "192.0.2.1", "protocol": "udp", "source_port": 12345, "destination_port": 1701 } },
        { "node": "drop", "detail": { "reason": "no_route" } },
    ]);
    assert_eq!(packet["nodes"], expected);

    let (status, kind, file) = api.call("GET", "/api/v1/traces/1/pcapng", "").await;
    assert_eq!((status, kind.as_str()), (200, "application/x-pcapng"));
    let mut reader = PcapNgReader::new(&file[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(p) = block.unwrap().into_owned() {
            packets.push((p.interface_id, p.data.to_vec()));
        }
    }
    let one = [(1, FRAME.to_vec()), (0, FRAME[14..].to_vec())];
    assert_eq!(packets, [&one[..], &one[..]].concat());

    let (_, all) = api.json("GET", "/api/v1/traces", "").await;
    let filter = serde_json::json!({ "source": "192.0.2.0/24", "protocol": "udp", "port": 12345, "dropped": true });
    assert_eq!((&all[0]["filter"], &all[0]["id"], &all[0]["packets"]), (&filter, &1.into(), &serde_json::Value::Null));
    assert_eq!(api.call("DELETE", "/api/v1/traces/1", "").await.0, 204);
    assert_eq!(api.call("GET", "/api/v1/traces/1", "").await.0, 404);
    assert_eq!(api.call("GET", "/api/v1/traces/1/pcapng", "").await.0, 404);
    assert_eq!(api.call("DELETE", "/api/v1/traces/1", "").await.0, 404);
}

#[tokio::test]
async fn what_is_wrong_is_a_problem_and_nothing_is_traced() {
    let api = Api::new();
    for (body, status, word) in [
        (r#"{"filter": {"port_name": "nowhere"}}"#, 422, "/filter/port_name"),
        (r#"{"filter": {"session": "1"}}"#, 422, "/filter/session"),
        (r#"{"sample": 0}"#, 422, "/sample"),
        (r#"{"packets": 100000}"#, 422, "/packets"),
        (r#"{"filter": {"source": "everywhere"}}"#, 422, r#""/filter/source""#),
        (r#"{"filter": {"protocol": "sctq"}}"#, 422, r#""/filter/protocol""#),
        (r#"{"filter": {"sauce": 1}}"#, 422, "unknown field"),
        ("{", 400, "EOF"),
    ] {
        let (answered, kind, text) = api.call("POST", "/api/v1/traces", body).await;
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert_eq!((answered, kind.as_str()), (status, "application/problem+json"), "{body}: {text}");
        assert!(text.contains(word), "{body}: {text}");
    }
    assert_eq!(api.call("GET", "/api/v1/traces/x", "").await.0, 400);
    assert_eq!(api.json("GET", "/api/v1/traces", "").await.1, serde_json::json!([]));
    assert!(api.told.lock().unwrap().is_empty());
}
