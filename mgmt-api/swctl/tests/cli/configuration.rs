//! Candidates, from the first `set` to `rollback`.

use crate::fake::{Gateway, swctl};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_candidate_is_edited_shown_checked_and_committed() {
    let gateway = Gateway::start();
    for words in [
        &["set", "subscribers", "bob", "secret", "very-hidden"][..],
        &["set", "subscribers/bob", "ipv4", "10.0.0.2"],
        &["set", "subscribers", "alice", "secret", "hidden-too"],
        &["set", "listeners", "secure", "address", "192.0.2.9"],
        &["set", "bgp", "{asn: 65000, router_id: 1.1.1.1}"],
        &["set", "bgp", "asn", "65001"],
        &["delete", "ike", "identity"],
    ] {
        let ended = gateway.run(words);
        assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, "", ""), "{words:?}");
    }
    // A candidate is local: only the first edit asks for the configuration.
    assert_eq!(gateway.asked(), ["GET /api/v1/config"]);
    let diff = gateway.out("diff");
    let expected = r#"[edit]
+  bgp:
+    asn: 65001
+    router_id: 1.1.1.1
[edit ike]
-  identity: gw.example.net
[edit listeners secure]
-  address: 192.0.2.1
+  address: 192.0.2.9
[edit subscribers alice]
-  secret: "***"
+  secret: "***"
[edit subscribers]
+  bob:
+    user: bob
+    secret: "***"
+    ipv4: 10.0.0.2
"#;
    assert_eq!(diff, expected);
    assert_eq!(gateway.asked(), [""; 0]);

    let check = gateway.out("check");
    assert_eq!(check, "configuration check succeeds\ntakes effect when the gateway restarts: /ports\n");
    assert!(gateway.asked()[0].starts_with("PUT /api/v1/config?dry_run=true "));

    let committed = gateway.run(&["commit", "--confirm", "5", "--comment", "for bob"]);
    let expected = "commit 8 complete, 1 change\nit will be rolled back at 2026-11-26T10:05:00Z unless it is confirmed \
                    (swctl confirm)\ntakes effect when the gateway restarts: /ports\n";
    assert_eq!((committed.status, committed.out.as_str()), (0, expected));
    let asked = gateway.asked().remove(0);
    assert!(asked.starts_with("PUT /api/v1/config?confirm=300&comment=for%20bob "), "{asked}");
    // The gateway gets the new secrets.
    assert!(asked.contains("very-hidden") && asked.contains("hidden-too"));

    assert_eq!(gateway.out("diff"), "");
    assert_eq!(gateway.out("commit"), "there is nothing to commit\n");
    for words in ["show config", "show config subscribers", "show config --commands", "show config --json"] {
        let shown = gateway.out(words);
        assert!(shown.contains("bob") && !shown.contains("hidden"), "{shown}");
    }
}

#[test]
fn nobody_else_may_read_a_candidate() {
    let gateway = Gateway::start();
    gateway.out("set subscribers alice secret very-hidden");
    let directory = gateway.home.join(".local/state/swctl");
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|f| f.unwrap().path()).collect();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((files.len(), mode(&files[0]), mode(&directory)), (1, 0o600, 0o700));
    assert_eq!(gateway.out("discard"), "candidate discarded\n");
    assert!(!files[0].exists());
    assert_eq!(gateway.out("discard"), "there is no candidate\n");
}

#[test]
fn a_secret_is_read_from_standard_input() {
    let gateway = Gateway::start();
    let socket = gateway.home.join("api.sock");
    let words = ["--socket", socket.to_str().unwrap(), "set", "subscribers", "alice", "secret", "-"];
    assert_eq!(swctl(&gateway.home, &words, "very-hidden\n").status, 0);
    gateway.asked();
    gateway.out("commit");
    assert!(gateway.asked()[0].contains(r#""secret":"very-hidden""#));
}

#[test]
fn what_the_gateway_refuses_stays_a_candidate() {
    let gateway = Gateway::start();
    gateway.out("set listeners secure address nowhere");
    for words in ["check", "commit"] {
        let ended = gateway.swctl(words);
        let expected = "swctl: the configuration is invalid\n  /listeners/0/address: \"nowhere\" is no address\n";
        assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (1, "", expected));
    }
    assert!(gateway.out("diff").contains("nowhere"));
}

#[test]
fn a_candidate_of_an_old_version_is_updated() {
    let gateway = Gateway::start();
    gateway.out("set listeners secure address 192.0.2.9");
    {
        let mut memory = gateway.memory.lock().unwrap();
        memory.version += 1;
        memory.config["ike"]["rekey"] = "1h".into();
    }
    let ended = gateway.swctl("commit");
    assert_eq!(ended.status, 1);
    assert!(ended.err.contains("has changed since this candidate was begun"), "{}", ended.err);
    assert_eq!(gateway.out("update"), "the candidate is updated; see diff\n");
    let diff = gateway.out("diff");
    assert_eq!(diff, "[edit listeners secure]\n-  address: 192.0.2.1\n+  address: 192.0.2.9\n");
    assert!(gateway.out("commit").starts_with("commit 9 complete, 1 change\n"));
    // The other one's change is still there.
    assert_eq!(gateway.memory.lock().unwrap().config["ike"]["rekey"], "1h");
}

#[test]
fn an_edit_that_cannot_be_made_is_none() {
    let gateway = Gateway::start();
    for (words, says) in [
        ("delete subscribers nobody", "there is nothing to delete"),
        ("set listeners secure address x y", "is a value"),
        ("update", "there is no candidate"),
        ("check", "there is no candidate"),
        ("set listeners [a", "listeners"),
        ("set listeners", "required"),
        ("commit --confirm 0", "at least a second"),
    ] {
        let ended = gateway.swctl(words);
        assert_eq!(ended.status, 2, "{words}: {}", ended.err);
        assert!(ended.err.contains(says), "{words}: {}", ended.err);
    }
    assert_eq!(gateway.out("diff"), "");
}

#[test]
fn history() {
    let gateway = Gateway::start();
    let expected = "\
Commit  Time                  Author         State      Changes  Comment
    12  2026-11-26T10:00:00Z  local:root     pending          2  new listener
    11  2026-11-25T09:00:00Z  token:ansible  confirmed        1  -
";
    assert_eq!(gateway.out("show commits"), expected);
    let expected = r#"Commit  Time                  Author         State      Changes  Comment
    11  2026-11-25T09:00:00Z  token:ansible  confirmed        1  -

[edit subscribers]
+  bob:
+    user: bob
+    secret: "***"
"#;
    assert_eq!(gateway.out("show commits 11"), expected);
    gateway.asked();
    let rolled_back = gateway.run(&["rollback", "11", "--confirm", "90s", "--comment", "as it was"]);
    assert_eq!(rolled_back.out, "commit 13 complete, 2 changes\n");
    assert_eq!(gateway.asked(), [r#"POST /api/v1/config/rollback?confirm=90 {"to":11,"comment":"as it was"}"#]);
    let ended = gateway.swctl("confirm");
    assert_eq!((ended.status, ended.err.as_str()), (1, "swctl: there is no commit to confirm\n"));
}

#[test]
fn a_long_history_comes_in_pages() {
    let gateway = Gateway::start();
    let ids = |limit: &str| {
        let out = gateway.out(&format!("show commits --limit {limit}"));
        out.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(ids("1150"), (51..=1200).rev().collect::<Vec<u32>>());
    assert_eq!(
        gateway.asked(),
        ["GET /api/v1/config/commits?limit=1000", "GET /api/v1/config/commits?limit=150&after=201"]
    );
    assert_eq!(ids("5000"), (1..=1200).rev().collect::<Vec<u32>>());
    assert_eq!(gateway.swctl("show commits --limit 0").status, 2);
}

#[test]
fn the_configuration_is_shown_as_yaml_and_as_commands() {
    let gateway = Gateway::start();
    assert_eq!(
        gateway.out("show config listeners secure"),
        "name: secure\naddress: 192.0.2.1\nprotection: ipsec\nanonymous: false\n"
    );
    assert_eq!(gateway.out("show config subscribers alice secret"), "\"***\"\n");
    assert_eq!(gateway.out("show config subscribers --commands"), "set subscribers alice secret '***'\n");
    assert_eq!(gateway.out("show config ike/rekey --json"), "\"4h\"\n");
    assert_eq!(gateway.swctl("show config nothing").status, 1);
    gateway.asked();
    gateway.swctl("show config routes 10.0.0.0/8 --defaults");
    assert_eq!(gateway.asked(), ["GET /api/v1/config/routes/10.0.0.0%2F8?defaults=true"]);
}
