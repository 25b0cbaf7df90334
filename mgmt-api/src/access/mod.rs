//! Who may use the API, and for what.
//!
//! | comes by | proves itself by | is |
//! |---|---|---|
//! | the unix socket | the kernel's word (SO_PEERCRED) that it is root or our own user | `local:USER`, admin |
//! | TLS | `Authorization: Bearer swgw_ID_SECRET` | `token:NAME`, of the token's role |
//! | TLS | a certificate under `client_ca` that has the name of one of `clients` | `certificate:NAME`, of its role |
//! | the unix socket, with a token | both | `token:NAME`, of the token's role |
//!
//! ```text
//!   TCP ── tls ──┐ Peer                     Caller
//!                ├──────► guard: who is it? ──────► may it? ── handler ── audit
//!   unix socket ─┘          limit, tokens            roles
//! ```
//!
//! The guard stands before all routes, so that one is either open to anybody by name ([`roles`]) or closed. A token wins over
//! a certificate and the kernel's word, for it is what the request itself says. What goes on for long asks [`Login`] when to
//! end.

mod audit;
mod limit;
mod listen;
mod roles;
mod store;
mod tls;
pub(crate) mod tokens;

pub(crate) use listen::Listening;

use crate::problem::Problem;
use anyhow::Context;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use controlplane::config::{Api, Role};
use limit::Limiter;
use nix::unistd::{Uid, User};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use store::{Holder, Tokens};
use tokio::time::timeout;

/// How often a login is looked at that something long goes on by: the clock of the system may be set.
const LOOK: Duration = Duration::from_secs(15);

/// Who asks; in the extensions of every request that is not open to anybody, and so are [`Access`] and [`Login`].
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `local:USER`, `token:NAME` or `certificate:NAME`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Address and port, or `socket`.
    pub from: String,
}

/// The other end of a connection, as the connection shows it.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// By the unix socket.
    Local {
        /// As the kernel says.
        uid: u32,
    },
    /// By TLS.
    Remote {
        /// Where it comes from.
        address: SocketAddr,
        /// Names in its certificate, if it came with one that is good.
        certificate: Option<Arc<[String]>>,
    },
}

/// What a caller has come in by, for answers that outlast it.
#[derive(Clone)]
pub(crate) struct Login {
    access: Arc<Access>,
    /// Id of the token, if it was one.
    token: Option<String>,
}

impl Login {
    /// Until it is good no more: when its token is taken back, and soon after it has expired.
    pub async fn over(self) {
        let Some(id) = self.token else { return std::future::pending().await };
        let tokens = &self.access.tokens;
        let mut changes = tokens.changes();
        while tokens.is_good(&id, SystemTime::now()) {
            let _ = timeout(LOOK, changes.changed()).await;
        }
    }
}

/// Why somebody is turned away.
#[derive(Debug)]
enum Refusal {
    /// It has not said who it is.
    Unknown,
    /// What it said is not true, or no longer.
    Wrong,
    /// It may not.
    Forbidden(&'static str),
    /// It may try again then.
    Later(Duration),
}

/// What is known of those who may.
pub(crate) struct Access {
    tokens: Tokens,
    limiter: Mutex<Limiter>,
    clients: HashMap<String, Role>,
    locals: HashMap<u32, String>,
}

impl Access {
    /// Reads the tokens.
    pub fn open(api: &Api) -> anyhow::Result<Self> {
        let state = Path::new(&api.state);
        std::fs::create_dir_all(state).with_context(|| format!("api.state: {}", state.display()))?;
        Ok(Self {
            tokens: Tokens::open(state.join("tokens.json"))?,
            limiter: Mutex::new(Limiter::new()),
            clients: api.clients.iter().map(|c| (c.name.clone(), c.role)).collect(),
            locals: [Uid::from_raw(0), Uid::effective()].map(|uid| (uid.as_raw(), user(uid))).into(),
        })
    }

    /// Puts the guard before all of `router`'s routes.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::clone(self), guard))
    }

    /// Who it is, and the id of its token if it came with one.
    async fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> Result<(Caller, Option<String>), Refusal> {
        let user = match peer {
            Peer::Local { uid } => {
                let stranger = Refusal::Forbidden("the socket is for root and our own user");
                Some(self.locals.get(uid).ok_or(stranger)?)
            }
            Peer::Remote { .. } => None,
        };
        let from = peer.address().map_or_else(|| "socket".to_owned(), |address| address.to_string());
        if let Some(credentials) = headers.get(header::AUTHORIZATION) {
            let Holder { id, name, role } = self.log_in(peer, credentials).await?;
            return Ok((Caller { name: format!("token:{name}"), role, from }, Some(id)));
        }
        if let Some(user) = user {
            return Ok((Caller { name: format!("local:{user}"), role: Role::Admin, from }, None));
        }
        let names = peer.certificate().ok_or(Refusal::Unknown)?;
        let known = names.iter().find_map(|name| Some((name, *self.clients.get(name)?)));
        let (name, role) = known.ok_or(Refusal::Forbidden("the certificate has no name of a client"))?;
        Ok((Caller { name: format!("certificate:{name}"), role, from }, None))
    }

    /// One try of a token is taken from the source's allowance, and given back when the token is right. Who is on the machine
    /// has nothing to win by trying.
    async fn log_in(&self, peer: &Peer, credentials: &HeaderValue) -> Result<Holder, Refusal> {
        let token = bearer(credentials).unwrap_or_default();
        if let Some(found) = self.tokens.seen(token, SystemTime::now()) {
            return Ok(found);
        }
        let source = peer.address().map(|address| address.ip());
        if let Some(source) = source {
            self.limiter().take(Instant::now(), source).map_err(Refusal::Later)?;
        }
        let found = self.tokens.verify(token, SystemTime::now()).await.ok_or(Refusal::Wrong)?;
        if let Some(source) = source {
            self.limiter().give_back(source);
        }
        Ok(found)
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of an `Authorization` header (RFC 6750).
fn bearer(credentials: &HeaderValue) -> Option<&str> {
    let (scheme, token) = credentials.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Looked up once: afterwards no request waits for a directory of users.
fn user(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let need = match matched.as_deref().map(|path| roles::need(path, request.method())) {
        Some(Some(need)) => need,
        Some(None) => return Refusal::Forbidden("nobody may: there is no rule for this resource").into_response(),
        // It will be told that there is no such resource, once it is known.
        None => Some(Role::Read),
    };
    let Some(need) = need else { return next.run(request).await };
    let caller = match request.extensions().get::<Peer>() {
        Some(peer) => access.authenticate(peer, request.headers()).await,
        None => Err(Refusal::Unknown),
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let source = || request.extensions().get::<Peer>().map_or_else(String::new, Peer::source);
    let (caller, token) = match caller {
        Ok(known) => known,
        Err(refusal) => {
            audit::turned_away(&source(), &method, &path, &refusal);
            return refusal.into_response();
        }
    };
    let audited = need == Role::Admin || !method.is_safe();
    let response = if caller.role < need {
        Refusal::Forbidden("the role does not reach that far").into_response()
    } else if !method.is_safe() && cross_site(request.headers()) {
        Refusal::Forbidden("another site has made the browser ask for it").into_response()
    } else {
        request.headers_mut().remove(header::AUTHORIZATION);
        request.extensions_mut().insert(caller.clone());
        request.extensions_mut().insert(Login { access: Arc::clone(&access), token });
        request.extensions_mut().insert(access);
        next.run(request).await
    };
    if audited {
        audit::operate(&caller, &method, &path, response.status());
    }
    response
}

/// A browser offers a certificate to whatever page makes it ask: those of others are told by their origin.
fn cross_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    origin.as_bytes().strip_prefix(b"https://") != host
}

impl Peer {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Local { .. } => None,
            Self::Remote { address, .. } => Some(*address),
        }
    }

    fn certificate(&self) -> Option<&[String]> {
        match self {
            Self::Local { .. } => None,
            Self::Remote { certificate, .. } => certificate.as_deref(),
        }
    }

    fn source(&self) -> String {
        match self {
            Self::Local { uid } => format!("socket (uid {uid})"),
            Self::Remote { address, .. } => address.to_string(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, detail, header) = match self {
            Self::Unknown => {
                (StatusCode::UNAUTHORIZED, "say who you are: by a token or a certificate", Some("Bearer".to_owned()))
            }
            Self::Wrong => (
                StatusCode::UNAUTHORIZED,
                "the token is not known, has expired, or is no token",
                Some("Bearer error=\"invalid_token\"".to_owned()),
            ),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, why, None),
            Self::Later(wait) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens from your address",
                Some((wait.as_millis().div_ceil(1000)).max(1).to_string()),
            ),
        };
        let name = if status == StatusCode::UNAUTHORIZED { header::WWW_AUTHENTICATE } else { header::RETRY_AFTER };
        let mut response = Problem::new(status, detail).into_response();
        if let Some(value) = header.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(test)]
pub(crate) mod tests;
