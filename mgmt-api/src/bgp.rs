//! BGP: neighbours, routes page by page, and what may be done about a neighbour.

use crate::problem::Problem;
use crate::{Answer, acted, ask};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query as Parameters, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use controlplane::northbound::{
    BgpAction, BgpFamily, BgpMatch, BgpNeighbourInfo, BgpPage, BgpReceivedInfo, BgpRouteInfo, BgpSelect, BgpSentInfo,
    Northbound, Query,
};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;

/// Rows of a page, where the request does not say.
const PAGE: usize = 100;
/// Most rows of a page.
const MAX_PAGE: usize = 1000;
/// Octets of a message to the other operator (RFC 9003, section 2).
const MAX_MESSAGE: usize = 255;

pub(crate) fn routes() -> Router<Northbound> {
    Router::new()
        .route("/neighbours", get(neighbours))
        .route("/neighbours/{address}", get(neighbour))
        .route("/neighbours/{address}/routes/in", get(received))
        .route("/neighbours/{address}/routes/out", get(sent))
        .route("/neighbours/{address}/clear", post(clear))
        .route("/neighbours/{address}/soft-in", post(soft_in))
        .route("/neighbours/{address}/soft-out", post(soft_out))
        .route("/neighbours/{address}/disable", post(disable))
        .route("/neighbours/{address}/enable", post(enable))
        .route("/routes", get(loc_rib))
}

/// Which part of a table, as the request says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    family: Option<BgpFamily>,
    prefix: Option<String>,
    #[serde(rename = "match")]
    scope: Option<BgpMatch>,
    after: Option<IpNet>,
    limit: Option<usize>,
}

/// Part of an action's body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Clear {
    hard: bool,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Refresh {
    family: Option<BgpFamily>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Disable {
    message: String,
}

/// A body that may be left out.
type Body<T> = Result<Option<Json<T>>, JsonRejection>;
type Selected = Result<Parameters<Select>, QueryRejection>;

async fn neighbours(State(n): State<Northbound>) -> Answer<Vec<BgpNeighbourInfo>> {
    ask(&n, Query::BgpNeighbours).await.map(Json)
}

async fn neighbour(State(n): State<Northbound>, Path(address): Path<String>) -> Answer<BgpNeighbourInfo> {
    let address = parse(&address)?;
    let found = ask(&n, Query::BgpNeighbours).await?.into_iter().find(|info| info.address == address);
    found.map(Json).ok_or_else(|| unknown(address))
}

async fn loc_rib(State(n): State<Northbound>, select: Selected) -> Answer<BgpPage<BgpRouteInfo>> {
    let select = read(select)?;
    ask(&n, |to| Query::BgpRoutes(select, to)).await.map(Json)
}

async fn received(
    State(n): State<Northbound>,
    Path(address): Path<String>,
    select: Selected,
) -> Answer<BgpPage<BgpReceivedInfo>> {
    let (address, select) = (parse(&address)?, read(select)?);
    let page = ask(&n, |to| Query::BgpReceived(address, select, to)).await?;
    page.map(Json).ok_or_else(|| unknown(address))
}

async fn sent(
    State(n): State<Northbound>,
    Path(address): Path<String>,
    select: Selected,
) -> Answer<BgpPage<BgpSentInfo>> {
    let (address, select) = (parse(&address)?, read(select)?);
    let page = ask(&n, |to| Query::BgpSent(address, select, to)).await?;
    page.map(Json).ok_or_else(|| unknown(address))
}

async fn clear(n: State<Northbound>, address: Path<String>, body: Body<Clear>) -> Result<StatusCode, Problem> {
    let Clear { hard, message } = content(body)?;
    act(n, address, BgpAction::Clear { hard, message: communication(message)? }).await
}

async fn soft_in(n: State<Northbound>, address: Path<String>, body: Body<Refresh>) -> Result<StatusCode, Problem> {
    act(n, address, BgpAction::SoftIn(content(body)?.family)).await
}

async fn soft_out(n: State<Northbound>, address: Path<String>, body: Body<Refresh>) -> Result<StatusCode, Problem> {
    act(n, address, BgpAction::SoftOut(content(body)?.family)).await
}

async fn disable(n: State<Northbound>, address: Path<String>, body: Body<Disable>) -> Result<StatusCode, Problem> {
    act(n, address, BgpAction::Disable { message: communication(content(body)?.message)? }).await
}

async fn enable(n: State<Northbound>, address: Path<String>) -> Result<StatusCode, Problem> {
    act(n, address, BgpAction::Enable).await
}

async fn act(
    State(n): State<Northbound>,
    Path(address): Path<String>,
    action: BgpAction,
) -> Result<StatusCode, Problem> {
    let address = parse(&address)?;
    acted(ask(&n, |to| Query::BgpAct(address, action, to)).await?, &format!("BGP neighbour {address}"))
}

fn parse(address: &str) -> Result<IpAddr, Problem> {
    address.parse().map_err(|_| Problem::new(StatusCode::BAD_REQUEST, format!("{address:?} is not an address")))
}

fn unknown(address: IpAddr) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no BGP neighbour {address}"))
}

fn read(select: Selected) -> Result<BgpSelect, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Parameters(select) = select.map_err(|e| bad(e.body_text()))?;
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
        limit: select.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
    })
}

fn content<T: Default>(body: Body<T>) -> Result<T, Problem> {
    let body = body.map_err(|e| Problem::new(e.status(), e.body_text()))?;
    Ok(body.map(|Json(content)| content).unwrap_or_default())
}

/// A message that a NOTIFICATION carries whole, and that a terminal shows as it is.
fn communication(message: String) -> Result<String, Problem> {
    let wrong = |detail| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
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
