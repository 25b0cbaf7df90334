//! Softwires to other AFBRs, the profiles that protect them, and BFD.

use crate::extract::{Params, Segments};
use crate::page::PageParams;
use crate::problem::Problem;
use crate::{Answer, AppState, acted, ask};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controlplane::northbound::{BfdInfo, Northbound, Page, ProfileInfo, Query, SoftwireInfo};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(softwires))
        .routes(routes!(rekey_softwire))
        .routes(routes!(profiles))
        .routes(routes!(bfd))
}

/// Softwires to other AFBRs.
#[utoipa::path(get, path = "/softwires", tag = "mesh", params(PageParams),
    responses((status = 200, body = Page<SoftwireInfo>)))]
async fn softwires(State(n): State<Northbound>, Params(asked): Params<PageParams>) -> Answer<Page<SoftwireInfo>> {
    ask(&n, |to| Query::Softwires(asked.select(), to)).await.map(Json)
}

/// Rekeys the SA of a softwire.
#[utoipa::path(post, path = "/softwires/{id}/rekey", tag = "mesh",
    params(("id" = u16, Path, description = "Its number", maximum = 65535)),
    responses((status = 202, description = "It is being rekeyed"), (status = 409, description = "It has no SA to rekey")))]
async fn rekey_softwire(State(n): State<Northbound>, Segments(id): Segments<u16>) -> Result<StatusCode, Problem> {
    acted(ask(&n, |to| Query::RekeySoftwire(id, to)).await?, &format!("softwire {id}"))
}

/// IPsec profiles of the mesh, and what is bound to them.
#[utoipa::path(get, path = "/mesh/profiles", tag = "mesh", responses((status = 200, body = Vec<ProfileInfo>)))]
async fn profiles(State(n): State<Northbound>) -> Answer<Vec<ProfileInfo>> {
    ask(&n, Query::Profiles).await.map(Json)
}

/// BFD sessions.
#[utoipa::path(get, path = "/bfd", tag = "mesh", responses((status = 200, body = Vec<BfdInfo>)))]
async fn bfd(State(n): State<Northbound>) -> Answer<Vec<BfdInfo>> {
    ask(&n, Query::Bfd).await.map(Json)
}
