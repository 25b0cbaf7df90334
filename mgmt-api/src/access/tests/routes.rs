//! Every route of the router with every role. What is looked at takes `read`, what is changed `admin`; each exception stands
//! here by name, so that a new route is open to no more than it has to be, and one without a rule is noticed.

use super::*;
use controlplane::config::Role::{self, Admin, Operate, Read};

/// Open to anybody.
const OPEN: &[&str] =
    &["GET /", "GET /view/{name}", "GET /api/v1/health", "GET /api/v1/ready", "GET /api/v1/openapi.json"];

/// Seen by administrators only.
const HIDDEN: &[&str] = &["GET /api/v1/tokens", "GET /api/v1/traces/{id}/pcapng"];

/// What an operator does to what runs.
const ACTIONS: &[&str] = &[
    "DELETE /api/v1/subscribers/{id}",
    "POST /api/v1/ike-sas/{peer}/rekey",
    "POST /api/v1/child-sas/{spi}/rekey",
    "POST /api/v1/softwires/{id}/rekey",
    "POST /api/v1/bgp/neighbours/{address}/clear",
    "POST /api/v1/bgp/neighbours/{address}/soft-in",
    "POST /api/v1/bgp/neighbours/{address}/soft-out",
    "POST /api/v1/bgp/neighbours/{address}/disable",
    "POST /api/v1/bgp/neighbours/{address}/enable",
    "POST /api/v1/drain",
    "DELETE /api/v1/drain",
    "POST /api/v1/traces",
    "DELETE /api/v1/traces/{id}",
];

/// The status that `peer` draws.
pub(super) async fn asked(access: &Arc<Access>, method: &str, path: &str, peer: Option<Peer>) -> u16 {
    let mut request = axum::http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    guarded(access).oneshot(request).await.unwrap().status().as_u16()
}

/// Whoever has a certificate of this name, or none.
fn remote(name: Option<&str>) -> Option<Peer> {
    let address = SocketAddr::from(([192, 0, 2, 9], 7));
    Some(Peer::Remote { address, certificate: name.map(|name| Arc::from([name.to_owned()])) })
}

/// An API that knows a certificate for each role.
fn access(dir: &Scratch) -> Arc<Access> {
    let clients = [Read, Operate, Admin].map(|role| ApiClient { name: role.name().to_owned(), role });
    let api = Api { state: dir.0.display().to_string(), clients: clients.into(), ..Api::default() };
    Arc::new(Access::open(&api).unwrap())
}

/// The paths of all routes. Axum tells them only to those who debug; that these are all is asserted below.
fn paths(access: &Arc<Access>) -> Vec<String> {
    let shown = format!("{:?}", guarded(access));
    let quoted = shown.split('"').skip(1).step_by(2);
    let of_routes = |text: &&str| text.starts_with('/') && !text.contains("__private__");
    let mut paths: Vec<_> = quoted.filter(of_routes).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn expected(route: &str) -> Option<Role> {
    if OPEN.contains(&route) {
        return None;
    }
    Some(match (route.starts_with("GET "), HIDDEN.contains(&route), ACTIONS.contains(&route)) {
        (true, false, _) => Read,
        (false, _, true) => Operate,
        _ => Admin,
    })
}

#[tokio::test]
async fn every_route_with_every_role() {
    let dir = Scratch::new();
    let access = access(&dir);
    let paths = paths(&access);
    for known in ["/metrics", "/api/v1/status", "/api/v1/subscribers/{id}", "/api/v1/bgp/routes", "/api/v1/tokens/{id}"]
    {
        assert!(paths.iter().any(|path| path == known), "{known}: {paths:?}");
    }
    let mut routes = 0;
    for path in &paths {
        let segments = path.split('/').map(|s| if s.starts_with('{') { "1" } else { s });
        let uri = segments.collect::<Vec<_>>().join("/");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let route = format!("{method} {path}");
            let admin = asked(&access, method, &uri, remote(Some("admin"))).await;
            assert!(![401, 403].contains(&admin), "{route}: there is no rule");
            if admin == 405 {
                continue;
            }
            routes += 1;
            let may = expected(&route);
            for role in [Read, Operate] {
                let status = asked(&access, method, &uri, remote(Some(role.name()))).await;
                assert_eq!(
                    status == 403,
                    may.is_some_and(|least| role < least),
                    "{route} as {}: {status}",
                    role.name()
                );
                assert_ne!(status, 401, "{route}");
            }
            let anybody = asked(&access, method, &uri, remote(None)).await;
            assert_eq!(anybody == 401, may.is_some(), "{route} as anybody: {anybody}");
        }
    }
    assert!(routes > 30, "{routes}");
}

#[tokio::test]
async fn another_site_cannot_use_the_browsers_certificate() {
    let dir = Scratch::new();
    let access = access(&dir);
    for (method, origin, refused) in [
        ("DELETE", Some("https://evil.example"), true),
        ("DELETE", Some("null"), true),
        ("DELETE", Some("https://gw.example.net:8443"), false),
        ("DELETE", None, false),
        ("GET", Some("https://evil.example"), false),
    ] {
        let mut request = axum::http::Request::builder().method(method).uri("/api/v1/subscribers/1.1");
        request = request.header("host", "gw.example.net:8443");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(remote(Some("operate")).unwrap());
        let answer = guarded(&access).oneshot(request).await.unwrap();
        assert_eq!(answer.status() == StatusCode::FORBIDDEN, refused, "{method} {origin:?}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(!refused || body.windows(12).any(|w| w == b"another site"));
    }
}
