//! What goes on for long ends with what it was asked for by.

use super::*;
use axum::body::BodyDataStream;
use axum::http::Request;
use controlplane::northbound::{BgpEvent, Event, Southbound};
use futures_util::StreamExt;
use tokio::time::Instant;

async fn events(app: Router, request: axum::http::request::Builder) -> BodyDataStream {
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().into_data_stream()
}

fn get() -> axum::http::request::Builder {
    Request::get("/api/v1/events")
}

/// The next event; between events there are comments, so that the connection is not taken for dead.
async fn next(stream: &mut BodyDataStream) -> Option<String> {
    loop {
        let chunk = String::from_utf8(stream.next().await?.unwrap().to_vec()).unwrap();
        if !chunk.starts_with(':') {
            return Some(chunk);
        }
    }
}

fn happens(south: &Southbound) {
    let event = BgpEvent { neighbour: [192, 0, 2, 1].into(), reason: None };
    south.publish(SystemTime::UNIX_EPOCH, Event::BgpUp(event));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_taken_back_ends_its_events_at_once() {
    let dir = Scratch::new();
    let access = Arc::new(Access::open(&api(&dir)).unwrap());
    let (northbound, south) = Northbound::channel();
    let app = access.guard(crate::router(crate::config::tests::state(northbound)).0);
    let mut streams = Vec::new();
    for name in ["gone", "stays"] {
        let (_, token) = access.tokens.create(name, Role::Read, SystemTime::now(), None).await.unwrap();
        let peer = Peer::Remote { address: SocketAddr::from(([192, 0, 2, 9], 7)), certificate: None };
        let request = get().header("authorization", format!("Bearer {}", *token)).extension(peer);
        streams.push(events(app.clone(), request).await);
    }
    streams.push(events(app, get().extension(Peer::Local { uid: 0 })).await);
    happens(&south);
    for stream in &mut streams {
        assert!(next(stream).await.unwrap().starts_with("event: bgp.up"));
    }
    // Each change of the tokens is looked at, and not only each change of one's own.
    access.tokens.create("third", Role::Read, SystemTime::now(), None).await.unwrap();
    let id = access.tokens.list().into_iter().find(|t| t.name == "gone").unwrap().id;
    access.tokens.delete(&id).await.unwrap();
    happens(&south);
    let begin = Instant::now();
    assert_eq!(next(&mut streams[0]).await, None, "what happens afterwards is not for it");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    for stream in &mut streams[1..] {
        assert!(next(stream).await.unwrap().starts_with("event: bgp.up"));
        assert!(timeout(Duration::from_secs(3600), next(stream)).await.is_err(), "it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_ends_its_events_within_fifteen_seconds() {
    let dir = Scratch::new();
    let api = api(&dir);
    let (northbound, south) = Northbound::channel();
    let app = crate::router(crate::config::tests::state(northbound)).0;
    // The file has whole seconds.
    let end = SystemTime::now() + Duration::from_secs(3);
    let expires = humantime::format_rfc3339_seconds(end).to_string();
    let token = serde_json::json!([{ "id": "short", "name": "short", "role": "read", "hash": "", "created": expires,
                                     "expires": expires }]);
    std::fs::create_dir_all(&api.state).unwrap();
    std::fs::write(Path::new(&api.state).join("tokens.json"), token.to_string()).unwrap();
    let access = Arc::new(Access::open(&api).unwrap());
    let mut stream = events(app, get().extension(Login { access, token: Some("short".to_owned()) })).await;
    happens(&south);
    assert!(next(&mut stream).await.unwrap().starts_with("event: bgp.up"));
    std::thread::sleep(end.duration_since(SystemTime::now()).unwrap_or_default());
    let begin = Instant::now();
    let ended = timeout(Duration::from_secs(60), next(&mut stream)).await;
    assert_eq!(ended, Ok(None));
    assert!(begin.elapsed() <= Duration::from_secs(15), "{:?}", begin.elapsed());
}
