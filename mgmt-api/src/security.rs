//! IKE SAs, child SAs and the SPD.

use crate::document::Address;
use crate::extract::{Params, Segments};
use crate::page::select;
use crate::problem::Problem;
use crate::{Answer, AppState, ask, done};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controlplane::northbound::{ChildSaInfo, Cursor, IkeFilter, IkeSaInfo, Northbound, Page, Query, SpdInfo};
use serde::Deserialize;
use std::net::IpAddr;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(ike_sas))
        .routes(routes!(rekey_ike))
        .routes(routes!(child_sas))
        .routes(routes!(rekey_child))
        .routes(routes!(spd))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Ike {
    /// `next` of the page before.
    #[param(value_type = Cursor, inline, required = false)]
    after: Option<Cursor>,
    /// Most items: 100 where absent, 1000 where more.
    #[param(value_type = u32, maximum = 4294967295_u32, required = false)]
    limit: Option<u32>,
    /// The peer's identity.
    #[param(value_type = String, required = false)]
    id: Option<String>,
    /// The peer's address.
    #[param(value_type = Address, inline, required = false)]
    address: Option<IpAddr>,
    /// PAD entry.
    #[param(value_type = String, required = false)]
    pad: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Child {
    /// `next` of the page before.
    #[param(value_type = Cursor, inline, required = false)]
    after: Option<Cursor>,
    /// Most items: 100 where absent, 1000 where more.
    #[param(value_type = u32, maximum = 4294967295_u32, required = false)]
    limit: Option<u32>,
    /// Number of the IKE peer.
    #[param(value_type = u32, maximum = 4294967295_u32, required = false)]
    peer: Option<u32>,
}

/// IKE SAs, those that are not authenticated yet among them.
#[utoipa::path(get, path = "/ike-sas", tag = "security associations", params(Ike),
    responses((status = 200, body = Page<IkeSaInfo>)))]
async fn ike_sas(State(n): State<Northbound>, Params(asked): Params<Ike>) -> Answer<Page<IkeSaInfo>> {
    let Ike { after, limit, id, address, pad } = asked;
    let select = select(after, limit, IkeFilter { id, address, pad });
    ask(&n, |to| Query::IkeSas(select, to)).await.map(Json)
}

/// Rekeys an IKE SA.
#[utoipa::path(post, path = "/ike-sas/{peer}/rekey", tag = "security associations",
    params(("peer" = u32, Path, description = "Number of the IKE peer", maximum = 4294967295_u32)),
    responses((status = 202, description = "It is being rekeyed")))]
async fn rekey_ike(State(n): State<Northbound>, Segments(peer): Segments<u32>) -> Result<StatusCode, Problem> {
    done(ask(&n, |to| Query::RekeyIke(peer, to)).await?, &format!("IKE peer {peer}"))
}

/// Pairs of child SAs.
#[utoipa::path(get, path = "/child-sas", tag = "security associations", params(Child),
    responses((status = 200, body = Page<ChildSaInfo>)))]
async fn child_sas(State(n): State<Northbound>, Params(asked): Params<Child>) -> Answer<Page<ChildSaInfo>> {
    let select = select(asked.after, asked.limit, asked.peer);
    ask(&n, |to| Query::ChildSas(select, to)).await.map(Json)
}

/// Rekeys a pair of child SAs.
#[utoipa::path(post, path = "/child-sas/{spi}/rekey", tag = "security associations",
    params(("spi" = String, Path, description = "Inbound SPI, hexadecimal", pattern = "^[0-9a-f]{1,8}$")),
    responses((status = 202, description = "It is being rekeyed")))]
async fn rekey_child(State(n): State<Northbound>, Segments(spi): Segments<String>) -> Result<StatusCode, Problem> {
    let number = u32::from_str_radix(&spi, 16).ok().filter(|_| !spi.starts_with('+'));
    let number =
        number.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, format!("{spi} is not a hexadecimal SPI")))?;
    done(ask(&n, |to| Query::RekeyChild(number, to)).await?, &format!("child SA {spi}"))
}

/// The security policy database, in the order in which it is searched.
#[utoipa::path(get, path = "/spd", tag = "security associations", responses((status = 200, body = Vec<SpdInfo>)))]
async fn spd(State(n): State<Northbound>) -> Answer<Vec<SpdInfo>> {
    ask(&n, Query::Spd).await.map(Json)
}
