//! Where the API listens: TLS on a TCP port, and a unix socket for whoever is on the machine. HTTP/1.1 on both.
//!
//! Strangers may open connections: how many there are at once, in all and from one source, and how long a handshake and the
//! head of a request may take, is bounded. Those of the unix socket do not count among them, so that the operator always gets
//! in.

use super::{Peer, limit, tls};
use anyhow::{Context, bail};
use axum::Router;
use controlplane::config::Api;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Connections by TLS at once.
const CONNECTIONS: usize = 256;
/// And from one source; what is over it is closed at once.
const FROM_ONE: usize = 32;
/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Until the head of a request is there; also how long an idle connection is kept.
const HEAD: Duration = Duration::from_secs(30);
/// For requests that are being answered when we are told to stop.
const GRACE: Duration = Duration::from_secs(3);
/// Until we listen again after an error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Sockets that are there.
pub(crate) struct Listening {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    local: Option<Local>,
}

/// A unix socket; its file goes with it.
struct Local {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listening {
    /// Opens them.
    pub async fn open(api: &Api) -> anyhow::Result<Self> {
        let acceptor = tls::acceptor(api)?;
        let tcp = TcpListener::bind(api.listen)
            .await
            .with_context(|| format!("api.listen: cannot listen on {} for the API", api.listen))?;
        let local = api.socket.as_deref().map(Path::new).map(local).transpose().context("api.socket")?;
        Ok(Self { tcp, acceptor, local })
    }

    /// Address and port for TLS.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop` resolves, and what is being answered then a little longer.
    pub async fn serve(self, app: Router, stop: impl Future<Output = ()>) {
        let (stopping, told) = watch::channel(false);
        let (mut remote, mut near) = (JoinSet::new(), JoinSet::new());
        let sources = Sources::default();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.tcp.accept(), if remote.len() < CONNECTIONS => match accepted {
                    Ok((stream, address)) => {
                        let Some(place) = sources.enter(address.ip()) else {
                            tracing::debug!(%address, "a source has too many connections");
                            continue;
                        };
                        let served = secured(stream, address, self.acceptor.clone(), app.clone(), told.clone());
                        remote.spawn(async move {
                            let _place = place;
                            served.await;
                        });
                    }
                    Err(e) => pause(&e).await,
                },
                accepted = next(self.local.as_ref()) => match accepted {
                    Ok(stream) => drop(near.spawn(beside(stream, app.clone(), told.clone()))),
                    Err(e) => pause(&e).await,
                },
                Some(_) = remote.join_next() => {}
                Some(_) = near.join_next() => {}
            }
        }
        drop(self);
        let _ = stopping.send(true);
        let rest = async { while remote.join_next().await.is_some() || near.join_next().await.is_some() {} };
        let _ = timeout(GRACE, rest).await;
    }
}

/// How many connections each source has.
#[derive(Clone, Default)]
struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of a connection among those of its source: given back however the connection ends.
struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    fn enter(&self, from: IpAddr) -> Option<Place> {
        let source = limit::source(from);
        let mut counts = self.counts();
        let count = counts.entry(source).or_insert(0);
        if *count >= FROM_ONE {
            return None;
        }
        *count += 1;
        Some(Place { sources: self.clone(), source })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.counts();
        match counts.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.source)),
        }
    }
}

async fn next(local: Option<&Local>) -> std::io::Result<UnixStream> {
    match local {
        Some(local) => local.listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "the API takes no connection");
    sleep(PAUSE).await;
}

/// Binds it for us alone. What a gateway that is no more has left there goes.
fn local(path: &Path) -> anyhow::Result<Local> {
    let shown = path.display();
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| shown.to_string())?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => bail!("{shown} is there, and is no socket"),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => bail!("{shown}: somebody answers there"),
        Ok(_) => std::fs::remove_file(path).with_context(|| shown.to_string())?,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| shown.to_string()),
    }
    let listener = UnixListener::bind(path).with_context(|| shown.to_string())?;
    let local = Local { listener, path: path.to_owned() };
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).with_context(|| shown.to_string())?;
    Ok(local)
}

async fn secured(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    app: Router,
    told: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no TLS"),
        Err(_) => return tracing::debug!(%address, "the TLS handshake takes too long"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.map(|certificate| Arc::from(tls::names(certificate)));
    connection(stream, Peer::Remote { address, certificate }, app, told).await;
}

async fn beside(stream: UnixStream, app: Router, told: watch::Receiver<bool>) {
    match stream.peer_cred() {
        Ok(credentials) => connection(stream, Peer::Local { uid: credentials.uid() }, app, told).await,
        Err(error) => tracing::warn!(%error, "the unix socket's peer has no credentials"),
    }
}

async fn connection(io: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, app: Router, mut told: watch::Receiver<bool>) {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        app.call(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(told.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_given_back_by_a_task_that_panics_too() {
        let sources = Sources::default();
        let within = |n: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
        let mut places: Vec<Place> = (0..FROM_ONE as u128).map(|n| sources.enter(within(n)).unwrap()).collect();
        assert!(sources.enter(within(99)).is_none(), "a /64 is one source");
        assert!(sources.enter(within(1 << 64)).is_some() && sources.enter([192, 0, 2, 1].into()).is_some());
        let place = places.pop();
        let ended = tokio::spawn(async move {
            let _place = place;
            panic!("a handler's");
        });
        assert!(ended.await.is_err());
        assert!(sources.enter(within(99)).is_some());
        places.clear();
        assert!(sources.counts().is_empty(), "nothing is kept of who has gone");
    }
}
