use super::*;
use axum::body::Body;
use axum::http::Request;
use controlplane::northbound::{
    BfdInfo, CountersInfo, DrainInfo, DrainMode, DrainOrder, DrainState, IkeSaInfo, Page, PortInfo, Pulse,
    RtrCacheInfo, StatusInfo,
};
use http_body_util::BodyExt;
use tower::ServiceExt;

// A control plane that knows one counter and nobody.
fn app() -> Router {
    let (northbound, mut queries) = Northbound::channel();
    tokio::spawn(async move {
        let mut polls = 0;
        while let Some(q) = queries.recv().await {
            match q {
                Query::Status(to) => drop(to.send(StatusInfo {
                    version: "1",
                    seconds: 5,
                    workers: 1,
                    ike_sas: 0,
                    child_sas: 0,
                    sessions: 0,
                    open_sessions: 0,
                    listeners: vec![],
                })),
                Query::Pulse(to) => {
                    polls += 1;
                    drop(to.send(Pulse { polls: vec![polls, polls], draining: false }));
                }
                // A page whose total tells what was asked for.
                Query::Subscribers(select, to) => drop(to.send(Page::of(0, select.limit, std::iter::empty()))),
                Query::Subscriber(_, _, to) => drop(to.send(None)),
                Query::Drain(to) => drop(to.send(drained(None))),
                Query::SetDrain(order, to) => drop(to.send(drained(order))),
                Query::Disconnect(who, to) => drop(to.send(who == "alice")),
                Query::IkeSas(_, to) => drop(to.send(Page { items: vec![ike_sa()], next: None, total: 1 })),
                Query::Rtr(to) => drop(to.send(vec![cache()])),
                Query::Ports(to) => drop(to.send(vec![port()])),
                Query::Radius(to) => drop(to.send(radius::tests::info())),
                Query::Bfd(to) => drop(to.send(vec![session()])),
                Query::RekeyChild(spi, to) => drop(to.send(spi == 0x1234_abcd)),
                Query::Counters(to) => {
                    let worker = [("drop.esp_replay".to_owned(), 7), ("received".to_owned(), 9)].into();
                    drop(to.send(CountersInfo {
                        workers: vec![worker],
                        control: [("l2tp.refused".into(), 3)].into(),
                        fib: [("refused_v6".into(), 5)].into(),
                    }));
                }
                other => bgp::tests::answer(other),
            }
        }
    });
    router(crate::config::tests::state(northbound)).0
}

// The limit of a teardown is told as sessions that are left.
fn drained(order: Option<DrainOrder>) -> DrainInfo {
    let (state, mode, sessions_left) = match order {
        None => (DrainState::Off, None, 0),
        Some(DrainOrder::Refuse) => (DrainState::Draining, Some(DrainMode::Refuse), 7),
        Some(DrainOrder::Teardown(within)) => {
            (DrainState::Draining, Some(DrainMode::Teardown), within.as_secs() as usize)
        }
    };
    DrainInfo { state, mode, sessions_left, peers_left: 0, refused: 0 }
}

fn port() -> PortInfo {
    PortInfo {
        name: "core".to_owned(),
        device: "0000:03:00.1".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        zone: "trusted",
        addresses: vec!["192.0.2.1/24".to_owned()],
        vlan: None,
        mtu: 1500,
        up: true,
        speed: Some(25_000),
        rx_packets: 1,
        rx_octets: 2,
        tx_packets: 3,
        tx_octets: 4,
        rx_missed: 5,
        rx_errors: 6,
        rx_no_buffer: 7,
        tx_errors: 8,
    }
}

fn ike_sa() -> IkeSaInfo {
    IkeSaInfo {
        peer: 7,
        pad: Some("secure/shared-secret".to_owned()),
        spi_i: "1".to_owned(),
        spi_r: "2".to_owned(),
        state: "established".to_owned(),
        local_id: None,
        remote_id: Some("192.168.1.2".to_owned()),
        local: "192.0.2.1:4500".parse().unwrap(),
        remote: "198.51.100.7:61000".parse().unwrap(),
        version: 1,
        algorithms: "aes256-sha1-modp1024".to_owned(),
        weak: vec!["sha1", "modp1024"],
        shared_secret: true,
        natt: true,
        seconds: 9,
    }
}

#[tokio::test]
async fn weak_ike_sas_are_shown_as_such() {
    let (status, _, body) = call("GET", "/api/v1/ike-sas").await;
    let sas: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    let sas = &sas["items"];
    assert_eq!((&sas[0]["version"], &sas[0]["shared_secret"]), (&1.into(), &true.into()));
    assert_eq!(sas[0]["weak"], serde_json::json!(["sha1", "modp1024"]));
}

fn session() -> BfdInfo {
    BfdInfo {
        local: "2001:db8:f1::1".parse().unwrap(),
        remote: "2001:db8:f2::1".parse().unwrap(),
        multihop: true,
        neighbour: true,
        softwire: true,
        state: "up",
        diagnostic: "none",
        remote_state: "up",
        remote_diagnostic: "none",
        failed: false,
        seconds: 9,
        transmit_interval_ms: Some(250),
        detection_time_ms: Some(750),
        detect_multiplier: 3,
        authenticated: true,
        packets_in: 36,
        packets_out: 37,
        ups: 3,
        downs: 2,
    }
}

#[tokio::test]
async fn bfd_sessions() {
    let (status, _, body) = call("GET", "/api/v1/bfd").await;
    let sessions: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, sessions.as_array().map(Vec::len)), (StatusCode::OK, Some(1)));
    assert_eq!((&sessions[0]["state"], &sessions[0]["detection_time_ms"]), (&"up".into(), &750.into()));
    let (_, _, body) = call("GET", "/metrics").await;
    let path = "local=\"2001:db8:f1::1\",remote=\"2001:db8:f2::1\",path=\"multihop\"";
    for line in [
        "softwire_bfd_sessions 1".to_owned(),
        format!("softwire_bfd_session_up{{{path}}} 1"),
        format!("softwire_bfd_session_downs_total{{{path}}} 2"),
    ] {
        assert!(body.lines().any(|l| l == line), "{line}\n{body}");
    }
}

fn cache() -> RtrCacheInfo {
    RtrCacheInfo {
        name: "one".to_owned(),
        address: "192.0.2.1:323".parse().unwrap(),
        tls: false,
        preference: 100,
        state: "up",
        used: true,
        session: Some(7),
        serial: Some(3),
        ipv4: 5,
        ipv6: 2,
        synchronized: 1,
        seconds: Some(9),
        refresh: Some(3600),
        retry: Some(600),
        expire: Some(7200),
        last_error: None,
    }
}

async fn call(method: &str, path: &str) -> (StatusCode, String, String) {
    send(method, path, None).await
}

/// With a JSON body, if there is one.
pub(crate) async fn send(method: &str, path: &str, body: Option<&str>) -> (StatusCode, String, String) {
    send_to(app(), method, path, body).await
}

async fn send_to(app: Router, method: &str, path: &str, body: Option<&str>) -> (StatusCode, String, String) {
    let mut request = Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(body.map_or_else(Body::empty, |text| Body::from(text.to_owned()))).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn status_and_actions() {
    let (s, _, body) = call("GET", "/api/v1/status").await;
    assert!(s == StatusCode::OK && body.contains("\"seconds\":5"), "{body}");
    assert_eq!(call("DELETE", "/api/v1/subscribers/alice").await.0, StatusCode::ACCEPTED);
    assert_eq!(call("POST", "/api/v1/child-sas/1234abcd/rekey").await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn caches() {
    let (s, _, body) = call("GET", "/api/v1/bgp/rtr").await;
    assert!(s == StatusCode::OK && body.contains("\"serial\":3") && body.contains("192.0.2.1:323"), "{body}");
    let metrics = call("GET", "/metrics").await.2;
    for line in ["rtr_up{cache=\"one\"} 1", "rtr_used{cache=\"one\"} 1", "rtr_vrps{cache=\"one\",family=\"ipv6\"} 2"] {
        assert!(metrics.contains(&format!("softwire_{line}")), "{metrics}");
    }
}

#[tokio::test]
async fn ports() {
    let (s, _, body) = call("GET", "/api/v1/ports").await;
    assert!(s == StatusCode::OK && body.contains("\"speed\":25000,\"rx_packets\":1,"), "{body}");
    let metrics = call("GET", "/metrics").await.2;
    for (name, value) in [
        ("up", 1),
        ("speed_bits_per_second", 25_000_000_000_u64),
        ("received_packets_total", 1),
        ("received_octets_total", 2),
        ("sent_packets_total", 3),
        ("sent_octets_total", 4),
        ("missed_packets_total", 5),
        ("receive_errors_total", 6),
        ("no_buffer_packets_total", 7),
        ("send_errors_total", 8),
    ] {
        assert!(metrics.contains(&format!("softwire_port_{name}{{port=\"core\"}} {value}\n")), "{name}: {metrics}");
    }
}

#[tokio::test]
async fn errors_are_problem_documents() {
    for (method, path, status) in [
        ("GET", "/api/v1/subscribers/1.1", 404),
        ("DELETE", "/api/v1/subscribers/bob", 404),
        ("POST", "/api/v1/child-sas/xyz/rekey", 400),
        ("GET", "/api/v1/subscribers/bob", 404),
        ("GET", "/api/v1/subscribers/1.2.3", 404),
        ("GET", "/api/v1/subscribers/70000.1", 404),
        ("POST", "/api/v1/child-sas/+1/rekey", 400),
        ("POST", "/api/v1/child-sas/123456789/rekey", 400),
        ("POST", "/api/v1/ike-sas/seven/rekey", 400),
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/nowhere", 404),
        ("PUT", "/api/v1/status", 405),
        ("DELETE", "/metrics", 405),
        ("POST", "/api/v1/drain", 415),
    ] {
        let (s, kind, body) = call(method, path).await;
        assert_eq!((s.as_u16(), kind.as_str()), (status, "application/problem+json"), "{path}: {body}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let (s, kind, body) = call("GET", "/metrics").await;
    assert_eq!(s, StatusCode::OK);
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(body.contains("softwire_dropped_packets_total{worker=\"0\",reason=\"esp_replay\"} 7"), "{body}");
    assert!(body.contains("softwire_received_packets_total{worker=\"0\"} 9"), "{body}");
    assert!(body.contains("softwire_control_total{event=\"l2tp.refused\"} 3"), "{body}");
    assert!(body.contains("softwire_fib{what=\"refused\",family=\"v6\"} 5"), "{body}");
}

// Names and labels are an interface: dashboards and alerts are made of them.
#[tokio::test]
async fn metrics_of_bgp_and_mesh_keep_their_names() {
    let (_, _, body) = call("GET", "/metrics").await;
    let named = |line: &str| line.strip_prefix("# TYPE ").map(str::to_owned);
    let mut names: Vec<String> = body.lines().filter_map(named).collect();
    names.retain(|n| n.starts_with("softwire_bgp_") || n.starts_with("softwire_mesh_"));
    names.sort();
    let expected = [
        "softwire_bgp_accepted_prefixes gauge",
        "softwire_bgp_advertised_prefixes gauge",
        "softwire_bgp_attribute_sets gauge",
        "softwire_bgp_established_neighbours gauge",
        "softwire_bgp_messages counter",
        "softwire_bgp_neighbour_flaps counter",
        "softwire_bgp_neighbour_state gauge",
        "softwire_bgp_neighbour_uptime_seconds gauge",
        "softwire_bgp_neighbours gauge",
        "softwire_bgp_paths gauge",
        "softwire_bgp_received_prefixes gauge",
        "softwire_bgp_routes gauge",
        "softwire_mesh_received_octets counter",
        "softwire_mesh_received_packets counter",
        "softwire_mesh_sent_octets counter",
        "softwire_mesh_sent_packets counter",
        "softwire_mesh_softwire_up gauge",
        "softwire_mesh_softwires gauge",
    ];
    assert_eq!(names, expected);
    for line in [
        "softwire_bgp_neighbour_state{neighbour=\"2001:db8::1\"} 6",
        "softwire_bgp_neighbour_uptime_seconds{neighbour=\"2001:db8::1\"} 61",
        "softwire_bgp_neighbour_flaps_total{neighbour=\"2001:db8::1\"} 1",
        "softwire_bgp_received_prefixes{neighbour=\"2001:db8::1\",family=\"ipv4\"} 3",
        "softwire_bgp_messages_total{neighbour=\"2001:db8::1\",direction=\"in\",type=\"update\"} 4",
        "softwire_bgp_routes{family=\"ipv4\"} 5",
        "softwire_bgp_paths{family=\"ipv4\"} 7",
        "softwire_mesh_softwires 1500",
        "softwire_mesh_softwire_up{softwire=\"0\",remote=\"2001:db8:f2::1\"} 1",
        "softwire_mesh_sent_octets_total{softwire=\"0\",remote=\"2001:db8:f2::1\"} 12",
    ] {
        assert!(body.lines().any(|l| l == line), "{line}\n{body}");
    }
    // However many there are, so many have series of their own.
    assert_eq!(body.lines().filter(|l| l.starts_with("softwire_mesh_softwire_up{")).count(), 1000);
}

#[tokio::test]
async fn which_page_is_asked_for() {
    for (query, limit) in [("", 100), ("?limit=7", 7), ("?limit=0", 1), ("?limit=4294967295", 1000)] {
        for list in ["subscribers", "tunnels", "sessions"] {
            let (status, _, body) = call("GET", &format!("/api/v1/{list}{query}")).await;
            let page = format!("{{\"items\":[],\"next\":null,\"total\":{limit}}}");
            assert_eq!((status, body), (StatusCode::OK, page), "{list}{query}");
        }
    }
    for list in ["subscribers", "tunnels", "sessions", "ike-sas", "child-sas", "softwires"] {
        for query in [
            "limit=-1",
            "limit=4294967296",
            "after=7",
            "after=",
            "after=zzzzzzzzzzzzzzzz",
            "colour=red",
            "limit=1&limit=2",
        ] {
            let (status, kind, body) = call("GET", &format!("/api/v1/{list}?{query}")).await;
            assert_eq!((status.as_u16(), kind.as_str()), (400, "application/problem+json"), "{list}?{query}: {body}");
        }
    }
    for (list, query) in
        [("subscribers", "address=1.2.3"), ("ike-sas", "address=x"), ("child-sas", "peer=x"), ("softwires", "peer=1")]
    {
        assert_eq!(call("GET", &format!("/api/v1/{list}?{query}")).await.0, StatusCode::BAD_REQUEST, "{list}?{query}");
    }
}

#[tokio::test]
async fn a_drain_is_ordered() {
    for (body, mode, left) in [
        (r#"{"mode":"refuse"}"#, "\"refuse\"", 7),
        (r#"{"mode":"teardown"}"#, "\"teardown\"", 60),
        (r#"{"mode":"teardown","within":null}"#, "\"teardown\"", 60),
        (r#"{"mode":"teardown","within":0}"#, "\"teardown\"", 0),
        (r#"{"within":30,"mode":"teardown"}"#, "\"teardown\"", 30),
        (r#"{"mode":"teardown","within":4294967295}"#, "\"teardown\"", 86_400),
    ] {
        let (status, _, answer) = send("POST", "/api/v1/drain", Some(body)).await;
        let expected = format!(
            "{{\"state\":\"draining\",\"mode\":{mode},\"sessions_left\":{left},\"peers_left\":0,\"refused\":0}}"
        );
        assert_eq!((status, answer), (StatusCode::OK, expected), "{body}");
    }
    for method in ["GET", "DELETE"] {
        let (status, _, answer) = call(method, "/api/v1/drain").await;
        assert!(status == StatusCode::OK && answer.contains("\"state\":\"off\",\"mode\":null"), "{method}: {answer}");
    }
    for body in
        [r#"{"mode":"stop"}"#, "{}", r#"{"mode":"teardown","within":-1}"#, r#"{"mode":"refuse","within":3}"#, "[]"]
    {
        let (status, kind, answer) = send("POST", "/api/v1/drain", Some(body)).await;
        assert_eq!((status.as_u16(), kind.as_str()), (422, "application/problem+json"), "{body}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn health_and_readiness() {
    assert_eq!(call("GET", "/api/v1/health").await.0, StatusCode::OK);
    let (status, _, body) = call("GET", "/api/v1/ready").await;
    let ready = r#"{"checks":{"control":"ok","workers":"ok","drain":"ok"}}"#;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ready));
}

/// A control plane that answers as `pulse` says, or not at all, and nothing else.
fn alive(pulse: impl Fn(u64) -> Option<Pulse> + Send + 'static) -> Router {
    let (northbound, mut queries) = Northbound::channel();
    tokio::spawn(async move {
        let (mut asked, mut unanswered) = (0, Vec::new());
        while let Some(query) = queries.recv().await {
            let Query::Pulse(to) = query else { continue };
            asked += 1;
            match pulse(asked) {
                Some(pulse) => drop(to.send(pulse)),
                None => unanswered.push(to),
            }
        }
    });
    router(crate::config::tests::state(northbound)).0
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_of_no_use_is_not_ready() {
    let pulse = |polls: Vec<u64>, draining| Some(Pulse { polls, draining });
    let of = |app: Router, path: &'static str| async move {
        let (status, kind, body) = send_to(app, "GET", path, None).await;
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        let paths: Vec<_> = problem["errors"].as_array().into_iter().flatten().map(|e| e["path"].to_string()).collect();
        (status.as_u16(), kind, paths.join(" "))
    };
    let ready = "/api/v1/ready";
    let no = |paths: &str| (503, "application/problem+json".to_owned(), paths.to_owned());
    let stuck = alive(move |n| pulse(vec![n, 5], false));
    assert_eq!(of(stuck, ready).await, no("\"/checks/workers\""));
    let draining = alive(move |n| pulse(vec![n], true));
    assert_eq!(of(draining, ready).await, no("\"/checks/drain\""));
    let both = alive(move |_| pulse(vec![1], true));
    assert_eq!(of(both, ready).await, no("\"/checks/workers\" \"/checks/drain\""));
    assert_eq!(of(alive(|_| None), ready).await, no("\"/checks/control\""));
    assert_eq!(of(alive(|_| None), "/api/v1/health").await, no(""));
    // A worker may take its time.
    let slow = alive(move |n| pulse(vec![n / 4, n], false));
    assert_eq!(send_to(slow, "GET", ready, None).await.0, StatusCode::OK);
    let (northbound, south) = Northbound::channel();
    drop(south);
    assert_eq!(of(router(crate::config::tests::state(northbound)).0, ready).await, no("\"/checks/control\""));
}
