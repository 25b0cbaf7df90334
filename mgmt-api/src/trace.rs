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

use crate::problem::Problem;
use crate::{Answer, ask, done};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use controlplane::northbound::{
    Northbound, Query, TraceFrame, TraceInfo, TraceQuery, TraceRefused, TraceRequest, TraceSummary,
};
use serde::Serialize;

pub(crate) fn routes() -> Router<Northbound> {
    Router::new()
        .route("/", get(all).post(start))
        .route("/{id}", get(one).delete(delete))
        .route("/{id}/pcapng", get(frames))
}

/// A trace that has begun.
#[derive(Debug, Serialize)]
struct Started {
    /// Its number.
    id: u32,
}

async fn all(State(n): State<Northbound>) -> Answer<Vec<TraceSummary>> {
    ask(&n, |to| Query::Trace(TraceQuery::All(to))).await.map(Json)
}

async fn start(
    State(n): State<Northbound>,
    request: Result<Json<TraceRequest>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(request) = request.map_err(|e| Problem::new(e.status(), e.body_text()))?;
    match ask(&n, |to| Query::Trace(TraceQuery::Start(request, to))).await? {
        Ok(id) => Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/v1/traces/{id}"))], Json(Started { id }))),
        Err(running @ TraceRefused::Running(_)) => Err(Problem::new(StatusCode::CONFLICT, running.to_string())),
        Err(TraceRefused::Invalid { path, detail }) => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{path}: {detail}")))
        }
    }
}

async fn one(State(n): State<Northbound>, Path(id): Path<String>) -> Answer<TraceInfo> {
    let number = parse(&id)?;
    let found = ask(&n, |to| Query::Trace(TraceQuery::One(number, to))).await?;
    found.map(Json).ok_or_else(|| unknown(number))
}

async fn frames(State(n): State<Northbound>, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    let number = parse(&id)?;
    let frames: Option<Vec<TraceFrame>> = ask(&n, |to| Query::Trace(TraceQuery::Frames(number, to))).await?;
    let frames = frames.ok_or_else(|| unknown(number))?;
    let name = HeaderValue::try_from(format!("attachment; filename=\"trace-{number}.pcapng\""));
    let name = name.unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/x-pcapng");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, pcapng::file(&frames)))
}

async fn delete(State(n): State<Northbound>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let number = parse(&id)?;
    done(ask(&n, |to| Query::Trace(TraceQuery::Delete(number, to))).await?, &format!("trace {number}"))?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse(id: &str) -> Result<u32, Problem> {
    id.parse().map_err(|_| Problem::new(StatusCode::BAD_REQUEST, format!("{id:?} is not a trace's number")))
}

fn unknown(id: u32) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no trace {id}"))
}
