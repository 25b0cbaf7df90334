//! Where log lines go: to standard error, as text or JSON, and by OTLP to a collector of OpenTelemetry's where
//! `$OTEL_EXPORTER_OTLP_ENDPOINT` names one.
//!
//! ```text
//! tracing ──┬── lines ── standard error, which is the journal
//!           └── bridge ─ batches ─ a thread of the SDK's ─ HTTP, protobuf ─ collector
//! ```
//!
//! `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BLRP_*` count as OpenTelemetry says. The
//! collector is one on this machine, so there is no TLS. One that is away costs lines, and never holds the gateway up.

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Names the collector.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long a batch may take, and the last ones at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// What speaks while lines are on their way: a line about it would make another line.
const CARRIERS: [&str; 3] = ["hyper", "h2", "opentelemetry"];

/// How log lines look.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object per line.
    Json,
}

/// Log lines on their way to a collector.
pub(crate) struct Telemetry(Option<SdkLoggerProvider>);

impl Telemetry {
    /// Sets up logging for the whole process; fails when what names the collector is no address.
    pub(crate) fn init(format: LogFormat, runtime: &Handle) -> anyhow::Result<Self> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let lines =
            tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let provider = match std::env::var(ENDPOINT) {
            Ok(base) => {
                let url = format!("{}/v1/logs", base.trim_end_matches('/'));
                Some(provider(&url, runtime).with_context(|| format!("{ENDPOINT}={base}"))?)
            }
            Err(_) => None,
        };
        let bridge = provider.as_ref().map(bridge);
        tracing_subscriber::registry().with(lines.and_then(bridge).with_filter(filter)).init();
        Ok(Self(provider))
    }

    /// Sends what waits. The runtime must still be there.
    pub(crate) fn shutdown(self) {
        if let Some(Err(error)) = self.0.map(|p| p.shutdown_with_timeout(PATIENCE)) {
            eprintln!("softwired: the last log lines did not reach the collector: {error}");
        }
    }
}

/// Takes lines to the collector.
fn bridge<S: Subscriber + for<'a> LookupSpan<'a>>(provider: &SdkLoggerProvider) -> impl Layer<S> + use<S> {
    // `hyper_util` is among them, and so are the SDK's parts.
    let speaks = |target: &str| {
        let name = target.split("::").next().unwrap_or(target);
        CARRIERS
            .iter()
            .any(|c| name.strip_prefix(c).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-'])))
    };
    OpenTelemetryTracingBridge::new(provider).with_filter(filter_fn(move |line| !speaks(line.target())))
}

fn provider(url: &str, runtime: &Handle) -> anyhow::Result<SdkLoggerProvider> {
    let target: hyper::Uri = url.parse()?;
    anyhow::ensure!(target.scheme_str() == Some("http"), "http://HOST:PORT is needed");
    let exporter = LogExporter::builder()
        .with_http()
        .with_http_client(Client { runtime: runtime.clone() })
        .with_endpoint(url)
        .with_timeout(PATIENCE)
        .build()?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("softwired");
    }
    Ok(SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// An HTTP client for the SDK's thread, which has no reactor: requests run on the runtime.
#[derive(Clone, Debug)]
struct Client {
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.spawn(async { tokio::time::timeout(PATIENCE, send(request)).await }).await??
    }
}

async fn send(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().authority().ok_or("no host")?.to_string();
    let port = request.uri().port_u16().unwrap_or(80);
    let name = request.uri().host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = tokio::net::TcpStream::connect((name, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    request.headers_mut().insert(hyper::header::HOST, host.parse()?);
    *request.uri_mut() = request.uri().path().parse()?;
    let (parts, body) = request.into_parts();
    let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = answer.into_parts();
    Ok(Response::from_parts(parts, Limited::new(body, 64 * 1024).collect().await?.to_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_gets_the_lines() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
        let provider = provider(&url, &Handle::current()).unwrap();
        let collector = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            while !String::from_utf8_lossy(&got).contains("a line for the collector") {
                assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&got).into_owned()
        });
        // As it is set up for the process.
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        let layers = lines.and_then(Some(bridge(&provider))).with_filter(EnvFilter::new("debug"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), || {
            tracing::debug!(target: "hyper::proto::h1::io", "flushed so many octets");
            tracing::debug!(target: "hyper_util::client", "flushed so many octets");
            tracing::info!(target: "h2", "flushed so many octets");
            tracing::debug!(target: "opentelemetry-otlp", "flushed so many octets");
            tracing::debug!(target: "opentelemetry_sdk::logs", "flushed so many octets");
            tracing::trace!("what nobody wants");
            tracing::debug!(target: "hyperactive", "another's line");
            tracing::info!(user = "alice", "a line for the collector");
        });
        let flushed = tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap();
        let got = collector.await.unwrap();
        assert!(flushed.is_ok(), "{flushed:?}");
        assert!(got.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{got}");
        assert!(!got.contains("flushed") && !got.contains("nobody") && got.contains("another's line"), "{got}");
        assert!(got.contains("application/x-protobuf") && got.contains("softwired") && got.contains("alice"), "{got}");
    }

    #[tokio::test]
    async fn what_names_no_collector_is_refused() {
        for url in ["https://collector.example/v1/logs", "collector:4318/v1/logs", "http://a b/v1/logs"] {
            assert!(provider(url, &Handle::current()).is_err(), "{url}");
        }
    }
}
