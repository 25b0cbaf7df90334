//! BGP: neighbours, routes page by page, and what may be done about a neighbour.

use crate::document::{Address, Prefix};
use crate::extract::{Body, Params, Segments};
use crate::page::rows;
use crate::problem::Problem;
use crate::{Answer, AppState, acted, ask};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controlplane::northbound::{
    BgpAction, BgpFamily, BgpMatch, BgpNeighbourInfo, BgpPage, BgpReceivedInfo, BgpRouteInfo, BgpSelect, BgpSentInfo,
    Northbound, Query,
};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Octets of a message to the other operator (RFC 9003, section 2).
const MAX_MESSAGE: usize = 255;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(neighbours))
        .routes(routes!(neighbour))
        .routes(routes!(received))
        .routes(routes!(sent))
        .routes(routes!(clear))
        .routes(routes!(soft_in))
        .routes(routes!(soft_out))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(loc_rib))
        .routes(routes!(crate::rtr::caches))
}

/// Which neighbour.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Whose {
    /// The neighbour's.
    #[param(value_type = Address, inline)]
    address: IpAddr,
}

/// Which part of a table, as the request says it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Select {
    /// Of one family.
    #[param(value_type = BgpFamily, inline, required = false)]
    family: Option<BgpFamily>,
    /// Of a prefix, or of the one of an address alone.
    #[param(value_type = Prefix, inline, required = false)]
    prefix: Option<String>,
    /// What is meant by the prefix.
    #[serde(rename = "match")]
    #[param(value_type = BgpMatch, inline, required = false)]
    scope: Option<BgpMatch>,
    /// `next` of the page before.
    #[param(value_type = Prefix, inline, required = false)]
    after: Option<IpNet>,
    /// Most rows: 100 where absent, 1000 where more.
    #[param(value_type = u32, maximum = 4294967295_u32, required = false)]
    limit: Option<u32>,
}

/// A reset.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Clear {
    /// No routes are kept meanwhile (RFC 8538).
    hard: bool,
    /// For the neighbour's operator, 255 octets at most (RFC 9003).
    message: String,
}

/// Routes to be exchanged again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Refresh {
    /// Of one family; of all where absent.
    family: Option<BgpFamily>,
}

/// A shutdown.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Disable {
    /// For the neighbour's operator, 255 octets at most (RFC 9003).
    message: String,
}

/// BGP neighbours.
#[utoipa::path(get, path = "/neighbours", tag = "bgp", responses((status = 200, body = Vec<BgpNeighbourInfo>)))]
async fn neighbours(State(n): State<Northbound>) -> Answer<Vec<BgpNeighbourInfo>> {
    ask(&n, Query::BgpNeighbours).await.map(Json)
}

/// A BGP neighbour.
#[utoipa::path(get, path = "/neighbours/{address}", tag = "bgp", params(Whose),
    responses((status = 200, body = BgpNeighbourInfo)))]
async fn neighbour(
    State(n): State<Northbound>,
    Segments(Whose { address }): Segments<Whose>,
) -> Answer<BgpNeighbourInfo> {
    let found = ask(&n, Query::BgpNeighbours).await?.into_iter().find(|info| info.address == address);
    found.map(Json).ok_or_else(|| unknown(address))
}

/// The Loc-RIB with all paths, and where it leads.
#[utoipa::path(get, path = "/routes", tag = "bgp", params(Select),
    responses((status = 200, body = BgpPage<BgpRouteInfo>)))]
async fn loc_rib(State(n): State<Northbound>, Params(select): Params<Select>) -> Answer<BgpPage<BgpRouteInfo>> {
    let select = read(select)?;
    ask(&n, |to| Query::BgpRoutes(select, to)).await.map(Json)
}

/// Adj-RIB-In of a neighbour.
#[utoipa::path(get, path = "/neighbours/{address}/routes/in", tag = "bgp", params(Whose, Select),
    responses((status = 200, body = BgpPage<BgpReceivedInfo>)))]
async fn received(
    State(n): State<Northbound>,
    Segments(Whose { address }): Segments<Whose>,
    Params(select): Params<Select>,
) -> Answer<BgpPage<BgpReceivedInfo>> {
    let select = read(select)?;
    let page = ask(&n, |to| Query::BgpReceived(address, select, to)).await?;
    page.map(Json).ok_or_else(|| unknown(address))
}

/// Adj-RIB-Out of a neighbour.
#[utoipa::path(get, path = "/neighbours/{address}/routes/out", tag = "bgp", params(Whose, Select),
    responses((status = 200, body = BgpPage<BgpSentInfo>)))]
async fn sent(
    State(n): State<Northbound>,
    Segments(Whose { address }): Segments<Whose>,
    Params(select): Params<Select>,
) -> Answer<BgpPage<BgpSentInfo>> {
    let select = read(select)?;
    let page = ask(&n, |to| Query::BgpSent(address, select, to)).await?;
    page.map(Json).ok_or_else(|| unknown(address))
}

/// Resets the session with a neighbour.
#[utoipa::path(post, path = "/neighbours/{address}/clear", tag = "bgp", params(Whose), request_body = Option<Clear>,
    responses((status = 202, description = "It is being done"), (status = 409, description = "Not in its state")))]
async fn clear(n: State<Northbound>, whose: Segments<Whose>, body: Option<Body<Clear>>) -> Result<StatusCode, Problem> {
    let Clear { hard, message } = content(body);
    act(n, whose, BgpAction::Clear { hard, message: communication(message)? }).await
}

/// Asks a neighbour for its routes again.
#[utoipa::path(post, path = "/neighbours/{address}/soft-in", tag = "bgp", params(Whose), request_body = Option<Refresh>,
    responses((status = 202, description = "It is being done"), (status = 409, description = "Not in its state")))]
async fn soft_in(
    n: State<Northbound>,
    whose: Segments<Whose>,
    body: Option<Body<Refresh>>,
) -> Result<StatusCode, Problem> {
    act(n, whose, BgpAction::SoftIn(content(body).family)).await
}

/// Sends a neighbour all routes again.
#[utoipa::path(post, path = "/neighbours/{address}/soft-out", tag = "bgp", params(Whose), request_body = Option<Refresh>,
    responses((status = 202, description = "It is being done"), (status = 409, description = "Not in its state")))]
async fn soft_out(
    n: State<Northbound>,
    whose: Segments<Whose>,
    body: Option<Body<Refresh>>,
) -> Result<StatusCode, Problem> {
    act(n, whose, BgpAction::SoftOut(content(body).family)).await
}

/// Shuts a neighbour down.
#[utoipa::path(post, path = "/neighbours/{address}/disable", tag = "bgp", params(Whose), request_body = Option<Disable>,
    responses((status = 202, description = "It is being done"), (status = 409, description = "Not in its state")))]
async fn disable(
    n: State<Northbound>,
    whose: Segments<Whose>,
    body: Option<Body<Disable>>,
) -> Result<StatusCode, Problem> {
    act(n, whose, BgpAction::Disable { message: communication(content(body).message)? }).await
}

/// Starts a neighbour again.
#[utoipa::path(post, path = "/neighbours/{address}/enable", tag = "bgp", params(Whose),
    responses((status = 202, description = "It is being done"), (status = 409, description = "Not in its state")))]
async fn enable(n: State<Northbound>, whose: Segments<Whose>) -> Result<StatusCode, Problem> {
    act(n, whose, BgpAction::Enable).await
}

async fn act(
    State(n): State<Northbound>,
    Segments(Whose { address }): Segments<Whose>,
    action: BgpAction,
) -> Result<StatusCode, Problem> {
    acted(ask(&n, |to| Query::BgpAct(address, action, to)).await?, &format!("BGP neighbour {address}"))
}

fn unknown(address: IpAddr) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no BGP neighbour {address}"))
}

fn read(select: Select) -> Result<BgpSelect, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let prefix = match (&select.prefix, select.scope) {
        (None, Some(_)) => return Err(bad("match goes with prefix".into())),
        (None, None) => None,
        (Some(text), scope) => {
            // An address is a prefix of its length.
            let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let net = net.map_err(|_| bad(format!("prefix: {text:?} is neither a prefix nor an address")))?;
            Some((net.trunc(), scope.unwrap_or_default()))
        }
    };
    Ok(BgpSelect {
        family: select.family,
        prefix,
        after: select.after.map(|net| net.trunc()),
        limit: rows(select.limit),
    })
}

fn content<T: Default>(body: Option<Body<T>>) -> T {
    body.map(|Body(content)| content).unwrap_or_default()
}

/// A message that a NOTIFICATION carries whole, and that a terminal shows as it is.
fn communication(message: String) -> Result<String, Problem> {
    let wrong = |detail| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).at("/message"));
    if message.len() > MAX_MESSAGE {
        return wrong("message: longer than 255 octets");
    }
    if message.contains(char::is_control) {
        return wrong("message: has control characters");
    }
    Ok(message)
}

#[cfg(test)]
pub(crate) mod tests;
