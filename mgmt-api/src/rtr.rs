//! RPKI caches: `GET /bgp/rtr`, and their metrics.

use crate::{Answer, ask};
use axum::Json;
use axum::extract::State;
use controlplane::northbound::{Northbound, Query, RtrCacheInfo};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// RPKI caches.
#[utoipa::path(get, path = "/rtr", tag = "bgp", responses((status = 200, body = Vec<RtrCacheInfo>)))]
pub(crate) async fn caches(State(n): State<Northbound>) -> Answer<Vec<RtrCacheInfo>> {
    ask(&n, Query::Rtr).await.map(Json)
}

/// Adds what a scrape shows of the caches.
pub(crate) fn metrics(registry: &mut Registry, caches: &[RtrCacheInfo]) {
    type Gauges = Family<Vec<(&'static str, String)>, Gauge>;
    let (up, used, vrps) = (Gauges::default(), Gauges::default(), Gauges::default());
    registry.register("rtr_up", "RPKI caches whose data are current", up.clone());
    registry.register("rtr_used", "The RPKI cache that is listened to", used.clone());
    registry.register("rtr_vrps", "VRPs of each RPKI cache, by family", vrps.clone());
    for c in caches {
        let cache = ("cache", c.name.clone());
        up.get_or_create(&vec![cache.clone()]).set(i64::from(c.state == "up"));
        used.get_or_create(&vec![cache.clone()]).set(i64::from(c.used));
        for (family, count) in [("ipv4", c.ipv4), ("ipv6", c.ipv6)] {
            let labels = vec![cache.clone(), ("family", family.to_owned())];
            vrps.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
