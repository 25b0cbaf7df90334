//! What can go wrong between the steps: the old configuration or the new one is left, never anything else.

use super::*;
use std::fs;
use std::time::Duration;

#[tokio::test]
async fn a_file_that_cannot_be_written_leaves_all_as_it_was() {
    let b = Bench::new();
    let (before, file) = (b.get("/config").await, b.file());
    // A directory stands in the way.
    fs::create_dir_all(b.dir.join(".softwired.yaml.new/x")).unwrap();
    let answer = b.put("/config/subscribers/dave", dave()).await;
    assert_eq!((answer.status, b.given().len()), (500, 0));
    // One that cannot be confirmed still awaits it.
    assert_eq!(b.put("/config/subscribers/dave?confirm=600", dave()).await.status, 201);
    assert_eq!(b.call("POST", "/config/confirm", None).await.status, 500);
    assert_eq!(b.history().await, ["2 token:carol pending", "1 file confirmed"]);
    b.call("POST", "/config/rollback", Some(json!({ "to": 1 }))).await;
    fs::remove_dir_all(b.dir.join(".softwired.yaml.new")).unwrap();
    // The history cannot be written.
    fs::rename(b.dir.join("history"), b.dir.join("elsewhere")).unwrap();
    b.given();
    assert_eq!(b.put("/config/subscribers/dave", dave()).await.status, 500);
    assert_eq!(b.given().len(), 0);
    fs::rename(b.dir.join("elsewhere"), b.dir.join("history")).unwrap();
    // It is lost when the control plane has the new configuration already: that gets the old one back.
    b.mood(Mood::Loses);
    let lost = b.put("/config/subscribers/dave", dave());
    let calm = async {
        while b.given.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        b.mood(Mood::Takes);
    };
    let (lost, ()) = tokio::join!(lost, calm);
    assert_eq!(lost.status, 500);
    assert_eq!(b.given().iter().map(|(_, users)| users.len()).collect::<Vec<_>>(), [3, 2]);
    let after = b.get("/config").await;
    assert_eq!((after.body, after.etag, b.file()), (before.body, before.etag, file));
    assert_eq!(b.history().await, ["2 token:carol reverted", "1 file confirmed"]);
    assert_eq!(b.put("/config/subscribers/dave", dave()).await.status, 201);
}

#[tokio::test]
async fn a_crash_before_the_file_is_written_leaves_the_old_configuration() {
    let b = Bench::new();
    b.mood(Mood::Hangs);
    let (file, app) = (b.file(), b.app());
    let put = tokio::spawn(app.oneshot(request("PUT", "/config/subscribers/dave", Some(dave())).body().unwrap()));
    while b.given.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(b.dir.join("history/2.yaml").exists() && b.dir.join(".softwired.yaml.new").exists());
    put.abort();
    let b = b.restart();
    assert_eq!((b.users().await, b.file()), (vec!["alice".to_owned(), "bob".to_owned()], file));
    assert_eq!(b.history().await, ["2 token:carol reverted", "1 file confirmed"]);
    assert_eq!(b.put("/config/subscribers/dave", dave()).await.commit(), Some(3));
    assert_eq!(mode(b.dir.join("softwired.yaml")), 0o600);
}

#[tokio::test]
async fn a_crash_after_the_file_is_written_leaves_the_new_configuration() {
    let b = Bench::new();
    b.put("/config/subscribers/dave", dave()).await;
    // The last step was not made.
    let record = b.dir.join("history/2.json");
    fs::write(&record, fs::read_to_string(&record).unwrap().replace("confirmed", "pending")).unwrap();
    let etag = b.get("/config").await.etag;
    let b = b.restart();
    assert_eq!((b.users().await.len(), b.get("/config").await.etag), (3, etag));
    assert_eq!(b.history().await, ["2 token:carol confirmed", "1 file confirmed"]);
}

#[tokio::test]
async fn a_confirmation_that_the_process_does_not_live_to_see_is_none() {
    let b = Bench::new();
    let etag = b.get("/config").await.etag;
    b.put("/config/subscribers/dave?confirm=600", dave()).await;
    let b = b.restart();
    assert_eq!((b.users().await.len(), b.get("/config").await.etag), (2, etag));
    assert_eq!(b.history().await, ["2 token:carol reverted", "1 file confirmed"]);
    assert_eq!(b.call("POST", "/config/confirm", None).await.status, 409);
}

#[tokio::test]
async fn a_commit_is_carried_through_though_its_client_has_gone() {
    let b = Bench::new();
    let put = b.app().oneshot(request("PUT", "/config/subscribers/dave", Some(dave())).body().unwrap());
    let mut put = Box::pin(put);
    // It has begun.
    std::future::poll_fn(|cx| {
        assert!(put.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(put);
    while b.get("/config").await.body["subscribers"].as_array().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(b.file().contains("tulgey"));
    assert_eq!(b.history().await, ["2 token:carol confirmed", "1 file confirmed"]);
}

#[tokio::test]
async fn what_somebody_has_written_into_the_file_is_not_lost() {
    let b = Bench::new();
    let path = b.dir.join("softwired.yaml");
    // A remark is no change.
    fs::write(&path, format!("# a remark\n{YAML}")).unwrap();
    assert_eq!(b.put("/config/ike/dpd", json!("10s")).await.status, 201);
    fs::write(&path, YAML.replace("rosebud", "vorpal")).unwrap();
    assert_eq!(b.put("/config/ike/dpd", json!("20s")).await.status, 409);
    assert!(b.file().contains("vorpal"));
    b.given();
    let outcome = b.store.reload().await.unwrap();
    assert_eq!((outcome.commit, outcome.changes.len(), b.given().len()), (Some(3), 2, 1));
    assert_eq!(b.store.reload().await.unwrap().commit, None);
    // What is no configuration is not taken, and not overwritten.
    for wrong in ["ports: [", &YAML.replace("192.0.2.1 }", "192.0.2.9 }")] {
        fs::write(&path, wrong).unwrap();
        assert!(b.store.reload().await.is_err());
        assert_eq!(b.put("/config/ike/dpd", json!("20s")).await.status, 409);
        assert_eq!((b.file(), b.users().await.len()), (wrong.to_owned(), 2));
    }
    fs::write(&path, YAML).unwrap();
    let b = b.restart();
    assert_eq!(
        b.history().await,
        ["4 file confirmed", "3 file confirmed", "2 token:carol confirmed", "1 file confirmed"]
    );
    assert_eq!(b.get("/config/commits/4").await.body["changes"][0]["path"], "/subscribers/bob/secret");
}

#[tokio::test]
async fn a_file_of_subscribers_is_the_operators_own() {
    let b = Bench::new();
    fs::write(b.dir.join("more.yaml"), "[{ user: dave, secret: tulgey }]").unwrap();
    assert_eq!(b.put("/config/subscribers_file", json!("more.yaml")).await.status, 201);
    assert_eq!(b.given()[0].1, ["alice", "bob", "dave"]);
    assert_eq!(b.users().await, ["alice", "bob"]);
    assert!(!b.file().contains("tulgey"));
    assert_eq!(b.put("/config/subscribers/dave", dave()).await.errors(), (422, vec!["/subscribers/3/user"]));
}
