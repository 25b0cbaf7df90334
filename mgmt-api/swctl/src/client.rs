//! HTTP/1.1 to the gateway: over its Unix socket, or over TLS with a token or a certificate. Commands ask one thing after
//! the other, so this is a blocking client with a runtime of its own and one connection that is opened when needed.

use crate::error::Error;
use crate::settings::{Address, Gateway};
use crate::tls;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_MATCH};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// For a connection to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer. A large configuration takes its time.
const ANSWER: Duration = Duration::from_secs(60);
/// What stands in a path or a query as it is (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Escapes a segment of a path, or a value of a query.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A query: `?a=1&b=2` of those that have a value.
pub fn query(parameters: &[(&str, Option<String>)]) -> String {
    let set = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_ref()?))));
    let joined = set.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Version of a configuration.
    pub etag: Option<String>,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; null when it is empty.
    pub fn json(&self) -> Result<Value, Error> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|e| Error::Unreachable(format!("this is no gateway's answer: {e}")))
    }
}

/// A body that comes bit by bit.
pub struct Stream(Incoming);

/// A gateway.
pub struct Client {
    runtime: Runtime,
    /// Where it listens.
    pub address: Address,
    tls: Option<TlsConnector>,
    authorization: Option<HeaderValue>,
    connection: RefCell<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// For a gateway; nothing is sent yet.
    pub fn new(gateway: &Gateway) -> Result<Self, Error> {
        let address = gateway.address()?;
        let tls = match address {
            Address::Tcp(..) => Some(tls::connector(gateway)?),
            Address::Socket(_) => None,
        };
        let authorization = gateway.token_file.as_deref().map(bearer).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, address, tls, authorization, connection: RefCell::new(None) })
    }

    /// Runs a future, and the connection meanwhile.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// `GET /api/v1...`, as JSON.
    pub fn get(&self, path: &str) -> Result<Value, Error> {
        self.call("GET", path, None, None)?.json()
    }

    /// `POST /api/v1...`, as JSON.
    pub fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        self.call("POST", path, body, None)?.json()
    }

    /// `DELETE /api/v1...`.
    pub fn delete(&self, path: &str) -> Result<(), Error> {
        self.call("DELETE", path, None, None).map(drop)
    }

    /// Any request; `version` goes into If-Match.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>, version: Option<&str>) -> Result<Reply, Error> {
        self.run(async {
            let answer = async {
                let response = self.send(method, path, body, version).await?;
                let (status, etag) = (response.status(), response.headers().get(ETAG).cloned());
                let body = response.into_body().collect().await.map_err(|e| self.lost(e))?.to_bytes();
                if status.is_success() {
                    let etag = etag.and_then(|v| v.to_str().ok().map(str::to_owned));
                    return Ok(Reply { etag, body });
                }
                let title = status.canonical_reason().unwrap_or("Error");
                Err(Error::Refused { status: status.as_u16(), text: problem(&body, title) })
            };
            tokio::time::timeout(ANSWER, answer).await.map_err(|_| self.lost("no answer within a minute"))?
        })
    }

    /// An answer that does not end.
    pub fn stream(&self, path: &str) -> Result<Stream, Error> {
        self.run(async {
            let response = self.send("GET", path, None, None).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(Stream(response.into_body()));
            }
            let body = response.into_body().collect().await.map_err(|e| self.lost(e))?.to_bytes();
            let title = status.canonical_reason().unwrap_or("Error");
            Err(Error::Refused { status: status.as_u16(), text: problem(&body, title) })
        })
    }

    /// More of it; `None` at its end.
    pub fn more(&self, stream: &mut Stream) -> Result<Option<Bytes>, Error> {
        self.run(async {
            while let Some(frame) = stream.0.frame().await {
                if let Ok(data) = frame.map_err(|e| self.lost(e))?.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(None)
        })
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        version: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let host = match &self.address {
            Address::Socket(_) => "localhost".to_owned(),
            tcp => tcp.to_string(),
        };
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}")).header(HOST, host);
        request = request.header(ACCEPT, "*/*");
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(version) = version {
            request = request.header(IF_MATCH, version);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|e| Error::Usage(e.to_string()))?;
        let mut connection = self.ready().await?;
        let response = connection.send_request(request).await.map_err(|e| self.lost(e))?;
        *self.connection.borrow_mut() = Some(connection);
        Ok(response)
    }

    // The connection of the last request, if it is still there.
    async fn ready(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let last = self.connection.borrow_mut().take();
        if let Some(mut connection) = last
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let connected = tokio::time::timeout(CONNECT, self.connect()).await;
        connected.map_err(|_| self.lost("no connection within five seconds"))?
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        match (&self.address, &self.tls) {
            (Address::Tcp(host, port), Some(tls)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| Error::Usage(format!("{host:?} is neither a host name nor an address")))?;
                let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| self.lost(e))?;
                let stream = tls.connect(name, tcp).await.map_err(|e| self.lost(tls::why(&e)))?;
                self.http(stream).await
            }
            (Address::Socket(path), _) => self.http(UnixStream::connect(path).await.map_err(|e| self.lost(e))?).await,
            (Address::Tcp(..), None) => Err(self.lost("TLS is not set up")),
        }
    }

    async fn http<T>(&self, io: T) -> Result<SendRequest<Full<Bytes>>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(io)).await.map_err(|e| self.lost(e))?;
        // What goes wrong shows at the request that waits.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn lost(&self, why: impl std::fmt::Display) -> Error {
        Error::Unreachable(format!("the gateway at {} does not answer: {why}", self.address))
    }
}

/// The rows of a list, or of a page of one.
pub fn rows(answer: &Value) -> &[Value] {
    let list = answer.as_array().or_else(|| answer.as_object()?.values().find_map(Value::as_array));
    list.map_or(&[], Vec::as_slice)
}

/// A list that comes in pages, up to `limit` rows: its first page with the rows of all.
pub fn pages(client: &Client, path: &str, filters: &[(&str, Option<String>)], limit: usize) -> Result<Value, Error> {
    const PAGE: usize = 1000;
    let mut whole: Option<Value> = None;
    let mut after = None;
    loop {
        let had = whole.as_ref().map_or(0, |w| rows(w).len());
        let mut parameters = filters.to_vec();
        parameters.push(("limit", Some((limit - had).min(PAGE).to_string())));
        parameters.push(("after", after));
        let mut page = client.get(&format!("{path}{}", query(&parameters)))?;
        // Commits go by numbers, everything else by text.
        let next = page["next"].as_str().map(str::to_owned).or_else(|| page["next"].as_u64().map(|n| n.to_string()));
        if let Some(first) = &whole {
            let joined = [rows(first), rows(&page)].concat();
            if let Some(list) = page.as_object_mut().and_then(|p| p.values_mut().find(|v| v.is_array())) {
                *list = Value::Array(joined);
            }
        }
        whole = Some(page);
        // A page may be empty and not the last: what a filter leaves out is looked at so much at a time.
        match next {
            Some(next) if whole.as_ref().is_some_and(|w| rows(w).len() < limit) => after = Some(next),
            _ => return Ok(whole.unwrap_or_default()),
        }
    }
}

// The value of the Authorization header. A token that others can read is no secret any more.
fn bearer(file: &Path) -> Result<HeaderValue, Error> {
    let mode = std::fs::metadata(file).map_err(|e| Error::file(file, e))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::file(file, "others may read this token (chmod 600)"));
    }
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?);
    let header = Zeroizing::new(format!("Bearer {}", text.trim()));
    let mut value = HeaderValue::from_str(&header).map_err(|_| Error::file(file, "is no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a problem document (RFC 9457) says, a line for each error in it.
fn problem(body: &[u8], title: &str) -> String {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = |at: &Value| {
        let detail = at["detail"].as_str().or(at["title"].as_str()).unwrap_or(title).to_owned();
        at["path"].as_str().map_or(detail.clone(), |path| format!("{path}: {detail}"))
    };
    let errors = document["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    std::iter::once(said(&document))
        .chain(errors.iter().map(|e| format!("  {}", said(e))))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn problems_name_what_is_wrong() {
        let body = json!({ "title": "Unprocessable Content", "detail": "the configuration is invalid",
            "errors": [{ "path": "/listeners/0/address", "detail": "is no port's" }] });
        let text = problem(body.to_string().as_bytes(), "x");
        assert_eq!(text, "the configuration is invalid\n  /listeners/0/address: is no port's");
        assert_eq!(problem(b"<html>", "Bad Gateway"), "Bad Gateway");
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(query(&[("a", Some("x y&z".into())), ("b", None), ("c", Some("1".into()))]), "?a=x%20y%26z&c=1");
    }
}
