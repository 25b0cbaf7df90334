//! Actions, events, traces; completions and manual pages.

use crate::fake::{Gateway, swctl};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

#[test]
fn actions() {
    let gateway = Gateway::start();
    for (words, asked) in [
        ("disconnect 4113.7", "DELETE /api/v1/subscribers/4113.7"),
        ("disconnect a/b", "DELETE /api/v1/subscribers/a%2Fb"),
        ("rekey ike 7", "POST /api/v1/ike-sas/7/rekey"),
        ("rekey child c0000001", "POST /api/v1/child-sas/c0000001/rekey"),
        ("rekey softwire 1", "POST /api/v1/softwires/1/rekey"),
        ("clear bgp 10.0.0.9", r#"POST /api/v1/bgp/neighbours/10.0.0.9/clear {"hard":false,"message":""}"#),
        (
            "clear bgp 10.0.0.9 --hard --message m",
            r#"POST /api/v1/bgp/neighbours/10.0.0.9/clear {"hard":true,"message":"m"}"#,
        ),
        ("clear bgp 10.0.0.9 --soft in", "POST /api/v1/bgp/neighbours/10.0.0.9/soft-in"),
        ("clear bgp 10.0.0.9 --soft out", "POST /api/v1/bgp/neighbours/10.0.0.9/soft-out"),
        ("disable bgp 10.0.0.9 --message m", r#"POST /api/v1/bgp/neighbours/10.0.0.9/disable {"message":"m"}"#),
        ("enable bgp 10.0.0.9", "POST /api/v1/bgp/neighbours/10.0.0.9/enable"),
        ("token delete k3v9w2aq", "DELETE /api/v1/tokens/k3v9w2aq"),
    ] {
        assert_eq!(gateway.out(words), "", "{words}");
        assert_eq!(gateway.asked(), [asked], "{words}");
    }
}

#[test]
fn a_drain_is_shown_when_it_begins_and_when_it_ends() {
    let gateway = Gateway::start();
    for (words, asked) in [
        ("drain", r#"POST /api/v1/drain {"mode":"refuse"}"#),
        ("drain --teardown --within 10m", r#"POST /api/v1/drain {"mode":"teardown","within":600}"#),
        ("undrain", "DELETE /api/v1/drain"),
    ] {
        let expected = "State          draining\nMode           teardown\nSessions left  17\nPeers left     18\nTurned away    3\n";
        assert_eq!(gateway.out(words), expected, "{words}");
        assert_eq!(gateway.asked(), [asked, "GET /api/v1/drain"], "{words}");
    }
}

#[test]
fn a_drain_can_be_waited_for() {
    let gateway = Gateway::start();
    let state = |state: &str, left: u32| json!({ "state": state, "mode": "teardown", "sessions_left": left, "peers_left": 0, "refused": 3 });
    let (draining, drained) = (state("draining", 17), state("drained", 0));
    gateway.memory.lock().unwrap().drain = [draining.clone(), draining, drained.clone(), drained].into();
    let begin = Instant::now();
    let shown =
        "State          drained\nMode           teardown\nSessions left  0\nPeers left     0\nTurned away    3\n";
    assert_eq!(gateway.out("drain --teardown --within 10m --wait"), shown);
    assert!(begin.elapsed() >= Duration::from_secs(2), "a second between looks");
    let looks = [r#"POST /api/v1/drain {"mode":"teardown","within":600}"#].into_iter().chain(["GET /api/v1/drain"; 4]);
    assert_eq!(gateway.asked(), looks.collect::<Vec<_>>());
    // Somebody lets everybody in again.
    gateway.memory.lock().unwrap().drain = [state("draining", 17), state("off", 17)].into();
    let ended = gateway.swctl("drain --wait");
    let why = "swctl: somebody has ended the drain: sessions left 17, peers left 0\n";
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (1, "", why));
}

#[test]
fn what_a_refusal_says_cannot_move_the_cursor() {
    let ended = Gateway::start().swctl("disconnect nobody");
    assert_eq!((ended.status, ended.err.as_str()), (1, "swctl: there is no subscriber nobody\u{fffd}[2J\n"));
}

#[test]
fn a_token_is_printed_alone() {
    let gateway = Gateway::start();
    let ended = gateway.swctl("token create ansible --role admin --expires 90d");
    assert_eq!((ended.status, ended.out.as_str()), (0, "swgw_k3v9w2aq_the-token\n"));
    assert!(ended.err.contains("not shown again") && !ended.err.contains("the-token"));
    assert_eq!(gateway.asked(), [r#"POST /api/v1/tokens {"name":"ansible","role":"admin","expires_in":7776000}"#]);
}

#[test]
fn a_token_goes_to_a_file_of_its_own() {
    let gateway = Gateway::start();
    let file = gateway.home.join("token");
    let create = |name: &str| gateway.run(&["token", "create", name, "--output", file.to_str().unwrap()]);
    let ended = create("taken");
    assert!(ended.status == 1 && !file.exists(), "none is left of one that is refused");
    let ended = create("ansible");
    assert_eq!((ended.status, ended.out.as_str()), (0, ""), "{}", ended.err);
    assert!(ended.err.contains("is in ") && !ended.err.contains("the-token"), "{}", ended.err);
    assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("swgw_k3v9w2aq_the-token\n", 0o600));
    gateway.asked();
    std::fs::write(&file, "another one").unwrap();
    assert_eq!(create("ansible").status, 2, "what is there is not overwritten");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "another one");
    assert!(gateway.asked().is_empty(), "and no token is made that nobody has");
    std::fs::remove_file(&file).unwrap();
    let ended = gateway.run(&["--json", "token", "create", "x", "--output", file.to_str().unwrap()]);
    assert!(ended.out.contains("k3v9w2aq") && !ended.out.contains("the-token"), "{}", ended.out);
}

#[test]
fn events_are_printed_until_the_gateway_ends() {
    let gateway = Gateway::start();
    let ended = gateway.swctl("monitor session bgp");
    assert_eq!(ended.out, "2026-11-26T10:00:00Z session.up user=alice\nlagged lost=12\n");
    assert_eq!(ended.status, 3);
    assert_eq!(gateway.asked(), ["GET /api/v1/events?kinds=session%2Cbgp"]);
    let json = gateway.swctl("monitor --json").out;
    assert_eq!(json.lines().nth(1), Some(r#"{"lost":12}"#));
}

#[test]
fn a_trace_is_followed_saved_and_deleted() {
    let gateway = Gateway::start();
    let file = gateway.home.join("trace.pcapng");
    let words = "trace --source 10.0.0.0/8 --destination 192.0.2.1 --protocol udp --port 53 --session 4113.7 --interface access \
                 --dropped --sample 10 -c 2 --write";
    let words: Vec<&str> = words.split_whitespace().chain([file.to_str().unwrap()]).collect();
    // What has been there, others could read.
    std::fs::write(&file, "an older and longer trace").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = gateway.run(&words);
    let expected = "\
packet 1  10:00:00.000001  worker 0  port access  forwarded
  rx        length=142
  esp-in    spi=c0000001
packet 2  10:00:00.000002  worker 0  port access  forwarded
  rx        length=142
  esp-in    spi=c0000001
";
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, expected, ""));
    assert_eq!((std::fs::read(&file).unwrap().as_slice(), mode(&file)), (&b"pcapng"[..], 0o600));
    let filter = r#"{"source":"10.0.0.0/8","destination":"192.0.2.1/32","protocol":"udp","port":53,"session":"4113.7","port_name":"access","dropped":true}"#;
    let expected = [
        &format!(r#"POST /api/v1/traces {{"filter":{filter},"sample":10,"packets":2}}"#),
        "GET /api/v1/traces/3",
        "GET /api/v1/traces/3",
        "GET /api/v1/traces/3/pcapng",
        "DELETE /api/v1/traces/3",
    ];
    assert_eq!(gateway.asked(), expected);
}

#[test]
fn a_trace_whose_file_cannot_be_written_is_deleted_as_well() {
    let gateway = Gateway::start();
    let ended = gateway.swctl("trace --write /nowhere/trace.pcapng");
    assert_eq!(ended.status, 2);
    assert_eq!(gateway.asked().pop().unwrap(), "DELETE /api/v1/traces/3");
}

#[test]
fn completions_manual_pages_and_top_without_a_terminal() {
    let gateway = Gateway::start();
    for shell in ["bash", "zsh", "fish"] {
        let script = gateway.out(&format!("completion {shell}"));
        assert!(script.contains("swctl") && script.contains("subscribers"), "{shell}");
    }
    assert!(gateway.out("man").contains("EXIT STATUS"));
    let directory = gateway.home.join("man");
    std::fs::create_dir(&directory).unwrap();
    swctl(&gateway.home, &["man", directory.to_str().unwrap()], "");
    assert!(["swctl.1", "swctl-commit.1", "swctl-show-bgp.1"].iter().all(|page| directory.join(page).is_file()));
    let ended = gateway.swctl("top");
    assert!(ended.status == 2 && ended.err.contains("terminal"), "{}", ended.err);
}
