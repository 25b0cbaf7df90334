//! The gateway as a whole: whether it lives, whether it is of use, what it is and what it counts.

use crate::problem::{Fault, Problem};
use crate::{Answer, AppState, ask};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controlplane::northbound::{CountersInfo, Northbound, PortInfo, Pulse, Query, StatusInfo};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Time that the control plane has for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between looks at workers, which poll at least every millisecond, and how many there are.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 25;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(status))
        .routes(routes!(counters))
        .routes(routes!(ports))
}

/// That the process lives.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}

/// What the gateway is ready by.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    checks: Checks,
}

/// Each is `ok`; one that is not is in the problem document's `errors`.
#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    /// The control plane answers.
    control: &'static str,
    /// Workers poll.
    workers: &'static str,
    /// New subscribers are let in.
    drain: &'static str,
}

async fn pulse(n: &Northbound) -> Result<Pulse, Problem> {
    let late = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the control plane does not answer");
    timeout(PATIENCE, ask(n, Query::Pulse)).await.map_err(late)?
}

/// Whether the process lives: the control plane answers within a second.
#[utoipa::path(get, path = "/health", tag = "status", security(()), responses((status = 200, body = Health)))]
async fn health(State(n): State<Northbound>) -> Answer<Health> {
    pulse(&n).await?;
    Ok(Json(Health { status: "ok" }))
}

/// Whether subscribers should be sent here: the control plane answers, all workers poll, there is no drain.
#[utoipa::path(get, path = "/ready", tag = "status", security(()),
    responses((status = 200, body = Ready), (status = 503, description = "It is not")))]
async fn ready(State(n): State<Northbound>) -> Answer<Ready> {
    let not = |errors: Vec<Fault>| {
        let detail = errors.iter().map(|f| f.detail.as_str()).collect::<Vec<_>>().join("; ");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).of_kind("/problems/not-ready").with(errors)
    };
    let fault = |check: &str, detail: String| Fault { path: format!("/checks/{check}"), detail };
    let first = pulse(&n).await.map_err(|p| not(vec![fault("control", p.detail)]))?;
    let mut last = first.clone();
    let stuck = |last: &Pulse| first.polls.iter().zip(&last.polls).position(|(a, b)| a == b);
    for _ in 0..LOOKS {
        if stuck(&last).is_none() {
            break;
        }
        sleep(LOOK).await;
        last = pulse(&n).await.map_err(|p| not(vec![fault("control", p.detail)]))?;
    }
    let worker = stuck(&last).map(|i| fault("workers", format!("worker {i} does not poll")));
    let drain = last.draining.then(|| fault("drain", "draining".to_owned()));
    let errors: Vec<Fault> = worker.into_iter().chain(drain).collect();
    if errors.is_empty() {
        Ok(Json(Ready { checks: Checks { control: "ok", workers: "ok", drain: "ok" } }))
    } else {
        Err(not(errors))
    }
}

/// Version, uptime, totals and listeners.
#[utoipa::path(get, path = "/status", tag = "status", responses((status = 200, body = StatusInfo)))]
async fn status(State(n): State<Northbound>) -> Answer<StatusInfo> {
    ask(&n, Query::Status).await.map(Json)
}

/// Counters of workers, of the control plane and of the forwarding tables. They only grow.
#[utoipa::path(get, path = "/counters", tag = "status", responses((status = 200, body = CountersInfo)))]
async fn counters(State(n): State<Northbound>) -> Answer<CountersInfo> {
    ask(&n, Query::Counters).await.map(Json)
}

/// Ports: link, addresses, and what their devices count.
#[utoipa::path(get, path = "/ports", tag = "status", responses((status = 200, body = Vec<PortInfo>)))]
async fn ports(State(n): State<Northbound>) -> Answer<Vec<PortInfo>> {
    ask(&n, Query::Ports).await.map(Json)
}
