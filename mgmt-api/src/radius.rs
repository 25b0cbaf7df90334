//! RADIUS: `GET /radius`, and its metrics.

use crate::{Answer, AppState, ask};
use axum::Json;
use axum::extract::State;
use controlplane::northbound::{Northbound, Query, RadiusInfo};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(radius))
}

/// RADIUS servers, accounting and dynamic authorization.
#[utoipa::path(get, path = "/radius", tag = "radius", responses((status = 200, body = RadiusInfo)))]
async fn radius(State(n): State<Northbound>) -> Answer<RadiusInfo> {
    ask(&n, Query::Radius).await.map(Json)
}

/// Adds what a scrape shows of it.
pub(crate) fn metrics(registry: &mut Registry, radius: &RadiusInfo) {
    type Labels = Vec<(&'static str, String)>;
    type Gauges = Family<Labels, Gauge>;
    type Counters = Family<Labels, Counter>;
    let (up, waiting, events, discards) =
        (Gauges::default(), Gauges::default(), Counters::default(), Counters::default());
    registry.register("radius_server_up", "RADIUS servers that answer", up.clone());
    registry.register("radius_server_in_flight", "Requests that wait for a RADIUS server", waiting.clone());
    registry.register(
        "radius_server_events",
        "What was sent to, received from and dropped of a server",
        events.clone(),
    );
    registry.register(
        "radius_dynamic_discards",
        "Requests of dynamic authorization that were dropped",
        discards.clone(),
    );
    for s in &radius.servers {
        let server = vec![("server", s.name.clone()), ("purpose", s.purpose.to_owned())];
        up.get_or_create(&server).set(i64::from(s.alive));
        waiting.get_or_create(&server).set(i64::try_from(s.in_flight).unwrap_or(i64::MAX));
        for (event, n) in &s.counters {
            let labels = server.iter().cloned().chain([("event", event.clone())]).collect();
            events.get_or_create(&labels).inc_by(*n);
        }
    }
    for (reason, n) in &radius.dynamic_discards {
        discards.get_or_create(&vec![("reason", reason.clone())]).inc_by(*n);
    }
    let pending: Gauge = Gauge::default();
    pending.set(i64::try_from(radius.records_pending).unwrap_or(i64::MAX));
    registry.register("accounting_records_pending", "Accounting records that no server has taken yet", pending);
    let taken: Counter = Counter::default();
    taken.inc_by(radius.records_taken);
    registry.register("accounting_records_taken", "Accounting records that a server has taken", taken);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use controlplane::northbound::RadiusServerInfo;

    pub(crate) fn info() -> RadiusInfo {
        RadiusInfo {
            servers: vec![RadiusServerInfo {
                name: "r1".into(),
                purpose: "authentication",
                address: "10.9.0.2:1812".parse().unwrap(),
                transport: "udp",
                priority: 1,
                alive: true,
                in_flight: 3,
                links: 1,
                counters: [("replies".to_owned(), 8)].into(),
            }],
            waiting: 3,
            records_pending: 5,
            records_taken: 6,
            dynamic_discards: [("replayed".to_owned(), 2)].into(),
        }
    }

    #[test]
    fn metrics_of_servers_records_and_requests() {
        let mut registry = Registry::with_prefix("softwire");
        metrics(&mut registry, &info());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "softwire_radius_server_up{server=\"r1\",purpose=\"authentication\"} 1",
            "softwire_radius_server_in_flight{server=\"r1\",purpose=\"authentication\"} 3",
            "softwire_radius_server_events_total{server=\"r1\",purpose=\"authentication\",event=\"replies\"} 8",
            "softwire_radius_dynamic_discards_total{reason=\"replayed\"} 2",
            "softwire_accounting_records_pending 5",
            "softwire_accounting_records_taken_total 6",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
