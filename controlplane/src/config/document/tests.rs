use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

const SMALL: &str = r#"
ports: [{ name: access, device: d, zone: public, addresses: [192.0.2.1/24] }]
listeners: [{ name: secure, address: 192.0.2.1 }]
ike:
  identity: gw
  child_rekey: 90m
  peers: [{ name: alice, id: alice@example.net, auth: psk, psk: 0123 }]
pools: { ipv6: ["2001:db8:100::/48"] }
filters: [{ name: web, rules: [{ action: permit, protocol: 6, ports: 80 }, { action: deny, protocol: 41 }] }]
bgp: { asn: 1, router_id: 1.1.1.1, prefix_lists: { 10: [10.0.0.0/8 le 24] }, policies: { a.b: { rules: [{ set: { med: 7 }, then: next }] } } }
subscribers: [{ user: 4711, secret: "null" }, { user: bob, secret: '***', ipv6_prefix: 2001:db8:200::/64 }]
"#;

fn small() -> Document {
    Document::from_yaml("test.yaml", SMALL).unwrap()
}

#[test]
fn it_says_what_is_written_and_nothing_else() {
    let d = small();
    assert_eq!(
        d.masked(),
        json!({
            "ports": [{ "name": "access", "device": "d", "zone": "public", "addresses": ["192.0.2.1/24"] }],
            "listeners": [{ "name": "secure", "address": "192.0.2.1" }],
            "ike": {
                "identity": "gw", "child_rekey": "1h 30m",
                "peers": [{ "name": "alice", "id": "alice@example.net", "auth": "psk", "psk": "***" }],
            },
            "pools": { "ipv6": ["2001:db8:100::/48"] },
            "filters": [{ "name": "web", "rules": [
                { "action": "permit", "protocol": "tcp", "ports": "80" },
                { "action": "deny", "protocol": 41 },
            ] }],
            "bgp": {
                "asn": 1, "router_id": "1.1.1.1",
                "prefix_lists": { "10": ["10.0.0.0/8 le 24"] },
                "policies": { "a.b": { "rules": [{ "set": { "med": "7" }, "then": "next" }] } },
            },
            "subscribers": [
                { "user": "4711", "secret": "***" },
                { "user": "bob", "secret": "***", "ipv6_prefix": "2001:db8:200::/64" },
            ],
        })
    );
    let mut numbers = d.masked();
    numbers["bgp"]["policies"]["a.b"]["rules"][0]["set"]["med"] = 7.into();
    numbers["filters"][0]["rules"][0]["ports"] = 80.into();
    assert_eq!(Document::from_json(&numbers).unwrap().masked(), d.masked());
    assert_eq!(d.complete().unwrap()["ike"]["dpd"], "30s");
    let text = d.to_yaml().unwrap();
    assert!(!text.contains("dpd") && text.find("name: alice") < text.find("id: alice@"), "{}", *text);
    let config = d.config(Path::new("test.yaml")).unwrap();
    assert_eq!(config.ike.peers[0].psk.as_ref().unwrap().bytes(), b"0123");
    assert_eq!(config.subscribers[1].secret.as_ref().unwrap().bytes(), b"***");
    assert!(!format!("{d:?}").contains("0123"));
}

#[test]
fn stars_keep_the_secret_of_the_same_thing() {
    let running = small();
    let mut body = running.masked();
    // Names decide, not places.
    body["subscribers"].as_array_mut().unwrap().reverse();
    let kept = Document::from_json(&body).unwrap().with_secrets_of(&running).unwrap();
    let secrets = |d: &Document| {
        let c = d.config(Path::new("test.yaml")).unwrap();
        c.subscribers.iter().map(|s| (s.user.clone(), s.secret.clone().unwrap())).collect::<Vec<_>>()
    };
    let mut as_before = secrets(&running);
    as_before.reverse();
    assert_eq!(secrets(&kept), as_before);

    body["subscribers"][1]["user"] = "mallory".into();
    body["ppp"] = json!({ "secret": "***" });
    let Err(ConfigError::Invalid(problems)) = Document::from_json(&body).unwrap().with_secrets_of(&running) else {
        panic!("there was nothing to keep")
    };
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["ppp.secret", "subscribers[1].secret"]);
    // `***` of what is no secret is just that.
    body = running.masked();
    body["listeners"][0]["name"] = "***".into();
    let named = Document::from_json(&body).unwrap().with_secrets_of(&running).unwrap();
    assert_eq!(named.masked()["listeners"][0]["name"], "***");
}

#[test]
fn what_is_wrong_with_a_body_is_named_without_its_secrets() {
    for (pointer, value, path) in [
        ("/ike/peers/0/psk", json!(4711), "ike.peers[0].psk"),
        ("/ike/peers/0/psk", json!(["hunter2"]), "ike.peers[0].psk"),
        ("/ike/peers/0/psk", json!({ "hunter2": 1 }), "ike.peers[0].psk"),
        ("/ike/child_rekey", json!("90 moons"), "ike.child_rekey"),
        ("/ports/0/zone", json!("grey"), "ports[0].zone"),
        ("/subscribers/0", json!({ "usr": "x" }), "subscribers[0].usr"),
    ] {
        let mut body = small().masked();
        *body.pointer_mut(pointer).unwrap() = value;
        let Err(ConfigError::Invalid(problems)) = Document::from_json(&body) else { panic!("{path}") };
        assert_eq!(problems[0].path, path);
        let text = problems[0].to_string();
        assert!(!text.contains("4711") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn changes_go_by_name() {
    let old = small();
    let changed = |edit: &dyn Fn(&mut Value)| {
        let mut body = old.masked();
        edit(&mut body);
        let new = Document::from_json(&body).unwrap().with_secrets_of(&old).unwrap();
        let text = |c: &crate::config::Change| {
            let side = |v: &Option<Value>| v.as_ref().map_or("-".to_owned(), Value::to_string);
            format!("{:?} {} {} {}", c.op, c.path, side(&c.from), side(&c.to))
        };
        new.changes(&old).iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(changed(&|_| {}), [""; 0]);
    // Spelt otherwise is no change.
    assert_eq!(changed(&|d| d["ike"]["child_rekey"] = "90m".into()), [""; 0]);
    assert_eq!(
        changed(&|d| {
            d["subscribers"][0]["secret"] = "other".into();
            d["subscribers"][1]["ipv4"] = "10.0.0.9".into();
            d["ike"]["dpd"] = "5s".into();
            d["pools"].as_object_mut().unwrap().remove("ipv6");
        }),
        [
            r#"Add /ike/dpd - "5s""#,
            r#"Remove /pools/ipv6 ["2001:db8:100::/48"] -"#,
            r#"Replace /subscribers/4711/secret "***" "***""#,
            r#"Add /subscribers/bob/ipv4 - "10.0.0.9""#,
        ]
    );
    assert_eq!(
        changed(&|d| {
            d["subscribers"].as_array_mut().unwrap().remove(0);
            d["routes"] = json!([{ "to": "10.0.0.0/8", "port": "access" }]);
        }),
        [
            r#"Add /routes - [{"to":"10.0.0.0/8","port":"access"}]"#,
            r#"Remove /subscribers/4711 {"user":"4711","secret":"***"} -"#,
        ]
    );
    assert_eq!(
        changed(&|d| d["subscribers"].as_array_mut().unwrap().reverse()),
        [r#"Replace /subscribers ["4711","bob"] ["bob","4711"]"#]
    );
    // Twice the same name: the list is one thing.
    assert_eq!(
        changed(&|d| {
            let first = d["listeners"][0].clone();
            d["listeners"].as_array_mut().unwrap().push(first);
        })
        .len(),
        1
    );
}

/// Configurations of the project: examples, the documentation, tests. Parts of one are made whole.
pub(in crate::config) fn examples() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for dir in ["docs", "tests", "packaging", "controlplane/src", "mgmt-api"] {
        walk(&root.join(dir), &mut files);
    }
    let mut out = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let parts: Vec<&str> = match file.extension().and_then(|e| e.to_str()) {
            Some("md") => text.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next()).collect(),
            Some("rs") => text.split("r#\"").skip(1).filter_map(|part| part.split("\"#").next()).collect(),
            Some("sh") => text.split("<<").skip(1).filter_map(here).collect(),
            _ => vec![text.as_str()],
        };
        for part in parts {
            let whole = [part.to_owned(), format!("ports: []\n{part}")];
            out.extend(whole.into_iter().find(|t| yaml::<Config>("example", t).is_ok()).map(|t| (file.clone(), t)));
        }
    }
    out
}

/// A here-document, from its mark on.
fn here(text: &str) -> Option<&str> {
    let (mark, text) = text.split_once('\n')?;
    text.split(&format!("\n{}\n", mark.trim_matches(['-', '\'', '"', ' ']))).next()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") { walk(&path, files) } else { files.push(path) }
    }
}

#[test]
fn all_configurations_of_the_project_come_back_as_they_were() {
    let whole = |config: &Config| marked(|| serde_json::to_value(config)).unwrap();
    let examples = examples();
    let files: BTreeSet<_> = examples.iter().map(|(file, _)| file).collect();
    assert!(examples.len() >= 20 && files.len() >= 10, "{}: {files:?}", examples.len());
    let mut secrets = 0;
    for (file, text) in &examples {
        let config = yaml::<Config>("example", text).unwrap();
        let document = Document::from_yaml("example", text).unwrap();
        let again = Document::from_yaml("again", &document.to_yaml().unwrap()).unwrap();
        assert!(again == document, "{}", file.display());
        assert!(whole(&again.read().unwrap()) == whole(&config), "{}", file.display());
        let masked = document.masked();
        let back = Document::from_json(&masked).unwrap().with_secrets_of(&document).unwrap();
        assert!(back == document, "{}", file.display());
        // Short ones may be names of things, too.
        for secret in all_secrets(&document.0).into_iter().filter(|secret| secret.len() > 7) {
            secrets += 1;
            assert!(!masked.to_string().contains(&format!("\"{secret}\"")), "{}: {secret}", file.display());
        }
        // All that goes without saying can be said as well.
        let complete = Document::from_json(&document.complete().unwrap()).unwrap();
        let complete = complete.with_secrets_of(&document).unwrap();
        assert!(whole(&complete.read().unwrap()) == whole(&config), "{}", file.display());
    }
    assert!(secrets >= 10, "{secrets}");
}

fn all_secrets(value: &Value) -> Vec<&str> {
    match (secret(value), value) {
        (Some(secret), _) => vec![secret],
        (None, Value::Object(map)) => map.values().flat_map(all_secrets).collect(),
        (None, Value::Array(items)) => items.iter().flat_map(all_secrets).collect(),
        _ => Vec::new(),
    }
}

proptest! {
    // Whatever octets a secret or a name has, the file gives them back.
    #[test]
    fn any_text_survives_the_file(secret in "\\PC{0,60}|[ -~]{0,90}|[0-9eE.+_:x-]{1,12}|[ \t\n\r\u{85}\u{2028}a#:-]{0,9}", user in "[ -~]{1,20}") {
        let mut body = small().masked();
        body["subscribers"] = json!([{ "user": user, "secret": secret }]);
        body["ike"]["peers"] = json!([]);
        let document = Document::from_json(&body).unwrap();
        let again = Document::from_yaml("again", &document.to_yaml().unwrap()).unwrap();
        prop_assert!(again == document);
    }
}
