//! Packet traces: what chosen packets met on their way, node by node.
//!
//! | path | role | answers |
//! |---|---|---|
//! | `GET /traces` | read | the last few, without packets |
//! | `POST /traces` | operate | begins one: which packets, one in how many, how many; one runs at a time |
//! | `GET /traces/ID` | read | nodes, verdicts, addresses of headers: no contents |
//! | `GET /traces/ID/pcapng` | admin | the beginning of each packet: as received and sent, and what it carries in the clear |
//! | `DELETE /traces/ID` | operate | ends and forgets it |

mod pcapng;

use crate::extract::{Body, Segments};
use crate::problem::Problem;
use crate::{Answer, AppState, ask, done};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use controlplane::northbound::{
    Northbound, Query, TraceFrame, TraceInfo, TraceQuery, TraceRefused, TraceRequest, TraceSummary,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(all, start)).routes(routes!(one, delete)).routes(routes!(frames))
}

/// Which trace.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Which {
    /// Its number.
    #[param(maximum = 4294967295_u32)]
    id: u32,
}

/// A trace that has begun.
#[derive(Debug, Serialize, ToSchema)]
struct Started {
    /// Its number.
    id: u32,
}

/// The last few packet traces, without their packets.
#[utoipa::path(get, path = "/traces", tag = "traces", responses((status = 200, body = Vec<TraceSummary>)))]
async fn all(State(n): State<Northbound>) -> Answer<Vec<TraceSummary>> {
    ask(&n, |to| Query::Trace(TraceQuery::All(to))).await.map(Json)
}

/// Begins a packet trace. One runs at a time; it is done when it has its packets, or after ten minutes.
#[utoipa::path(post, path = "/traces", tag = "traces", request_body = TraceRequest,
    responses((status = 201, body = Started), (status = 409, description = "One is running")))]
async fn start(State(n): State<Northbound>, Body(request): Body<TraceRequest>) -> Result<impl IntoResponse, Problem> {
    match ask(&n, |to| Query::Trace(TraceQuery::Start(request, to))).await? {
        Ok(id) => Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/v1/traces/{id}"))], Json(Started { id }))),
        Err(running @ TraceRefused::Running(_)) => Err(Problem::new(StatusCode::CONFLICT, running)),
        Err(TraceRefused::Invalid { path, detail }) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).of_kind("/problems/invalid").at(path))
        }
    }
}

/// A packet trace: what each packet met, node by node, and the addresses in its headers. No contents.
#[utoipa::path(get, path = "/traces/{id}", tag = "traces", params(Which), responses((status = 200, body = TraceInfo)))]
async fn one(State(n): State<Northbound>, Segments(Which { id }): Segments<Which>) -> Answer<TraceInfo> {
    let found = ask(&n, |to| Query::Trace(TraceQuery::One(id, to))).await?;
    found.map(Json).ok_or_else(|| unknown(id))
}

/// The beginning of each packet of a trace, as received and sent, and decrypted: a pcapng file.
#[utoipa::path(get, path = "/traces/{id}/pcapng", tag = "traces", params(Which),
    responses((status = 200, body = String, content_type = "application/x-pcapng")))]
async fn frames(
    State(n): State<Northbound>,
    Segments(Which { id }): Segments<Which>,
) -> Result<impl IntoResponse, Problem> {
    let frames: Option<Vec<TraceFrame>> = ask(&n, |to| Query::Trace(TraceQuery::Frames(id, to))).await?;
    let frames = frames.ok_or_else(|| unknown(id))?;
    let name = HeaderValue::try_from(format!("attachment; filename=\"trace-{id}.pcapng\""));
    let name = name.unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/x-pcapng");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], pcapng::file(&frames)))
}

/// Ends a packet trace, and forgets it.
#[utoipa::path(delete, path = "/traces/{id}", tag = "traces", params(Which),
    responses((status = 204, description = "It is gone")))]
async fn delete(State(n): State<Northbound>, Segments(Which { id }): Segments<Which>) -> Result<StatusCode, Problem> {
    done(ask(&n, |to| Query::Trace(TraceQuery::Delete(id, to))).await?, &format!("trace {id}"))?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(id: u32) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no trace {id}"))
}
