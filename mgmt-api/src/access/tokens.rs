//! `/api/v1/tokens`, for administrators, and `/api/v1/whoami`. A token is in one answer only, that of its making.

use super::store::{NotMade, Token, rfc3339};
use super::{Access, Caller, audit};
use crate::extract::{Body, Segments};
use crate::problem::Problem;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use controlplane::config::Role;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Octets of a name.
const NAME: usize = 64;
/// Longest life of a token that ends, in seconds: 63 years.
const LONGEST: u64 = 2_000_000_000;

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete)).routes(routes!(whoami))
}

/// What may be known of a token.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenInfo {
    /// Part of the token, and the key of this resource.
    id: String,
    /// Names it in the audit log.
    name: String,
    role: Role,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created: SystemTime,
    /// When it ends; absent if it does not.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    expires: Option<SystemTime>,
}

impl From<Token> for TokenInfo {
    fn from(t: Token) -> Self {
        Self { id: t.id, name: t.name, role: t.role, created: t.created, expires: t.expires }
    }
}

/// All tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenInfo>,
}

/// A token that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// Who will use it; 1 to 64 octets, no other token has it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    role: Role,
    /// Seconds until it ends; it does not where absent.
    #[schema(minimum = 1, maximum = 2000000000, nullable = false)]
    expires_in: Option<u64>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// The token itself; it is never shown again.
    token: String,
    #[serde(flatten)]
    info: TokenInfo,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identity {
    /// `local:USER`, `token:NAME` or `certificate:NAME`.
    name: String,
    role: Role,
}

/// Who I am to the gateway.
#[utoipa::path(get, path = "/whoami", tag = "access", responses((status = 200, body = Identity)))]
async fn whoami(Extension(caller): Extension<Caller>) -> Json<Identity> {
    Json(Identity { name: caller.name, role: caller.role })
}

/// All tokens, without what makes them usable.
#[utoipa::path(get, path = "/tokens", tag = "access", responses((status = 200, body = TokenList)))]
async fn list(Extension(access): Extension<Arc<Access>>) -> Json<TokenList> {
    Json(TokenList { tokens: access.tokens.list().into_iter().map(TokenInfo::from).collect() })
}

/// Makes a token.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = NewToken, responses(
    (status = 201, description = "The only answer that has the token", body = MadeToken),
    (status = 409, description = "There is a token of this name, or there are too many"),
))]
async fn create(
    Extension(access): Extension<Arc<Access>>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<NewToken>,
) -> Result<Response, Problem> {
    let wrong =
        |at: &str, why: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why).of_kind("/problems/invalid").at(at);
    if new.name.trim().is_empty() || new.name.len() > NAME || new.name.contains(char::is_control) {
        return Err(wrong("/name", "1 to 64 octets without control characters"));
    }
    if new.expires_in.is_some_and(|s| !(1..=LONGEST).contains(&s)) {
        return Err(wrong("/expires_in", "between 1 and 2000000000 seconds"));
    }
    let now = SystemTime::now();
    let expires = new.expires_in.map(|s| now + Duration::from_secs(s));
    let made = access.tokens.create(&new.name, new.role, now, expires).await;
    let (token, text) = made.map_err(|why| match why {
        NotMade::Failed(error) => failed(error),
        NotMade::Taken => Problem::new(StatusCode::CONFLICT, format!("there is a token of the name {:?}", new.name)),
        NotMade::TooMany => Problem::new(StatusCode::CONFLICT, why),
    })?;
    audit::token(&caller, &format!("made, role {}", token.role.name()), &token.id, &token.name);
    let location = format!("/api/v1/tokens/{}", token.id);
    let body = Json(MadeToken { token: text.to_string(), info: token.into() });
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// Takes a token back, at once.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "access", params(("id" = String, Path, description = "Id of the token")), responses(
    (status = 204, description = "It is good no more"),
))]
async fn delete(
    Extension(access): Extension<Arc<Access>>,
    Extension(caller): Extension<Caller>,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Problem> {
    let gone = access.tokens.delete(&id).await.map_err(failed)?;
    let gone = gone.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no token {id:?}")))?;
    audit::token(&caller, "taken back", &gone.id, &gone.name);
    Ok(StatusCode::NO_CONTENT)
}

fn failed(error: anyhow::Error) -> Problem {
    tracing::error!(error = format!("{error:#}"), "tokens");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the tokens cannot be stored: the log says why")
}
