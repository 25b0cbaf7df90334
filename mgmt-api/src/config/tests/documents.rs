//! What is shown, what a change does to the document, what is refused.

use super::*;

#[tokio::test]
async fn the_document_and_its_parts_are_shown() {
    let b = Bench::new();
    let whole = b.get("/config").await;
    assert_eq!((whole.status, &whole.body["subscribers"][0]), (200, &json!({ "user": "alice", "secret": "***" })));
    assert!(whole.etag.starts_with("\"1-") && whole.body.get("mesh").is_none(), "{whole:?}");
    assert!(whole.body.get("dataplane").is_none());
    for (path, want) in [
        ("/config/ike/peers/alice/psk", json!("***")),
        ("/config/routes/10.0.0.0%2F8/port", json!("access")),
        // Not written, but so it is.
        ("/config/ike/dpd", json!("30s")),
        ("/config/filters", json!([])),
        ("/config/dataplane/workers", json!([0])),
    ] {
        let part = b.get(path).await;
        assert_eq!((part.status, part.body, part.etag), (200, want, whole.etag.clone()), "{path}");
    }
    assert_eq!(b.get("/config?defaults=true").await.body["ike"]["peers"][0]["mobike"], true);
    for path in ["/config/nothing", "/config/subscribers/eve", "/config/subscribers/alice/ipv4", "/config/bgp"] {
        assert_eq!(b.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_part_is_added_changed_and_deleted() {
    let b = Bench::new();
    let added = b.put("/config/subscribers/dave?comment=a%20new%20one", json!({ "secret": "tulgey" })).await;
    assert_eq!((added.status, added.commit(), &added.body["confirm_by"]), (201, Some(2), &Value::Null));
    let change = json!({ "path": "/subscribers/dave", "op": "add", "to": { "user": "dave", "secret": "***" } });
    assert_eq!((&added.body["changes"], &added.body["restart"]), (&json!([change]), &json!(["/ports"])));
    assert_eq!(b.given(), [(false, ["alice", "bob", "dave"].map(String::from).to_vec())]);
    assert!(
        b.file().contains("tulgey") && b.file().contains("wonderland") && !b.file().contains("***"),
        "{}",
        b.file()
    );
    let secret_files = ["softwired.yaml", "history/2.yaml", "history/2.json"];
    assert_eq!(secret_files.map(|f| mode(b.dir.join(f))), [0o600; 3]);
    assert_eq!(mode(b.dir.join("history")), 0o700);

    let same = b.put("/config/subscribers/dave", json!({ "secret": "***" })).await;
    assert_eq!((same.status, same.commit(), same.etag), (200, None, added.etag));
    assert!(b.given().is_empty());

    let patch = json!({ "ipv6_prefix": "2001:db8:200::/64", "secret": "vorpal" });
    let patched = b.call("PATCH", "/config/subscribers/dave", Some(patch)).await;
    let changes = json!([
        { "path": "/subscribers/dave/secret", "op": "replace", "from": "***", "to": "***" },
        { "path": "/subscribers/dave/ipv6_prefix", "op": "add", "to": "2001:db8:200::/64" },
    ]);
    assert_eq!((patched.status, patched.commit(), &patched.body["changes"]), (200, Some(3), &changes));
    assert!(b.file().contains("vorpal") && !b.file().contains("tulgey"));

    let gone = b.call("DELETE", "/config/subscribers/dave", None).await;
    assert_eq!((gone.status, gone.body["changes"][0]["op"].as_str()), (200, Some("remove")));
    assert_eq!(b.call("DELETE", "/config/subscribers/dave", None).await.status, 404);
    assert_eq!(b.call("PATCH", "/config/subscribers/dave", Some(json!({}))).await.status, 404);

    // Patches of the whole document replace lists, and null takes settings away.
    let patch = json!({ "routes": null, "pools": { "ipv6": ["2001:db8:300::/48"] }, "ike": { "dpd": "10s" } });
    assert_eq!(b.call("PATCH", "/config", Some(patch)).await.status, 200);
    let now = b.get("/config").await.body;
    assert_eq!((now.get("routes"), &now["pools"]["ipv6"]), (None, &json!(["2001:db8:300::/48"])));
    assert_eq!((&now["ike"]["dpd"], &now["ike"]["identity"]), (&json!("10s"), &json!("gw")));
}

#[tokio::test]
async fn stars_keep_secrets_and_nothing_else() {
    let b = Bench::new();
    let mut body = b.get("/config").await.body;
    body["subscribers"].as_array_mut().unwrap().remove(0);
    assert_eq!(b.put("/config", body.clone()).await.status, 200);
    assert!(b.file().contains("rosebud") && !b.file().contains("wonderland"));
    // A secret does not follow a name.
    body["subscribers"][0]["user"] = "eve".into();
    assert_eq!(b.put("/config", body).await.errors(), (422, vec!["/subscribers/0/secret"]));
    assert_eq!(
        b.put("/config/subscribers/eve", json!({ "secret": "***" })).await.errors(),
        (422, vec!["/subscribers/1/secret"])
    );
    assert_eq!(b.users().await, ["bob"]);
}

#[tokio::test]
async fn what_is_wrong_is_named_and_changes_nothing() {
    let b = Bench::new();
    let before = b.get("/config").await;
    let file = b.file();
    for (method, path, body, want) in [
        ("PUT", "/config/ports/access/mtu", json!(100), (422, vec!["/ports/0/mtu"])),
        ("PUT", "/config/subscribers/dave", json!({ "secrt": "tulgey" }), (422, vec!["/subscribers/2/secrt"])),
        ("PUT", "/config/subscribers/dave", json!({ "secret": 7 }), (422, vec!["/subscribers/2/secret"])),
        ("PUT", "/config/subscribers/dave", json!({ "secret": ["vorpal"] }), (422, vec!["/subscribers/2/secret"])),
        ("PUT", "/config/subscribers/bob", json!({ "user": "alice", "secret": "vorpal" }), (422, vec!["/user"])),
        ("PUT", "/config/nonsense", json!(1), (422, vec!["/nonsense"])),
        ("PUT", "/config/subscribers_file", json!("not-there.yaml"), (422, vec!["/subscribers_file"])),
        ("PUT", "/config", json!([]), (422, vec![""])),
        (
            "DELETE",
            "/config/ports/access",
            Value::Null,
            (422, vec!["/ports", "/routes/0/port", "/listeners/0/address"]),
        ),
        ("PUT", "/config/subscribers/eve/ipv4", json!("10.0.0.1"), (404, vec![])),
        ("PUT", "/config/subscribers?dryrun=true", json!([]), (400, vec![])),
        ("PUT", "/config/subscribers?confirm=0", json!([]), (400, vec![])),
        ("PUT", "/config/subscribers?confirm=86401", json!([]), (400, vec![])),
        ("PUT", "/config/%ff", json!([]), (400, vec![])),
        ("POST", "/config/rollback", json!({ "to": 99 }), (404, vec![])),
        ("POST", "/config/rollback", json!({ "two": 1 }), (422, vec![])),
        ("POST", "/config/confirm", Value::Null, (409, vec![])),
        ("GET", "/config?default=true", Value::Null, (400, vec![])),
        ("GET", "/config/commits?limit=0", Value::Null, (400, vec![])),
        ("GET", "/config/commits/9", Value::Null, (404, vec![])),
        ("GET", "/config/commits/x", Value::Null, (400, vec![])),
    ] {
        let answer = b.call(method, path, Some(body).filter(|b| !b.is_null())).await;
        assert_eq!(answer.errors(), want, "{method} {path}: {answer:?}");
    }
    let long = "x".repeat(501);
    assert_eq!(b.put(&format!("/config/routes?comment={long}"), json!([])).await.status, 400);
    let text = Request::builder().method("PUT").uri("/api/v1/config").header("content-type", "text/plain");
    assert_eq!(b.send(text.body(Body::from("{}")).unwrap()).await.status, 415);
    let torn = Request::builder().method("PUT").uri("/api/v1/config").header("content-type", "application/json");
    assert_eq!(b.send(torn.body(Body::from("{ \"ike\": vorpal")).unwrap()).await.status, 400);
    // What only the control plane knows.
    b.mood(Mood::Refuses);
    for query in ["", "?dry_run=true"] {
        let answer = b.put(&format!("/config/subscribers/dave{query}"), dave()).await;
        assert_eq!(answer.errors(), (422, vec!["/subscribers/1/user"]));
    }
    assert_eq!(b.get("/config").await.body, before.body);
    assert_eq!((b.get("/config").await.etag, b.file()), (before.etag, file));
    assert_eq!(b.history().await, ["1 file confirmed"]);
    assert_eq!(std::fs::read_dir(b.dir.join("history")).unwrap().count(), 2);
    assert!(!b.dir.join(".softwired.yaml.new").exists());
}

#[tokio::test]
async fn the_schema_is_served_beside_the_settings() {
    let b = Bench::new();
    let answer = b.get("/config/schema").await;
    assert_eq!((answer.status, answer.body["properties"]["ports"]["type"].as_str()), (200, Some("array")));
    // What has a route of its own would hide a setting of that name.
    for route in ["schema", "commits", "confirm", "rollback"] {
        assert!(answer.body["properties"].get(route).is_none(), "{route}");
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let b = Bench::new();
    let (before, file) = (b.get("/config").await, b.file());
    let would = b.put("/config/subscribers/dave?dry_run=true&confirm=60", dave()).await;
    assert_eq!((would.status, would.commit(), &would.etag), (200, None, &before.etag));
    assert_eq!(would.body["changes"][0]["path"], "/subscribers/dave");
    assert_eq!((&would.body["restart"], &would.body["confirm_by"]), (&json!(["/ports"]), &Value::Null));
    assert_eq!(b.given(), [(true, ["alice", "bob", "dave"].map(String::from).to_vec())]);
    assert_eq!((b.get("/config").await.body, b.file()), (before.body, file));
    assert_eq!(b.history().await, ["1 file confirmed"]);
}

#[tokio::test]
async fn a_request_about_another_document_is_refused() {
    let b = Bench::new();
    let first = b.get("/config").await.etag;
    let tagged = |etag: &str, user: &str| {
        let sent = request("PUT", &format!("/config/subscribers/{user}"), Some(json!({ "secret": "tulgey" })));
        sent.with("if-match", etag).body().unwrap()
    };
    let second = b.send(tagged(&first, "dave")).await;
    assert_eq!(second.status, 201);
    assert_eq!(b.send(tagged(&first, "eve")).await.status, 412);
    assert_eq!(b.send(tagged(&format!("W/{}", second.etag), "eve")).await.status, 412);
    assert_eq!(b.send(tagged(&format!("\"x\", {}", second.etag), "eve")).await.status, 201);
    assert_eq!(b.send(tagged("*", "frank")).await.status, 201);
    assert_eq!(b.users().await, ["alice", "bob", "dave", "eve", "frank"]);
    // Only a secret is another one: still another document.
    let before = b.get("/config").await.etag;
    b.put("/config/subscribers/bob/secret", json!("vorpal")).await;
    assert_ne!(b.get("/config").await.etag, before);
}
