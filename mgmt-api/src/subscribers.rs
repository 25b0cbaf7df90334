//! Subscribers, and L2TP's view of them.

use crate::document::Address;
use crate::extract::{Params, Segments};
use crate::page::select;
use crate::problem::Problem;
use crate::{Answer, AppState, ask, done};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controlplane::northbound::{Cursor, Northbound, Page, Query, Select, SubscriberFilter, SubscriberInfo};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(subscribers))
        .routes(routes!(subscriber, disconnect))
        .routes(routes!(tunnels))
        .routes(routes!(sessions))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// `next` of the page before.
    #[param(value_type = Cursor, inline, required = false)]
    after: Option<Cursor>,
    /// Most items: 100 where absent, 1000 where more.
    #[param(value_type = u32, maximum = 4294967295_u32, required = false)]
    limit: Option<u32>,
    /// PPP user.
    #[param(value_type = String, required = false)]
    user: Option<String>,
    /// Name of the listener.
    #[param(value_type = String, required = false)]
    listener: Option<String>,
    /// State: `tunnel`, `lcp`, `authorizing`, `network`, `open`, `closing`.
    #[param(value_type = String, required = false)]
    state: Option<String>,
    /// Outer address, or an inner one.
    #[param(value_type = Address, inline, required = false)]
    address: Option<IpAddr>,
}

impl Asked {
    fn select(self) -> Select<SubscriberFilter> {
        let Self { after, limit, user, listener, state, address } = self;
        select(after, limit, SubscriberFilter { user, listener, state, address })
    }
}

async fn page(n: &Northbound, asked: Asked) -> Result<Page<SubscriberInfo>, Problem> {
    ask(n, |to| Query::Subscribers(asked.select(), to)).await
}

/// Subscribers with their softwires.
#[utoipa::path(get, path = "/subscribers", tag = "subscribers", params(Asked),
    responses((status = 200, body = Page<SubscriberInfo>)))]
async fn subscribers(State(n): State<Northbound>, Params(asked): Params<Asked>) -> Answer<Page<SubscriberInfo>> {
    page(&n, asked).await.map(Json)
}

/// One subscriber.
#[utoipa::path(get, path = "/subscribers/{id}", tag = "subscribers",
    params(("id" = String, Path, description = "`tunnel.session`")),
    responses((status = 200, body = SubscriberInfo)))]
async fn subscriber(State(n): State<Northbound>, Segments(id): Segments<String>) -> Answer<SubscriberInfo> {
    let numbers = id.split_once('.').and_then(|(t, s)| Some((t.parse().ok()?, s.parse().ok()?)));
    let found = match numbers {
        Some((tunnel, session)) => ask(&n, |to| Query::Subscriber(tunnel, session, to)).await?,
        None => None,
    };
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no subscriber {id}")))
}

/// Ends a subscriber's softwire in order, or all of a user.
#[utoipa::path(delete, path = "/subscribers/{id}", tag = "subscribers",
    params(("id" = String, Path, description = "`tunnel.session`, or a PPP user")),
    responses((status = 202, description = "It is on its way down")))]
async fn disconnect(State(n): State<Northbound>, Segments(id): Segments<String>) -> Result<StatusCode, Problem> {
    let what = format!("subscriber {id}");
    done(ask(&n, |to| Query::Disconnect(id, to)).await?, &what)
}

/// An L2TP tunnel; in a softwire it has one session.
#[derive(Debug, Serialize, ToSchema)]
struct Tunnel {
    /// Our id.
    tunnel: u16,
    /// The peer's id.
    peer_tunnel: u16,
    /// Outer address and port.
    #[schema(value_type = String)]
    outer: SocketAddr,
    /// Identity that IKE authenticated.
    ike_id: Option<String>,
}

/// L2TP tunnels.
#[utoipa::path(get, path = "/tunnels", tag = "subscribers", params(Asked),
    responses((status = 200, body = Page<Tunnel>)))]
async fn tunnels(State(n): State<Northbound>, Params(asked): Params<Asked>) -> Answer<Page<Tunnel>> {
    let row =
        |s: SubscriberInfo| Tunnel { tunnel: s.tunnel, peer_tunnel: s.peer_tunnel, outer: s.outer, ike_id: s.ike_id };
    Ok(Json(page(&n, asked).await?.map(row)))
}

/// An L2TP session.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// Our tunnel id.
    tunnel: u16,
    /// Our id.
    session: u16,
    /// The peer's id.
    peer_session: u16,
    /// PPP user.
    user: Option<String>,
    /// Largest inner packet.
    mtu: u16,
    /// As the subscriber's.
    state: &'static str,
}

/// L2TP sessions.
#[utoipa::path(get, path = "/sessions", tag = "subscribers", params(Asked),
    responses((status = 200, body = Page<Session>)))]
async fn sessions(State(n): State<Northbound>, Params(asked): Params<Asked>) -> Answer<Page<Session>> {
    let row = |s: SubscriberInfo| Session {
        tunnel: s.tunnel,
        session: s.session,
        peer_session: s.peer_session,
        user: s.user,
        mtu: s.mtu,
        state: s.state,
    };
    Ok(Json(page(&n, asked).await?.map(row)))
}
