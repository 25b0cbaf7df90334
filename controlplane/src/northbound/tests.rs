use super::*;
use tokio::sync::broadcast::error::RecvError;

fn event(id: u16) -> Event {
    Event::SoftwireUp(SoftwireEvent { id, remote: [0; 4].into() })
}

#[test]
fn an_event_is_serialized_with_its_kind_and_time() {
    let (northbound, southbound) = Northbound::channel();
    let mut listener = northbound.events();
    let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_500);
    southbound.publish(at, event(7));
    let notice = listener.blocking_recv().unwrap();
    assert_eq!(notice.id, 1);
    assert_eq!(notice.event.kind(), "softwire.up");
    let expected =
        serde_json::json!({ "at": "2023-11-14T22:13:20.500Z", "kind": "softwire.up", "id": 7, "remote": "0.0.0.0" });
    assert_eq!(serde_json::to_value(&*notice).unwrap(), expected);
}

#[test]
fn every_kind_is_serialized_under_its_name() {
    let session = || SessionEvent {
        id: "1.1".into(),
        user: None,
        ike_id: None,
        listener: "l".into(),
        outer: ([192, 0, 2, 1], 1).into(),
        inner: vec![],
        reason: None,
        seconds: 0,
        in_octets: 0,
        out_octets: 0,
    };
    let ike = || IkeEvent { peer: None, pad: None, id: None, remote: None, version: None, reason: None };
    let child = || ChildEvent { peer: 1, spi_in: "1".into(), replaces: None, reason: None };
    let bgp = || BgpEvent { neighbour: [0; 4].into(), reason: None };
    let softwire = || SoftwireEvent { id: 1, remote: [0; 4].into() };
    let config = || ConfigEvent { commit: 1, author: "a".into(), comment: None };
    let drain = || DrainEvent { mode: DrainMode::Refuse, sessions_left: 0 };
    for event in [
        Event::SessionUp(session()),
        Event::SessionDown(session()),
        Event::SessionReject(session()),
        Event::IkeUp(ike()),
        Event::IkeDown(ike()),
        Event::IkeFailed(ike()),
        Event::ChildUp(child()),
        Event::ChildRekeyed(child()),
        Event::ChildDown(child()),
        Event::BgpUp(bgp()),
        Event::BgpDown(bgp()),
        Event::SoftwireUp(softwire()),
        Event::SoftwireDown(softwire()),
        Event::ConfigCommit(config()),
        Event::ConfigRevert(config()),
        Event::ConfigConfirm(config()),
        Event::DrainStart(drain()),
        Event::DrainDone(drain()),
    ] {
        let text = serde_saphyr::to_string(&event).unwrap();
        assert!(text.lines().any(|l| l == format!("kind: {}", event.kind())), "{text}");
    }
}

#[test]
fn a_listener_that_is_too_slow_is_told_how_much_it_has_lost() {
    let (northbound, southbound) = Northbound::channel();
    let mut listener = northbound.events();
    for id in 0..5000 {
        southbound.publish(SystemTime::UNIX_EPOCH, event(id));
    }
    let lost = 5000 - 4096;
    assert_eq!(listener.blocking_recv(), Err(RecvError::Lagged(lost)));
    let ids: Vec<u64> = std::iter::from_fn(|| listener.try_recv().ok()).map(|n| n.id).collect();
    assert_eq!(ids, (lost + 1..=5000).collect::<Vec<_>>());
}
