//! The drain: nobody new is let in; who is there may stay, or is ended.

use crate::extract::Body;
use crate::{Answer, AppState, ask};
use axum::Json;
use axum::extract::State;
use controlplane::northbound::{DrainInfo, DrainOrder, Northbound, Query};
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Time for a teardown, where the request does not say, and the longest.
const WITHIN: u32 = 60;
const MAX_WITHIN: u32 = 86_400;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(drain, begin, end))
}

/// What becomes of those who are there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    /// They stay until they go by themselves.
    Refuse {},
    /// They are ended: StopCCN, then the IKE SA.
    Teardown {
        /// Seconds that it takes, evenly: 60 where absent, a day at most.
        #[serde(default)]
        #[schema(maximum = 4294967295_u32)]
        within: Option<u32>,
    },
}

/// How far the drain has come.
#[utoipa::path(get, path = "/drain", tag = "drain", responses((status = 200, body = DrainInfo)))]
async fn drain(State(n): State<Northbound>) -> Answer<DrainInfo> {
    ask(&n, Query::Drain).await.map(Json)
}

/// Lets nobody new in: IKE SAs, tunnels and sessions of subscribers are turned away. AFBRs of the mesh are not.
#[utoipa::path(post, path = "/drain", tag = "drain", request_body = Order,
    responses((status = 200, body = DrainInfo)))]
async fn begin(State(n): State<Northbound>, Body(order): Body<Order>) -> Answer<DrainInfo> {
    let order = match order {
        Order::Refuse {} => DrainOrder::Refuse,
        Order::Teardown { within } => {
            DrainOrder::Teardown(Duration::from_secs(within.unwrap_or(WITHIN).min(MAX_WITHIN).into()))
        }
    };
    ask(&n, |to| Query::SetDrain(Some(order), to)).await.map(Json)
}

/// Lets everybody in again. Who has not been ended yet stays.
#[utoipa::path(delete, path = "/drain", tag = "drain", responses((status = 200, body = DrainInfo)))]
async fn end(State(n): State<Northbound>) -> Answer<DrainInfo> {
    ask(&n, |to| Query::SetDrain(None, to)).await.map(Json)
}
