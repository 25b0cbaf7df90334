use crate::tests::send;
use axum::http::StatusCode;
use controlplane::northbound::{
    BgpFamily, BgpFamilyInfo, BgpMessagesInfo, BgpNeighbourInfo, BgpPage, BgpProtectionInfo, BgpTotalsInfo,
    MeshMetrics, NotDone, Query, SoftwireMetrics,
};
use std::fmt::Debug;
use std::net::IpAddr;

const KNOWN: &str = "/api/v1/bgp/neighbours/2001:db8::1";
const STUBBORN: &str = "/api/v1/bgp/neighbours/2001:db8::2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn neighbour() -> BgpNeighbourInfo {
    let family = BgpFamilyInfo {
        family: BgpFamily::Ipv4,
        negotiated: true,
        received: 3,
        accepted: 2,
        advertised: 1,
        stale: false,
        max_prefix: None,
    };
    BgpNeighbourInfo {
        address: ip("2001:db8::1"),
        description: Some("east".into()),
        asn: 65000,
        local_asn: 65000,
        local: None,
        router_id: Some([1, 1, 1, 1].into()),
        local_router_id: [2, 2, 2, 2].into(),
        client: false,
        state: "Established".into(),
        stopped: None,
        seconds: Some(61),
        established: 2,
        flaps: 1,
        messages_in: 4,
        messages_out: 0,
        received: BgpMessagesInfo { update: 4, ..BgpMessagesInfo::default() },
        sent: BgpMessagesInfo::default(),
        negotiated: None,
        families: vec![family],
        import: None,
        export: None,
        last_down: None,
        last_down_seconds: None,
        protection: BgpProtectionInfo {
            method: "md5",
            key_chain: Some("core".into()),
            key_id: Some(3),
            ttl_security: Some(1),
            warnings: Vec::new(),
            refused: None,
        },
    }
}

/// An empty page, whose cursor tells what was asked for.
fn echo<T>(asked: impl Debug) -> BgpPage<T> {
    BgpPage { routes: Vec::new(), next: Some(format!("{asked:?}")) }
}

/// A control plane with the neighbour 2001:db8::1, which does everything, and 2001:db8::2, which refuses everything and
/// says what it was to do.
pub(crate) fn answer(query: Query) {
    match query {
        Query::BgpNeighbours(to) => drop(to.send(vec![neighbour()])),
        Query::BgpRoutes(select, to) => drop(to.send(echo(select))),
        Query::BgpReceived(address, select, to) => {
            drop(to.send((address == ip("2001:db8::1")).then(|| echo(select))));
        }
        Query::BgpSent(address, select, to) => drop(to.send((address == ip("2001:db8::1")).then(|| echo(select)))),
        Query::BgpAct(address, action, to) => {
            let result = match address.to_string().as_str() {
                "2001:db8::1" => Ok(()),
                "2001:db8::2" => Err(NotDone::State(format!("{action:?}").leak())),
                _ => Err(NotDone::Unknown),
            };
            let _ = to.send(result);
        }
        Query::RekeySoftwire(id, to) => {
            let result = match id {
                0 => Ok(()),
                1 => Err(NotDone::State("the softwire is not protected")),
                _ => Err(NotDone::Unknown),
            };
            let _ = to.send(result);
        }
        Query::MeshMetrics(to) => {
            let softwire =
                |id| SoftwireMetrics { id, remote: ip("2001:db8:f2::1"), up: true, received: [9, 10], sent: [11, 12] };
            drop(to.send(MeshMetrics {
                rib: vec![BgpTotalsInfo { family: BgpFamily::Ipv4, routes: 5, paths: 7 }],
                attribute_sets: 2,
                softwires: (0..1500).map(softwire).collect(),
            }));
        }
        _ => {}
    }
}

#[tokio::test]
async fn neighbours() {
    for path in ["/api/v1/bgp/neighbours", KNOWN, "/api/v1/bgp/neighbours/2001:DB8:0::1"] {
        let (status, _, body) = send("GET", path, None).await;
        assert!(status == StatusCode::OK && body.contains("\"description\":\"east\""), "{path}: {body}");
        assert!(body.contains("\"families\":[{\"family\":\"ipv4\",\"negotiated\":true,\"received\":3"), "{body}");
    }
}

#[tokio::test]
async fn parameters_of_a_page() {
    let all = "BgpSelect { family: None, prefix: None, after: None, limit: 100 }";
    for (query, asked) in [
        ("", all),
        ("?limit=7&family=ipv6", "BgpSelect { family: Some(Ipv6), prefix: None, after: None, limit: 7 }"),
        ("?limit=99999999", &all.replace("100", "1000")),
        ("?limit=0", &all.replace("100", "1")),
        ("?prefix=10.1.2.3/8", &all.replace("prefix: None", "prefix: Some((10.0.0.0/8, Exact))")),
        ("?prefix=10.1.2.3&match=covering", &all.replace("prefix: None", "prefix: Some((10.1.2.3/32, Covering))")),
        ("?prefix=2001:db8::/32&match=longer&after=2001:db8:1::/48", &{
            let of = all.replace("prefix: None", "prefix: Some((2001:db8::/32, Longer))");
            of.replace("after: None", "after: Some(2001:db8:1::/48)")
        }),
    ] {
        for table in ["/api/v1/bgp/routes", &format!("{KNOWN}/routes/in"), &format!("{KNOWN}/routes/out")] {
            let (status, _, body) = send("GET", &format!("{table}{query}"), None).await;
            let answer = format!("{{\"routes\":[],\"next\":\"{asked}\"}}");
            assert_eq!((status, body), (StatusCode::OK, answer), "{table}{query}");
        }
    }
}

#[tokio::test]
async fn parameters_that_make_no_sense() {
    for query in [
        "limit=-1",
        "limit=many",
        "limit=99999999999999999999999",
        "family=ipx",
        "family=",
        "prefix=10.0.0.0/33",
        "prefix=",
        "prefix=%00%ff",
        "match=longer",
        "prefix=10.0.0.0/8&match=roughly",
        "after=10.0.0.0",
        "after=..%2f..%2fetc",
        "colour=red",
        "limit=1&limit=2",
    ] {
        for table in ["/api/v1/bgp/routes", &format!("{KNOWN}/routes/in"), &format!("{KNOWN}/routes/out")] {
            let (status, kind, body) = send("GET", &format!("{table}?{query}"), None).await;
            assert_eq!((status.as_u16(), kind.as_str()), (400, "application/problem+json"), "{table}?{query}: {body}");
        }
    }
}

#[tokio::test]
async fn actions_are_accepted() {
    for (action, body) in [
        ("clear", None),
        ("clear", Some("{}")),
        ("clear", Some(r#"{"hard":true,"message":"maintenance"}"#)),
        ("soft-in", None),
        ("soft-out", Some(r#"{"family":"ipv4"}"#)),
        ("disable", Some(r#"{"message":"until tomorrow"}"#)),
        ("enable", None),
    ] {
        let (status, _, answer) = send("POST", &format!("{KNOWN}/{action}"), body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{action} {body:?}: {answer}");
    }
    let (status, ..) = send("POST", "/api/v1/softwires/0/rekey", None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn actions_say_what_is_to_be_done() {
    for (action, body, meant) in [
        ("clear", "{}", "Clear { hard: false, message: \\\"\\\" }"),
        ("clear", r#"{"hard":true,"message":"now"}"#, "Clear { hard: true, message: \\\"now\\\" }"),
        ("soft-in", "{}", "SoftIn(None)"),
        ("soft-in", r#"{"family":"ipv6"}"#, "SoftIn(Some(Ipv6))"),
        ("soft-out", r#"{"family":"ipv4"}"#, "SoftOut(Some(Ipv4))"),
        ("disable", r#"{"message":"é"}"#, "Disable { message: \\\"é\\\" }"),
        ("enable", "{}", "Enable"),
    ] {
        let (status, kind, answer) = send("POST", &format!("{STUBBORN}/{action}"), Some(body)).await;
        assert_eq!((status.as_u16(), kind.as_str()), (409, "application/problem+json"), "{action}");
        assert!(answer.contains(&format!("\"detail\":\"{meant}\"")), "{action} {body}: {answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_a_problem() {
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(256));
    let neighbour = |rest: &str| format!("{KNOWN}/{rest}");
    let nobody = |rest: &str| format!("/api/v1/bgp/neighbours/192.0.2.99{rest}");
    for (method, path, body, status) in [
        ("GET", nobody(""), None, 404),
        ("GET", nobody("/routes/in"), None, 404),
        ("GET", nobody("/routes/out"), None, 404),
        ("POST", nobody("/clear"), None, 404),
        ("GET", "/api/v1/bgp/neighbours/east".into(), None, 400),
        ("GET", "/api/v1/bgp/neighbours/10.0.0.1%2f8/routes/in".into(), None, 400),
        ("POST", "/api/v1/bgp/neighbours/%00/clear".into(), None, 400),
        ("POST", neighbour("explode"), None, 404),
        ("POST", neighbour("clear"), Some("{"), 400),
        ("POST", neighbour("clear"), Some("3"), 422),
        ("POST", neighbour("clear"), Some(r#"{"hard":"yes"}"#), 422),
        ("POST", neighbour("clear"), Some(r#"{"harder":true}"#), 422),
        ("POST", neighbour("clear"), Some(&*long), 422),
        ("POST", neighbour("disable"), Some(&*long), 422),
        ("POST", neighbour("disable"), Some(r#"{"message":"one\ntwo"}"#), 422),
        ("POST", neighbour("soft-in"), Some(r#"{"family":"ipx"}"#), 422),
        ("POST", "/api/v1/softwires/1/rekey".into(), None, 409),
        ("POST", "/api/v1/softwires/2/rekey".into(), None, 404),
        ("POST", "/api/v1/softwires/x/rekey".into(), None, 400),
        ("POST", "/api/v1/softwires/70000/rekey".into(), None, 400),
    ] {
        let (answered, kind, answer) = send(method, &path, body).await;
        assert_eq!(
            (answered.as_u16(), kind.as_str()),
            (status, "application/problem+json"),
            "{path} {body:?}: {answer}"
        );
    }
}
