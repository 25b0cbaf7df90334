//! The dashboard and the alert rules name only series, labels and label values that a gateway has; docs/monitoring.md has a
//! line for each reason to drop.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use axum::body::Body;
use axum::http::Request;
use common::store;
use controlplane::config::Config;
use controlplane::gateway::Gateway;
use controlplane::northbound::Northbound;
use dataplane_api::{Counters, FibCounters, MacAddr};
use http_body_util::BodyExt;
use mgmt_api::AppState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tower::ServiceExt;

/// A gateway that has something of everything that is measured.
const YAML: &str = r#"
ports: [{ name: core, device: net_null0, zone: public, addresses: ["2001:db8:f1::1/64"] }]
routes: [{ to: "::/0", via: ["2001:db8:f1::ff"], port: core }]
bfd: { profiles: [{ name: fast }] }
mesh:
  local: ["2001:db8:f1::1"]
  bfd: fast
  afbrs: [{ name: east, address: "2001:db8:f2::1", prefixes: [10.2.0.0/16] }]
ike: { identity: west }
bgp:
  asn: 65000
  router_id: 192.0.2.1
  networks: [10.1.0.0/16]
  neighbours: [{ address: "2001:db8:f2::1", asn: internal }]
  rtr: [{ name: near, address: 127.0.0.1 }]
aaa:
  servers: [{ name: r1, address: 127.0.0.1, secret: a-secret-of-radius }]
  dynamic: { listen: ["127.0.0.1:3799"], clients: [{ address: 127.0.0.1, secret: a-secret-of-radius }] }
"#;

/// Labels of each series, with their values.
type Series = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

async fn scrape() -> Series {
    let config = Arc::new(Config::from_yaml("test.yaml", YAML).unwrap_or_else(|e| panic!("{e}")));
    let (northbound, mut queries) = Northbound::channel();
    let counters = vec![Arc::new(Counters::new(8, 8))];
    let mut gateway = Gateway::new(config, Instant::now(), &[MacAddr::default()], counters, [7; 32]).unwrap();
    gateway.set_fib(Arc::new(FibCounters::default()));
    gateway.set_ports(vec![Arc::default()]);
    tokio::spawn(async move {
        while let Some(query) = queries.recv().await {
            gateway.handle_query(Instant::now(), query);
        }
    });
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let store = store(YAML, northbound.clone());
    let answer = mgmt_api::router(AppState { northbound, store }).0.oneshot(request).await.unwrap();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let mut series = Series::new();
    for line in std::str::from_utf8(&text).unwrap().lines().filter(|l| !l.starts_with('#')) {
        let (name, labels) = line[..line.rfind(' ').unwrap()].split_once('{').unwrap_or((line, ""));
        let known = series.entry(name.split(' ').next().unwrap().to_owned()).or_default();
        for (label, _, value) in matchers(labels.trim_end_matches('}')) {
            known.entry(label).or_default().insert(value);
        }
    }
    series
}

/// Label, operator, value.
type Matcher = (String, String, String);

/// `a="b",c=~"d|e"`.
fn matchers(text: &str) -> Vec<Matcher> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((label, after)) = rest.split_once(['=', '!']) {
        let operator = &rest[label.len()..rest.find('"').unwrap()];
        let value = after.split('"').nth(1).unwrap();
        all.push((label.trim_start_matches([',', ' ']).to_owned(), operator.to_owned(), value.to_owned()));
        rest = after.splitn(3, '"').nth(2).unwrap();
    }
    all
}

/// What an expression names: series with what is in their braces.
fn named(expression: &str) -> Vec<(String, Vec<Matcher>)> {
    let mut all = Vec::new();
    for (at, _) in expression.match_indices("softwire_") {
        if expression[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &expression[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let braces = rest[end..].strip_prefix('{').and_then(|b| b.split_once('}')).map_or("", |(inside, _)| inside);
        all.push((rest[..end].to_owned(), matchers(braces)));
    }
    all
}

/// `{{label}}` of Grafana and `{{ $labels.label }}` of Prometheus.
fn shown(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|t| t.split("}}").next()).map(str::trim);
    inside.filter(|t| !t.contains("$value")).map(|t| t.trim_start_matches("$labels.").to_owned()).collect()
}

/// What Prometheus adds itself.
const ADDED: [&str; 2] = ["instance", "job"];

/// What is wrong with an expression and the text that goes with it.
fn problems(series: &Series, expression: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut labels: BTreeSet<&str> = ADDED.into();
    for (name, matchers) in named(expression) {
        let Some(known) = series.get(&name) else {
            wrong.push(format!("{expression}: there is no {name}"));
            continue;
        };
        labels.extend(known.keys().map(String::as_str));
        for (label, _, value) in matchers.iter().filter(|(label, ..)| !ADDED.contains(&label.as_str())) {
            for one in value.split('|') {
                if !known.get(label).is_some_and(|values| values.contains(one)) {
                    wrong.push(format!("{expression}: {name} has no {label}={one}"));
                }
            }
        }
    }
    let unknown = shown(text).into_iter().filter(|l| !labels.contains(l.as_str()));
    wrong.extend(unknown.map(|l| format!("{expression}: shows {l}, which it has not")));
    wrong
}

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../packaging/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test]
async fn the_dashboard_shows_what_there_is() {
    let series = scrape().await;
    let dashboard: Value = serde_json::from_str(&read("grafana/softwire-gateway.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets: Vec<&Value> = panels.iter().filter_map(|p| p["targets"].as_array()).flatten().collect();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let wrong: Vec<String> =
        targets.iter().flat_map(|t| problems(&series, &text(&t["expr"]), &text(&t["legendFormat"]))).collect();
    assert!(targets.len() > 20 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_alerts_watch_what_there_is() {
    let series = scrape().await;
    let rules: Value = serde_saphyr::from_str(&read("prometheus/alerts.yaml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let wrong: Vec<String> =
        rules.iter().flat_map(|r| problems(&series, &text(&r["expr"]), &text(&r["annotations"]["summary"]))).collect();
    assert!(rules.len() > 10 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_drop_reason_is_explained() {
    let series = scrape().await;
    let text = read("../docs/monitoring.md");
    let missing: Vec<_> = series["softwire_dropped_packets_total"]["reason"]
        .iter()
        .filter(|r| !text.contains(&format!("`{r}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn what_there_is_not_is_found() {
    let series = scrape().await;
    for (expression, text, wrong) in [
        ("rate(softwire_nothing_total[5m])", "", "there is no softwire_nothing_total"),
        ("softwire_control_total{event=\"nobody.knows\"}", "", "has no event=nobody.knows"),
        ("softwire_control_total{event=~\"ike.auth_failed|l2tp.nothing\"}", "", "has no event=l2tp.nothing"),
        ("softwire_polls_total", "{{worker}} {{reason}}", "shows reason"),
    ] {
        let found = problems(&series, expression, text);
        assert!(found.len() == 1 && found[0].contains(wrong), "{expression}: {found:?}");
    }
}
