//! Prometheus metrics, made from the counters at each scrape: workers keep plain memory and call no metrics library.

mod mesh;
mod ports;

use crate::problem::Problem;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use controlplane::northbound::{CountersInfo, Northbound, Query, StatusInfo};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = Vec<(String, String)>;

/// All that is measured, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "status",
    responses((status = 200, body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub(crate) async fn scrape(State(n): State<Northbound>) -> Result<impl IntoResponse, Problem> {
    let counters = crate::ask(&n, Query::Counters).await?;
    let status = crate::ask(&n, Query::Status).await?;
    let neighbours = crate::ask(&n, Query::BgpNeighbours).await?;
    let measured = crate::ask(&n, Query::MeshMetrics).await?;
    let sessions = crate::ask(&n, Query::Bfd).await?;
    let ports = crate::ask(&n, Query::Ports).await?;
    let caches = crate::ask(&n, Query::Rtr).await?;
    let radius = crate::ask(&n, Query::Radius).await?;
    let mut registry = registry(&counters, &status);
    ports::register(&mut registry, &ports);
    mesh::register(&mut registry, &neighbours, &measured, &sessions);
    crate::rtr::metrics(&mut registry, &caches);
    crate::radius::metrics(&mut registry, &radius);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

fn registry(counters: &CountersInfo, status: &StatusInfo) -> Registry {
    let mut registry = Registry::with_prefix("softwire");
    let mut gauge = |name: &str, help: &str, value: usize| {
        let g: Gauge = Gauge::default();
        g.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, g);
    };
    gauge("ike_sas", "IKE SAs", status.ike_sas);
    gauge("child_sas", "Pairs of child SAs", status.child_sas);
    gauge("sessions", "L2TP sessions", status.sessions);
    gauge("open_sessions", "Sessions whose network layer is open", status.open_sessions);

    let dropped = Family::<Labels, Counter>::default();
    let punted = Family::<Labels, Counter>::default();
    registry.register("dropped_packets", "Packets dropped, by reason", dropped.clone());
    registry.register("punted_packets", "Packets given to the control plane, by class", punted.clone());
    let mut plain: Vec<(&str, Family<Labels, Counter>)> = Vec::new();
    for (key, name, help) in PLAIN {
        let family = Family::<Labels, Counter>::default();
        registry.register(*name, *help, family.clone());
        plain.push((key, family));
    }
    for (i, worker) in counters.workers.iter().enumerate() {
        let me = ("worker".to_owned(), i.to_string());
        for (key, &value) in worker {
            let label = |name: &str, text: &str| vec![me.clone(), (name.to_owned(), text.to_owned())];
            if let Some(reason) = key.strip_prefix("drop.") {
                dropped.get_or_create(&label("reason", reason)).inc_by(value);
            } else if let Some(class) = key.strip_prefix("punt.") {
                punted.get_or_create(&label("class", class)).inc_by(value);
            } else if let Some((_, family)) = plain.iter().find(|(k, _)| k == key) {
                family.get_or_create(&vec![me.clone()]).inc_by(value);
            }
        }
    }
    let control = Family::<Labels, Counter>::default();
    registry.register("control", "Events of the control plane", control.clone());
    for (event, &value) in &counters.control {
        control.get_or_create(&vec![("event".to_owned(), event.clone())]).inc_by(value);
    }
    let fib = Family::<Labels, Gauge>::default();
    registry.register("fib", "Forwarding tables: routes, routes that do not fit, blocks; by family", fib.clone());
    for (what, &value) in &counters.fib {
        let (what, family) = what.split_once('_').unwrap_or((what, ""));
        let labels = vec![("what".to_owned(), what.to_owned()), ("family".to_owned(), family.to_owned())];
        fib.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    registry
}

/// Counter of a worker, metric, help.
const PLAIN: &[(&str, &str, &str)] = &[
    ("received", "received_packets", "Frames received from ports"),
    ("received_octets", "received_octets", "Octets received from ports"),
    ("sent", "sent_packets", "Frames sent"),
    ("sent_octets", "sent_octets", "Octets sent"),
    ("generated", "generated_packets", "Packets made by the worker: ICMP errors, fragments"),
    ("handed_out", "handed_out_packets", "Packets handed to other workers"),
    ("polls", "polls", "Polls of the worker loop"),
    ("idle_polls", "idle_polls", "Polls that found nothing"),
];
