//! The REST face of the gateway: what is (GET), what may be done (POST, DELETE), what happens (events), and metrics.
//!
//! | module | paths under `/api/v1` |
//! |---|---|
//! | `status` | `health`, `ready`, `status`, `counters` |
//! | `subscribers` | `subscribers[/ID]`, and L2TP's view of them: `tunnels`, `sessions` |
//! | `security` | `ike-sas`, `child-sas`, their rekeying; `spd` |
//! | `mesh` | `softwires`, their rekeying; `mesh/profiles`; `bfd` |
//! | `bgp`, `rtr` | `bgp/neighbours[/ADDRESS]` with routes and actions, `bgp/routes`, `bgp/rtr` |
//! | `radius` | `radius` |
//! | `drain` | `drain` |
//! | `events` | `events` |
//! | `trace` | `traces[/ID]`, packet traces; `traces/ID/pcapng` |
//! | `config` | `config[/PATH]`, commits, confirmation, roll-back |
//! | `access::tokens` | `tokens[/ID]`, `whoami` |
//! | `document` | `openapi.json`, which says all of this in full |
//! | `metrics` | `/metrics`, Prometheus text format |
//! | `view` | `/`, the live view, a page that reads all this |
//!
//! Long lists come a page at a time (`page`). What a request says is read by `extract`; a request that cannot be met is
//! answered by a problem document (`problem`). Before all of it stands `access`, which knows who asks and what he may.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod access;
mod bgp;
pub mod config;
mod document;
mod drain;
mod events;
mod extract;
mod file;
mod mesh;
mod metrics;
mod page;
mod problem;
mod radius;
mod rtr;
mod security;
mod status;
mod subscribers;
mod trace;
mod view;

pub use problem::{Fault, Problem};

use access::{Access, Listening};
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::{Json, Router};
use config::Store;
use controlplane::config::Api;
use controlplane::northbound::{Northbound, NotDone, Query};
use std::sync::Arc;
use tokio::sync::oneshot;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What handlers work with.
#[derive(Clone)]
pub struct AppState {
    /// The control plane.
    pub northbound: Northbound,
    /// The configuration.
    pub store: Arc<Store>,
}

impl FromRef<AppState> for Arc<Store> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.store)
    }
}

impl FromRef<AppState> for Northbound {
    fn from_ref(state: &AppState) -> Self {
        state.northbound.clone()
    }
}

/// The routes, and their description.
pub fn router(state: AppState) -> (Router, OpenApi) {
    let v1 = OpenApiRouter::new()
        .merge(status::routes())
        .merge(subscribers::routes())
        .merge(security::routes())
        .merge(mesh::routes())
        .nest("/bgp", bgp::routes())
        .merge(radius::routes())
        .merge(drain::routes())
        .merge(events::routes())
        .merge(trace::routes())
        .merge(config::routes())
        .merge(access::tokens::routes())
        .routes(routes!(document::openapi));
    let (router, document) = OpenApiRouter::with_openapi(document::base())
        .nest("/api/v1", v1)
        .routes(routes!(metrics::scrape))
        .split_for_parts();
    let nothing = || async { Problem::new(StatusCode::NOT_FOUND, "there is no such resource") };
    let not_so = || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has no such method") };
    let router = router.merge(view::routes()).fallback(nothing).method_not_allowed_fallback(not_so).with_state(state);
    (router, document::finish(document))
}

/// The API's sockets are open; nobody is answered yet.
pub struct Server {
    access: Arc<Access>,
    listening: Listening,
    state: AppState,
}

impl Server {
    /// Opens them.
    ///
    /// # Errors
    /// If the API cannot listen, or its certificate or its tokens cannot be read.
    pub async fn open(api: &Api, state: AppState) -> anyhow::Result<Self> {
        let access = Arc::new(Access::open(api)?);
        let listening = Listening::open(api).await?;
        tracing::info!(listen = %listening.address()?, socket = api.socket, "API is up");
        Ok(Self { access, listening, state })
    }

    /// Serves until `stop` resolves.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let (router, _) = router(self.state);
        self.listening.serve(self.access.guard(router), stop).await;
    }
}

type Answer<T> = Result<Json<T>, Problem>;

async fn ask<T>(n: &Northbound, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Problem> {
    n.ask(query).await.map_err(|e| Problem::new(StatusCode::SERVICE_UNAVAILABLE, e))
}

fn done(found: bool, what: &str) -> Result<StatusCode, Problem> {
    if found {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no {what}")))
    }
}

fn acted(result: Result<(), NotDone>, what: &str) -> Result<StatusCode, Problem> {
    match result {
        Err(NotDone::State(why)) => Err(Problem::new(StatusCode::CONFLICT, why)),
        other => done(other.is_ok(), what),
    }
}

#[cfg(test)]
mod tests;
