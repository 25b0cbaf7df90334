//! The REST face of the gateway, a first one: what is (GET), a few actions (POST, DELETE), and metrics.
//!
//! | path | answers |
//! |---|---|
//! | `GET /api/v1/health` | 200 while the control plane answers |
//! | `GET /api/v1/status` | version, uptime, totals, listeners |
//! | `GET /api/v1/subscribers[/ID]` | softwires; `ID` is `tunnel.session` |
//! | `DELETE /api/v1/subscribers/ID` | disconnects, by `tunnel.session` or by user |
//! | `GET /api/v1/ike-sas`, `POST /api/v1/ike-sas/PEER/rekey` | IKE SAs |
//! | `GET /api/v1/child-sas`, `POST /api/v1/child-sas/SPI/rekey` | child SAs; `SPI` is the inbound one, hexadecimal |
//! | `GET /api/v1/bfd` | BFD sessions |
//! | `GET /api/v1/softwires`, `POST /api/v1/softwires/ID/rekey` | softwires to other AFBRs |
//! | `GET /api/v1/mesh/profiles` | IPsec profiles and what is bound to them |
//! | `GET /api/v1/bgp/neighbours[/ADDRESS]` | BGP sessions |
//! | `GET /api/v1/bgp/routes` | the Loc-RIB with all paths, and where it leads; in pages |
//! | `GET /api/v1/bgp/neighbours/ADDRESS/routes/in`, `.../out` | Adj-RIB-In and Adj-RIB-Out, in pages |
//! | `POST /api/v1/bgp/neighbours/ADDRESS/clear`, `soft-in`, `soft-out`, `disable`, `enable` | actions |
//! | `GET /api/v1/bgp/rtr` | RPKI caches |
//! | `GET /api/v1/radius` | RADIUS servers, accounting, dynamic authorization |
//! | `GET`, `POST /api/v1/traces`, `GET`, `DELETE /api/v1/traces/ID` | packet traces: see `trace` |
//! | `GET /api/v1/traces/ID/pcapng` | the packets of one |
//! | `GET /api/v1/tunnels`, `GET /api/v1/sessions` | L2TP's view of the softwires |
//! | `GET /api/v1/spd`, `GET /api/v1/counters` | the SPD; counters of workers and control plane |
//! | `GET /metrics` | Prometheus text format |
//!
//! Errors are problem documents (RFC 9457). There is no authentication yet, so it listens on loopback unless the
//! operator writes otherwise.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod bgp;
mod metrics;
mod problem;
mod radius;
mod rtr;
mod trace;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use controlplane::northbound::{
    BfdInfo, ChildSaInfo, CountersInfo, IkeSaInfo, Northbound, NotDone, ProfileInfo, Query, SoftwireInfo, SpdInfo,
    StatusInfo, SubscriberInfo,
};
use problem::Problem;
use serde::Serialize;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// The routes.
pub fn router(northbound: Northbound) -> Router {
    let v1 = Router::new()
        .route("/health", get(health))
        .route("/status", get(status))
        .route("/subscribers", get(subscribers))
        .route("/subscribers/{id}", get(subscriber).delete(disconnect))
        .route("/ike-sas", get(ike_sas))
        .route("/ike-sas/{peer}/rekey", post(rekey_ike))
        .route("/child-sas", get(child_sas))
        .route("/child-sas/{spi}/rekey", post(rekey_child))
        .route("/softwires", get(softwires))
        .route("/softwires/{id}/rekey", post(rekey_softwire))
        .route("/mesh/profiles", get(profiles))
        .nest("/bgp", bgp::routes())
        .route("/bfd", get(bfd))
        .route("/bgp/rtr", get(rtr::caches))
        .route("/radius", get(radius::radius))
        .route("/tunnels", get(tunnels))
        .route("/sessions", get(sessions))
        .nest("/traces", trace::routes())
        .route("/spd", get(spd))
        .route("/counters", get(counters));
    Router::new()
        .nest("/api/v1", v1)
        .route("/metrics", get(metrics::scrape))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is no such resource") })
        .with_state(northbound)
}

/// Serves until `stop` resolves.
pub async fn serve(
    listen: SocketAddr,
    northbound: Northbound,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|e| anyhow::anyhow!("cannot listen on {listen} for the API: {e}"))?;
    tracing::info!(%listen, "API is up");
    Ok(axum::serve(listener, router(northbound)).with_graceful_shutdown(stop).await?)
}

type Answer<T> = Result<Json<T>, Problem>;

async fn ask<T>(n: &Northbound, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Problem> {
    n.ask(query).await.map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))
}

fn done(found: bool, what: &str) -> Result<StatusCode, Problem> {
    if found {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no {what}")))
    }
}

fn acted(result: Result<(), NotDone>, what: &str) -> Result<StatusCode, Problem> {
    match result {
        Err(NotDone::State(why)) => Err(Problem::new(StatusCode::CONFLICT, why)),
        other => done(other.is_ok(), what),
    }
}

async fn health(State(n): State<Northbound>) -> Answer<serde_json::Value> {
    ask(&n, Query::Status).await?;
    Ok(Json(serde_json::json!({ "status": "ok" })))
}

async fn status(State(n): State<Northbound>) -> Answer<StatusInfo> {
    ask(&n, Query::Status).await.map(Json)
}

async fn subscribers(State(n): State<Northbound>) -> Answer<Vec<SubscriberInfo>> {
    ask(&n, Query::Subscribers).await.map(Json)
}

async fn subscriber(State(n): State<Northbound>, Path(id): Path<String>) -> Answer<SubscriberInfo> {
    let found = ask(&n, Query::Subscribers).await?.into_iter().find(|s| s.id == id);
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no subscriber {id}")))
}

async fn disconnect(State(n): State<Northbound>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let what = format!("subscriber {id}");
    done(ask(&n, |to| Query::Disconnect(id, to)).await?, &what)
}

async fn ike_sas(State(n): State<Northbound>) -> Answer<Vec<IkeSaInfo>> {
    ask(&n, Query::IkeSas).await.map(Json)
}

async fn rekey_ike(State(n): State<Northbound>, Path(peer): Path<u32>) -> Result<StatusCode, Problem> {
    done(ask(&n, |to| Query::RekeyIke(peer, to)).await?, &format!("IKE peer {peer}"))
}

async fn bfd(State(n): State<Northbound>) -> Answer<Vec<BfdInfo>> {
    ask(&n, Query::Bfd).await.map(Json)
}

async fn softwires(State(n): State<Northbound>) -> Answer<Vec<SoftwireInfo>> {
    ask(&n, Query::Softwires).await.map(Json)
}

async fn rekey_softwire(State(n): State<Northbound>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let number = id.parse::<u16>();
    let number =
        number.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, format!("{id:?} is not a softwire's number")))?;
    acted(ask(&n, |to| Query::RekeySoftwire(number, to)).await?, &format!("softwire {number}"))
}

async fn profiles(State(n): State<Northbound>) -> Answer<Vec<ProfileInfo>> {
    ask(&n, Query::Profiles).await.map(Json)
}

async fn child_sas(State(n): State<Northbound>) -> Answer<Vec<ChildSaInfo>> {
    ask(&n, Query::ChildSas).await.map(Json)
}

async fn rekey_child(State(n): State<Northbound>, Path(spi): Path<String>) -> Result<StatusCode, Problem> {
    let number = u32::from_str_radix(&spi, 16)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, format!("{spi} is not a hexadecimal SPI")))?;
    done(ask(&n, |to| Query::RekeyChild(number, to)).await?, &format!("child SA {spi}"))
}

/// An L2TP tunnel; in a softwire it has one session.
#[derive(Debug, Serialize)]
struct Tunnel {
    tunnel: u16,
    peer_tunnel: u16,
    outer: SocketAddr,
    ike_id: Option<String>,
}

async fn tunnels(State(n): State<Northbound>) -> Answer<Vec<Tunnel>> {
    let row =
        |s: SubscriberInfo| Tunnel { tunnel: s.tunnel, peer_tunnel: s.peer_tunnel, outer: s.outer, ike_id: s.ike_id };
    Ok(Json(ask(&n, Query::Subscribers).await?.into_iter().map(row).collect()))
}

/// An L2TP session.
#[derive(Debug, Serialize)]
struct Session {
    tunnel: u16,
    session: u16,
    peer_session: u16,
    user: Option<String>,
    mtu: u16,
    state: &'static str,
}

async fn sessions(State(n): State<Northbound>) -> Answer<Vec<Session>> {
    let row = |s: SubscriberInfo| Session {
        tunnel: s.tunnel,
        session: s.session,
        peer_session: s.peer_session,
        user: s.user,
        mtu: s.mtu,
        state: s.state,
    };
    Ok(Json(ask(&n, Query::Subscribers).await?.into_iter().map(row).collect()))
}

async fn spd(State(n): State<Northbound>) -> Answer<Vec<SpdInfo>> {
    ask(&n, Query::Spd).await.map(Json)
}

async fn counters(State(n): State<Northbound>) -> Answer<CountersInfo> {
    ask(&n, Query::Counters).await.map(Json)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use controlplane::northbound::RtrCacheInfo;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    // A control plane that knows one counter and nobody.
    fn app() -> Router {
        let (northbound, mut queries) = Northbound::channel();
        tokio::spawn(async move {
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
                    Query::Subscribers(to) => drop(to.send(vec![])),
                    Query::Disconnect(who, to) => drop(to.send(who == "alice")),
                    Query::IkeSas(to) => drop(to.send(vec![ike_sa()])),
                    Query::Rtr(to) => drop(to.send(vec![cache()])),
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
        router(northbound)
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
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body.map_or_else(Body::empty, |text| Body::from(text.to_owned()))).unwrap();
        let response = app().oneshot(request).await.unwrap();
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
        for line in
            ["rtr_up{cache=\"one\"} 1", "rtr_used{cache=\"one\"} 1", "rtr_vrps{cache=\"one\",family=\"ipv6\"} 2"]
        {
            assert!(metrics.contains(&format!("softwire_{line}")), "{metrics}");
        }
    }

    #[tokio::test]
    async fn errors_are_problem_documents() {
        for (method, path, status) in [
            ("GET", "/api/v1/subscribers/1.1", 404),
            ("DELETE", "/api/v1/subscribers/bob", 404),
            ("POST", "/api/v1/child-sas/xyz/rekey", 400),
            ("GET", "/nowhere", 404),
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
}
