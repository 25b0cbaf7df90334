//! Confirmation, history, the way back, and commits at the same time.

use super::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_put_back() {
    let b = Bench::new();
    let (before, file) = (b.get("/config").await, b.file());
    let pending = b.put("/config/subscribers/dave?confirm=60", dave()).await;
    assert_eq!((pending.status, pending.commit()), (201, Some(2)));
    assert!(pending.body["confirm_by"].as_str().unwrap().ends_with('Z'));
    assert_eq!(b.users().await, ["alice", "bob", "dave"]);
    // A restart would undo it.
    assert_eq!(b.file(), file);
    assert_eq!(b.history().await, ["2 token:carol pending", "1 file confirmed"]);
    assert_eq!(b.get("/config/commits/2").await.body["confirm_by"], pending.body["confirm_by"]);
    tokio::time::sleep(MINUTE - Duration::from_secs(1)).await;
    assert_eq!(b.users().await, ["alice", "bob", "dave"]);
    b.given();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(b.users().await, ["alice", "bob"]);
    assert_eq!(b.given(), [(false, ["alice", "bob"].map(String::from).to_vec())]);
    let after = b.get("/config").await;
    assert_eq!((after.body, after.etag, b.file()), (before.body, before.etag, file));
    assert_eq!(b.history().await, ["2 token:carol reverted", "1 file confirmed"]);
    assert_eq!(b.call("POST", "/config/confirm", None).await.status, 409);
    assert_eq!(b.told(), ["config.commit", "config.revert"]);
    // Its number is not given again.
    assert_eq!(b.put("/config/subscribers/dave", dave()).await.commit(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_back_is_still_pending() {
    let b = Bench::new();
    b.put("/config/subscribers/dave?confirm=60", dave()).await;
    b.mood(Mood::Refuses);
    tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
    // It runs, and nothing says otherwise.
    assert_eq!(b.users().await, ["alice", "bob", "dave"]);
    assert_eq!(b.history().await, ["2 token:carol pending", "1 file confirmed"]);
    assert_eq!(b.told(), ["config.commit"]);
    assert_eq!(b.call("POST", "/config/rollback", Some(json!({ "to": 1 }))).await.status, 422);
    assert_eq!(b.history().await, ["2 token:carol pending", "1 file confirmed"]);
    b.mood(Mood::Takes);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(b.users().await, ["alice", "bob"]);
    assert_eq!(b.history().await, ["2 token:carol reverted", "1 file confirmed"]);
    assert_eq!(b.told(), ["config.revert"]);
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_may_say_of_what() {
    let b = Bench::new();
    let late = b.put("/config/subscribers/dave?confirm=60", dave()).await.etag;
    tokio::time::sleep(MINUTE * 2).await;
    let other = b.put("/config/subscribers/eve?confirm=60", json!({ "secret": "vorpal" })).await.etag;
    let confirm = |tag: String| {
        let request = Request::post("/api/v1/config/confirm").header("if-match", tag);
        b.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(confirm(late).await.status, 412);
    assert_eq!(b.history().await[0], "3 token:carol pending");
    assert_eq!(confirm(other).await.status, 200);
    assert_eq!(b.users().await, ["alice", "bob", "eve"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_stays() {
    let b = Bench::new();
    let pending = b.put("/config/subscribers/dave?confirm=60", dave()).await;
    tokio::time::sleep(MINUTE / 2).await;
    let confirmed = b.call("POST", "/config/confirm", None).await;
    assert_eq!(
        (confirmed.status, &confirmed.body["state"], &confirmed.body["id"]),
        (200, &json!("confirmed"), &json!(2))
    );
    assert!(b.file().contains("tulgey"));
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!((b.users().await.len(), b.get("/config").await.etag), (3, pending.etag));
    assert_eq!(b.history().await, ["2 token:carol confirmed", "1 file confirmed"]);
    assert_eq!(b.given().len(), 1);
    assert_eq!(b.told(), ["config.commit", "config.confirm"]);
    // An old timer does not end a new wait.
    b.put("/config/subscribers/eve?confirm=600", json!({ "secret": "vorpal" })).await;
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(b.users().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn while_one_awaits_confirmation_there_is_no_other() {
    let b = Bench::new();
    b.put("/config/subscribers/dave?confirm=60", dave()).await;
    let eve = || json!({ "secret": "vorpal" });
    assert_eq!(b.put("/config/subscribers/eve", eve()).await.status, 409);
    assert_eq!(b.put("/config/subscribers/eve?dry_run=true", eve()).await.status, 200);
    assert_eq!(b.call("POST", "/config/rollback", Some(json!({ "to": 2 }))).await.status, 409);
    b.given();
    // Back to the one before: at once.
    let back = b.call("POST", "/config/rollback", Some(json!({ "to": 1 }))).await;
    assert_eq!((back.status, back.commit()), (200, Some(1)));
    assert_eq!((&back.body["changes"][0]["op"], b.given().len()), (&json!("remove"), 1));
    assert_eq!(b.history().await, ["2 token:carol reverted", "1 file confirmed"]);
    assert_eq!(b.put("/config/subscribers/eve", eve()).await.status, 201);
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(b.users().await, ["alice", "bob", "eve"]);
}

#[tokio::test]
async fn any_commit_can_come_back() {
    let b = Bench::new();
    b.put("/config/subscribers/dave", dave()).await;
    b.call("DELETE", "/config/subscribers/alice", None).await;
    b.call("DELETE", "/config/subscribers/dave", None).await;
    assert!(!b.file().contains("tulgey") && !b.file().contains("wonderland"));
    let would = b.call("POST", "/config/rollback?dry_run=true", Some(json!({ "to": 2 }))).await;
    assert_eq!((would.status, would.commit(), b.users().await), (200, None, vec!["bob".to_owned()]));
    let back = b.call("POST", "/config/rollback", Some(json!({ "to": 2, "comment": "that was too much" }))).await;
    assert_eq!((back.status, back.commit()), (200, Some(5)));
    assert!(b.file().contains("tulgey") && b.file().contains("wonderland"));
    let commit = b.get("/config/commits/5").await.body;
    assert_eq!(
        (&commit["comment"], &commit["document"]["subscribers"][2]["secret"]),
        (&json!("that was too much"), &json!("***"))
    );
    b.call("POST", "/config/rollback", Some(json!({ "to": 1 }))).await;
    assert_eq!(b.get("/config/commits/6").await.body["comment"], "roll-back to 1");
    assert_eq!(b.users().await, ["alice", "bob"]);
}

#[tokio::test]
async fn the_history_has_pages_and_an_end() {
    let b = Bench::new().keep(4);
    for i in 0..6 {
        b.put("/config/ike/dpd", json!(format!("{}s", 10 + i))).await;
    }
    assert_eq!(std::fs::read_dir(b.dir.join("history")).unwrap().count(), 8);
    let page = b.get("/config/commits?limit=3").await.body;
    let ids = |page: &Value| {
        page["commits"].as_array().unwrap().iter().map(|c| c["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((ids(&page), &page["next"]), (vec![7, 6, 5], &json!(5)));
    let page = b.get("/config/commits?limit=3&after=5").await.body;
    assert_eq!((ids(&page), &page["next"]), (vec![4], &Value::Null));
    assert_eq!(
        page["commits"][0]["changes"],
        json!([{ "path": "/ike/dpd", "op": "replace", "from": "11s", "to": "12s" }])
    );
}

#[tokio::test]
async fn commits_at_the_same_time_wait_for_each_other() {
    let b = Bench::new();
    let etag = b.get("/config").await.etag;
    let names: Vec<String> = (0..8).map(|i| format!("user-{i}")).collect();
    let put = |name: &str| request("PUT", &format!("/config/subscribers/{name}"), Some(json!({ "secret": "tulgey" })));
    let answers = futures(names.iter().map(|n| b.send(put(n).body().unwrap()))).await;
    assert!(answers.iter().all(|a| a.status == 201), "{answers:?}");
    let mut commits: Vec<_> = answers.iter().map(|a| a.commit().unwrap()).collect();
    commits.sort_unstable();
    assert_eq!(commits, (2..10).collect::<Vec<_>>());
    // Each has seen what the one before has done.
    assert!(b.given().iter().enumerate().all(|(i, (_, users))| users.len() == 3 + i));
    assert_eq!(b.users().await.len(), 10);

    let now = b.get("/config").await.etag;
    assert_ne!(now, etag);
    let tagged = names.iter().map(|n| {
        b.send(request("DELETE", &format!("/config/subscribers/{n}"), None).with("if-match", &now).body().unwrap())
    });
    let statuses: Vec<u16> = futures(tagged).await.iter().map(|a| a.status).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 412).count(), 7, "{statuses:?}");
}

async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        for (slot, future) in done.iter_mut().zip(&mut pinned) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *slot = Some(value);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect()),
            false => std::task::Poll::Pending,
        }
    })
    .await
}
