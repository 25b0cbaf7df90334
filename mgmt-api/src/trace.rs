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
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(all, start)).routes(routes!(one, delete)).routes(routes!(frames))
}

/// A trace that has begun.
#[derive(Debug, Serialize, ToSchema)]
struct Started {
    /// Its number.
    id: u32,
}

/// The last few traces, without their packets.
#[utoipa::path(get, path = "/traces", tag = "traces", responses((status = 200, body = Vec<TraceSummary>)))]
async fn all(State(n): State<Northbound>) -> Answer<Vec<TraceSummary>> {
    ask(&n, |to| Query::Trace(TraceQuery::All(to))).await.map(Json)
}

/// Begins a trace. One runs at a time, for ten minutes at most.
#[utoipa::path(post, path = "/traces", tag = "traces", request_body = TraceRequest,
    responses((status = 201, body = Started), (status = 409, description = "Another one is running")))]
async fn start(
    State(n): State<Northbound>,
    Body(request): Body<TraceRequest>,
) -> Result<impl IntoResponse + use<>, Problem> {
    match ask(&n, |to| Query::Trace(TraceQuery::Start(request, to))).await? {
        Ok(id) => Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/v1/traces/{id}"))], Json(Started { id }))),
        Err(running @ TraceRefused::Running(_)) => Err(Problem::new(StatusCode::CONFLICT, running)),
        Err(TraceRefused::Invalid { path, detail }) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).of_kind("/problems/invalid").at(path))
        }
    }
}

/// Nodes, verdicts, addresses of headers; no contents.
#[utoipa::path(get, path = "/traces/{id}", tag = "traces", params(("id" = u32, Path, description = "Number of the trace", maximum = 4294967295_u32)),
    responses((status = 200, body = TraceInfo)))]
async fn one(State(n): State<Northbound>, Segments(number): Segments<u32>) -> Answer<TraceInfo> {
    let found = ask(&n, |to| Query::Trace(TraceQuery::One(number, to))).await?;
    found.map(Json).ok_or_else(|| unknown(number))
}

/// The beginning of each packet, as received and sent, and what it carries in the clear, for Wireshark.
#[utoipa::path(get, path = "/traces/{id}/pcapng", tag = "traces", params(("id" = u32, Path, description = "Number of the trace", maximum = 4294967295_u32)),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-pcapng")))]
async fn frames(
    State(n): State<Northbound>,
    Segments(number): Segments<u32>,
) -> Result<impl IntoResponse + use<>, Problem> {
    let frames: Option<Vec<TraceFrame>> = ask(&n, |to| Query::Trace(TraceQuery::Frames(number, to))).await?;
    let frames = frames.ok_or_else(|| unknown(number))?;
    let name = HeaderValue::try_from(format!("attachment; filename=\"trace-{number}.pcapng\""));
    let name = name.unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/x-pcapng");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, pcapng::file(&frames)))
}

/// Ends a trace and forgets it.
#[utoipa::path(delete, path = "/traces/{id}", tag = "traces", params(("id" = u32, Path, description = "Number of the trace", maximum = 4294967295_u32)),
    responses((status = 204, description = "It is gone")))]
async fn delete(State(n): State<Northbound>, Segments(number): Segments<u32>) -> Result<StatusCode, Problem> {
    done(ask(&n, |to| Query::Trace(TraceQuery::Delete(number, to))).await?, &format!("trace {number}"))?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(id: u32) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no trace {id}"))
}
