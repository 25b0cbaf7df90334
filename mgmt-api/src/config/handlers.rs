//! The routes of the configuration. Those of the document say the ETag of the one that runs, and heed If-Match.

use super::place::{Act, Place};
use super::store::{Options, Wish};
use super::{Commit, Outcome, Store};
use crate::access::Caller;
use crate::extract::{Body, Params, Segments};
use crate::problem::Problem;
use axum::extract::{DefaultBodyLimit, FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Octets of the largest document: some hundred thousand subscribers.
const LARGEST: usize = 64 << 20;
/// Seconds until which a commit may wait for its confirmation.
const LONGEST: u64 = 24 * 3600;

/// The routes, below `/api/v1`.
pub(crate) fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Store>: FromRef<S>,
{
    let deeper = get(part).put(put_part).patch(patch_part).delete(delete_part);
    OpenApiRouter::default()
        .routes(routes!(whole, put_whole, patch_whole))
        .routes(routes!(part, put_part, patch_part, delete_part))
        .route("/config/{path}/{*below}", deeper)
        .routes(routes!(confirm))
        .routes(routes!(rollback))
        .routes(routes!(commits))
        .routes(routes!(commit))
        .routes(routes!(schema))
        .layer(DefaultBodyLimit::max(LARGEST))
}

/// A place in the configuration.
#[derive(IntoParams)]
#[into_params(names("path"), parameter_in = Path)]
#[allow(dead_code)]
struct Below(
    /// Settings and names, with slashes between them: `subscribers/alice/ipv4`. Names are percent-encoded.
    String,
);

/// How the configuration is shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Show {
    /// Settings that are not written, too, with their defaults.
    #[serde(default)]
    defaults: bool,
}

/// How a change is made.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct How {
    /// Only say what would be changed.
    #[serde(default)]
    dry_run: bool,
    /// Put the old document back unless it is confirmed within so many seconds.
    #[param(minimum = 1, maximum = 86400)]
    confirm: Option<u64>,
    /// What the author says of it.
    #[param(max_length = 500)]
    comment: Option<String>,
}

/// Which document a change is about.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
struct IfMatch {
    /// ETags; refused unless the document that runs has one of them.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// Who wants a change, where, and how.
struct Order {
    caller: Caller,
    place: Place,
    options: Options,
}

impl<S: Send + Sync> FromRequestParts<S> for Order {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Extension::<Caller>::from_request_parts(parts, state).await;
        let Extension(caller) =
            caller.map_err(|_| Problem::new(StatusCode::UNAUTHORIZED, "nobody has said who asks"))?;
        let Params(how) = Params::<How>::from_request_parts(parts, state).await?;
        if how.confirm.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
            return Err(malformed(format!("confirm is between 1 and {LONGEST} seconds")));
        }
        let options = Options {
            dry_run: how.dry_run,
            confirm: how.confirm.map(Duration::from_secs),
            comment: how.comment.map(comment).transpose()?,
            if_match: if_match(&parts.headers)?,
        };
        Ok(Self { caller, place: Place::of(parts.uri.path())?, options })
    }
}

impl Order {
    async fn act(self, store: &Arc<Store>, act: Act) -> Answer {
        let wish = Wish::At(self.place, act);
        changed(store.change(&self.caller.name, wish, self.options).await?)
    }
}

type Answer = Result<Response, Problem>;

fn malformed(why: impl Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

fn comment(text: String) -> Result<String, Problem> {
    if text.chars().count() <= 500 { Ok(text) } else { Err(malformed("a comment has at most 500 characters")) }
}

/// The tags of the documents that a request is about (RFC 9110, section 13.1.1).
fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let tags: Result<Vec<&str>, _> = headers.get_all(header::IF_MATCH).iter().map(|v| v.to_str()).collect();
    let tags = tags.map_err(|_| malformed("If-Match is not ASCII"))?;
    Ok((!tags.is_empty()).then(|| tags.join(",")))
}

fn changed((outcome, created): (Outcome, bool)) -> Answer {
    let status = if created && outcome.commit.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::ETAG, outcome.etag.clone())], Json(outcome)).into_response())
}

/// The configuration, or a part of it.
///
/// What is written in the file; secrets are `***`. A path goes down the document, items of lists by their names:
/// `subscribers/alice/ipv4`. A part that is not written is shown as it is by default.
#[utoipa::path(get, path = "/config", tag = "configuration", params(Show), responses(
    (status = 200, description = "The document", body = Value, headers(("ETag" = String, description = "Commit and hash"))),
))]
async fn whole(State(store): State<Arc<Store>>, uri: Uri, Params(show): Params<Show>) -> Answer {
    let (value, etag) = store.show(Place::of(uri.path())?, show.defaults).await?;
    Ok(([(header::ETAG, etag)], Json(value)).into_response())
}

/// Replaces the configuration.
#[utoipa::path(put, path = "/config", tag = "configuration", params(How, IfMatch), request_body = Value, responses(
    (status = 200, description = "Done, or what would be done", body = Outcome),
))]
async fn put_whole(State(store): State<Arc<Store>>, order: Order, Body(body): Body<Value>) -> Answer {
    order.act(&store, Act::Put(body)).await
}

/// Changes the configuration by a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/config", tag = "configuration", params(How, IfMatch),
    request_body(content = Value, content_type = "application/merge-patch+json"), responses(
    (status = 200, description = "Done, or what would be done", body = Outcome),
))]
async fn patch_whole(State(store): State<Arc<Store>>, order: Order, Body(body): Body<Value>) -> Answer {
    order.act(&store, Act::Patch(body)).await
}

/// A part of the configuration.
#[utoipa::path(get, path = "/config/{path}", tag = "configuration", params(Below, Show), responses(
    (status = 200, description = "What is there", body = Value, headers(("ETag" = String, description = "Commit and hash"))),
    (status = 409, description = "There are several of the name"),
))]
async fn part(store: State<Arc<Store>>, uri: Uri, show: Params<Show>) -> Answer {
    whole(store, uri, show).await
}

/// Replaces a part of the configuration, or adds it.
#[utoipa::path(put, path = "/config/{path}", tag = "configuration", params(Below, How, IfMatch),
    request_body = Value, responses(
    (status = 200, description = "Done, or what would be done", body = Outcome),
    (status = 201, description = "Added", body = Outcome),
))]
async fn put_part(store: State<Arc<Store>>, order: Order, body: Body<Value>) -> Answer {
    put_whole(store, order, body).await
}

/// Changes a part of the configuration by a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/config/{path}", tag = "configuration", params(Below, How, IfMatch),
    request_body(content = Value, content_type = "application/merge-patch+json"), responses(
    (status = 200, description = "Done, or what would be done", body = Outcome),
    (status = 201, description = "Added", body = Outcome),
))]
async fn patch_part(store: State<Arc<Store>>, order: Order, body: Body<Value>) -> Answer {
    patch_whole(store, order, body).await
}

/// Deletes a part of the configuration: the default holds again, where there is one.
#[utoipa::path(delete, path = "/config/{path}", tag = "configuration", params(Below, How, IfMatch), responses(
    (status = 200, description = "Done, or what would be done", body = Outcome),
    (status = 422, description = "The configuration would be wrong"),
))]
async fn delete_part(State(store): State<Arc<Store>>, order: Order) -> Answer {
    order.act(&store, Act::Delete).await
}

/// Confirms the commit that awaits it; with If-Match only the one whose document it is.
#[utoipa::path(post, path = "/config/confirm", tag = "configuration", params(IfMatch), responses(
    (status = 200, description = "It is confirmed", body = Commit),
    (status = 409, description = "None awaits it, or somebody has edited the file"),
))]
async fn confirm(State(store): State<Arc<Store>>, headers: HeaderMap) -> Result<Json<Commit>, Problem> {
    Ok(Json(store.confirm(if_match(&headers)?).await?))
}

/// Where to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Back {
    /// Number of a commit.
    to: u64,
    /// What the author says of it.
    #[schema(max_length = 500)]
    comment: Option<String>,
}

/// Makes the document of a commit the running one.
///
/// The commit before a pending one puts that one back; any other is made anew, and has a number of its own.
#[utoipa::path(post, path = "/config/rollback", tag = "configuration", params(How, IfMatch), request_body = Back, responses(
    (status = 200, description = "Done, or what would be done", body = Outcome),
    (status = 404, description = "There is no such commit"),
))]
async fn rollback(State(store): State<Arc<Store>>, order: Order, Body(back): Body<Back>) -> Answer {
    let given = back.comment.map(comment).transpose()?.or(order.options.comment);
    let comment = Some(given.unwrap_or_else(|| format!("roll-back to {}", back.to)));
    let options = Options { comment, ..order.options };
    changed(store.change(&order.caller.name, Wish::Back(back.to), options).await?)
}

/// Which commits.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Older ones than this; `next` of the page before.
    after: Option<u64>,
}

/// Commits, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Commits {
    /// The commits.
    commits: Vec<Commit>,
    /// Ask for the next page `after` this one.
    next: Option<u64>,
}

/// The history.
#[utoipa::path(get, path = "/config/commits", tag = "configuration", params(Which), responses(
    (status = 200, description = "Commits, the newest first", body = Commits),
))]
async fn commits(State(store): State<Arc<Store>>, Params(which): Params<Which>) -> Result<Json<Commits>, Problem> {
    let limit = which.limit.unwrap_or(50);
    if !(1..=1000).contains(&limit) {
        return Err(malformed("limit is between 1 and 1000"));
    }
    let (commits, next) = store.commits(which.after, limit).await?;
    Ok(Json(Commits { commits, next }))
}

/// A commit with its document.
#[derive(Debug, Serialize, ToSchema)]
struct CommitDocument {
    #[serde(flatten)]
    commit: Commit,
    /// The configuration, secrets as `***`.
    document: Value,
}

/// A commit and its document.
#[utoipa::path(get, path = "/config/commits/{id}", tag = "configuration", params(("id" = u64, Path)), responses(
    (status = 200, description = "The commit", body = CommitDocument),
))]
async fn commit(State(store): State<Arc<Store>>, Segments(id): Segments<u64>) -> Result<Json<CommitDocument>, Problem> {
    let (commit, document) = store.commit_of(id).await?;
    Ok(Json(CommitDocument { commit, document: document.masked() }))
}

/// The configuration's JSON Schema (2020-12): every setting with its meaning, its default and its bounds.
#[utoipa::path(get, path = "/config/schema", tag = "configuration", responses(
    (status = 200, description = "The schema", body = Value, content_type = "application/schema+json"),
))]
async fn schema() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], Json(controlplane::config::schema()))
}
