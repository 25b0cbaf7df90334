//! What happens, as it happens: a stream of server-sent events.
//!
//! ```text
//! event: session.up
//! id: 4711
//! data: {"at":"2026-11-26T10:00:00.123Z","kind":"session.up","id":"256.1","user":"alice",...}
//! ```
//!
//! A reader that is too slow loses the oldest events and is told `event: lagged`, `data: {"lost":N}`. There is no memory of
//! what happened before; after a reconnection the lists tell what is. The stream ends with the control plane, and with the
//! token that it was asked for by: at once when that is taken back, soon when it expires.

use crate::AppState;
use crate::access::Login;
use crate::extract::Params;
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use controlplane::northbound::{Northbound, Notice};
use futures_util::stream::{Stream, StreamExt, unfold};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What kinds begin with.
const FAMILIES: [&str; 7] = ["session", "ike", "child", "bgp", "softwire", "config", "drain"];

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Kinds, by comma: `session`, `ike`, `child`, `bgp`, `softwire`, `config`, `drain`. All where absent.
    #[param(
        pattern = "^(session|ike|child|bgp|softwire|config|drain)(,(session|ike|child|bgp|softwire|config|drain))*$"
    )]
    kinds: Option<String>,
}

/// Events from now on: `text/event-stream`. Each has its kind as `event`, a number that counts up as `id`, and as `data` the
/// object that is described here.
#[utoipa::path(get, path = "/events", tag = "events", params(Asked),
    responses((status = 200, body = Notice, content_type = "text/event-stream")))]
async fn events(
    State(n): State<Northbound>,
    login: Option<Extension<Login>>,
    Params(asked): Params<Asked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let kinds: Option<Vec<String>> = asked.kinds.map(|k| k.split(',').map(str::to_owned).collect());
    if let Some(unknown) = kinds.iter().flatten().find(|k| !FAMILIES.contains(&k.as_str())) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, format!("kinds: {unknown:?} is none")));
    }
    let reader = Reader { listener: n.events(), control: n, kinds };
    let stream = unfold(reader, |mut reader| async move { reader.next().await.map(|event| (Ok(event), reader)) });
    let over = async {
        match login {
            Some(Extension(login)) => login.over().await,
            None => std::future::pending().await,
        }
    };
    Ok(Sse::new(stream.take_until(over)).keep_alive(KeepAlive::default()))
}

struct Reader {
    listener: Receiver<Arc<Notice>>,
    control: Northbound,
    kinds: Option<Vec<String>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let told = tokio::select! {
                // What was told before the control plane went is told first.
                biased;
                told = self.listener.recv() => told,
                () = self.control.gone() => return None,
            };
            match told {
                Ok(notice) if self.wants(&notice) => return Some(event(&notice)),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    return Some(Event::default().event("lagged").data(format!("{{\"lost\":{lost}}}")));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, notice: &Notice) -> bool {
        let family = notice.event.kind().split('.').next();
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|k| Some(k.as_str()) == family))
    }
}

fn event(notice: &Notice) -> Event {
    // Plain structures always become JSON.
    let data = serde_json::to_string(notice).unwrap_or_default();
    Event::default().event(notice.event.kind()).id(notice.id.to_string()).data(data)
}

#[cfg(test)]
mod tests;
