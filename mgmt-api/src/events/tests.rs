use super::*;
use crate::router;
use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use controlplane::northbound::{BgpEvent, ConfigEvent, Event as Happening, SoftwireEvent, Southbound};
use std::time::SystemTime;
use tower::ServiceExt;

fn app() -> (Router, Northbound, Southbound) {
    let (northbound, south) = Northbound::channel();
    (router(crate::config::tests::state(northbound.clone())).0, northbound, south)
}

async fn get(app: &Router, query: &str) -> (StatusCode, String, BodyDataStream) {
    let request = Request::get(format!("/api/v1/events{query}")).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status(), kind, response.into_body().into_data_stream())
}

async fn next(stream: &mut BodyDataStream) -> Option<String> {
    stream.next().await.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
}

fn bgp(last: u8) -> BgpEvent {
    BgpEvent { neighbour: [192, 0, 2, last].into(), reason: None }
}

fn softwire(id: u16) -> Happening {
    Happening::SoftwireUp(SoftwireEvent { id, remote: [192, 0, 2, 1].into() })
}

#[tokio::test]
async fn events_come_in_order_with_kind_number_and_time() {
    let (app, _, south) = app();
    south.publish(SystemTime::UNIX_EPOCH, softwire(1));
    let (status, kind, mut stream) = get(&app, "").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/event-stream"));
    // What was before is not told.
    south.publish(SystemTime::UNIX_EPOCH, Happening::BgpUp(bgp(7)));
    south.publish(SystemTime::UNIX_EPOCH, Happening::BgpDown(bgp(7)));
    let data = r#"{"at":"1970-01-01T00:00:00.000Z","kind":"bgp.up","neighbour":"192.0.2.7","reason":null}"#;
    assert_eq!(next(&mut stream).await.unwrap(), format!("event: bgp.up\nid: 2\ndata: {data}\n\n"));
    assert!(next(&mut stream).await.unwrap().starts_with("event: bgp.down\nid: 3\n"));
    drop(south);
    assert_eq!(next(&mut stream).await, None, "it ends with the control plane");
}

#[tokio::test]
async fn only_the_kinds_that_are_asked_for() {
    let (app, northbound, south) = app();
    let (_, _, mut stream) = get(&app, "?kinds=bgp,config").await;
    south.publish(SystemTime::UNIX_EPOCH, softwire(1));
    south.publish(SystemTime::UNIX_EPOCH, Happening::BgpUp(bgp(7)));
    south.publish(SystemTime::UNIX_EPOCH, softwire(2));
    let commit = ConfigEvent { commit: 3, author: "ann".into(), comment: None };
    northbound.publish(SystemTime::UNIX_EPOCH, Happening::ConfigCommit(commit));
    assert!(next(&mut stream).await.unwrap().starts_with("event: bgp.up\nid: 2\n"));
    assert!(next(&mut stream).await.unwrap().starts_with("event: config.commit\nid: 4\n"));
    for query in ["?kinds=", "?kinds=bgp,weather", "?kinds=bgp.up", "?since=1"] {
        let (status, kind, _) = get(&app, query).await;
        assert_eq!((status.as_u16(), kind.as_str()), (400, "application/problem+json"), "{query}");
    }
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_what_it_has_lost() {
    let (app, _, south) = app();
    let (_, _, mut stream) = get(&app, "").await;
    for id in 0..5000 {
        south.publish(SystemTime::UNIX_EPOCH, softwire(id));
    }
    assert_eq!(next(&mut stream).await.unwrap(), "event: lagged\ndata: {\"lost\":904}\n\n");
    for id in 905..=5000 {
        assert!(next(&mut stream).await.unwrap().starts_with(&format!("event: softwire.up\nid: {id}\n")));
    }
}
