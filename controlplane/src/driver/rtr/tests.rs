//! A scripted cache at the other end: octets of RFC 8210, section 5.

use super::*;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::rustls::crypto::aws_lc_rs;

const RESET_QUERY: &str = "01 02 0000 00000008";
const RESPONSE: &str = "01 03 0007 00000008";
/// 10.1.0.0/16-24 AS 65001, announced.
const VRP: &str = "01 04 0000 00000014 01 10 18 00 0a010000 0000fde9";
/// Session 7, serial 1, refresh 3600, retry 600, expire 7200.
const END: &str = "01 07 0007 00000018 00000001 00000e10 00000258 00001c20";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|d| (d[0] * 16 + d[1]) as u8).collect()
}

/// The cache's end, what our end tells, and how it ends.
struct Lab {
    cache: DuplexStream,
    events: mpsc::Receiver<(usize, Event)>,
    end: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn lab() -> Lab {
    let (cache, ours) = tokio::io::duplex(4096);
    let (tell, events) = mpsc::channel(4);
    let end = tokio::spawn(async move { talk(0, ours, &tell, &mut None).await });
    Lab { cache, events, end }
}

impl Lab {
    async fn send(&mut self, hex: &str) {
        // Our end may have had enough already.
        let _ = self.cache.write_all(&octets(hex)).await;
    }

    async fn expect(&mut self, hex: &str) {
        let want = octets(hex);
        let mut have = vec![0; want.len()];
        self.cache.read_exact(&mut have).await.unwrap();
        assert_eq!(have, want);
    }

    /// The next answer, taken with `result`.
    async fn update(&mut self, result: Result<(), Fault>) -> Option<Update> {
        loop {
            match self.events.recv().await?.1 {
                Event::Updated(update, to) => {
                    to.send(result).unwrap();
                    return Some(update);
                }
                Event::Connected => {}
                Event::Failed(error) => panic!("{error}"),
            }
        }
    }

    async fn error(self) -> String {
        drop(self.cache);
        format!("{:#}", self.end.await.unwrap().unwrap_err())
    }
}

fn vrp(prefix: &str, max_length: u8, asn: u32) -> Vrp {
    Vrp { prefix: prefix.parse().unwrap(), max_length, asn }
}

/// A cache that has said all it has.
async fn synchronized() -> Lab {
    let mut lab = lab();
    lab.expect(RESET_QUERY).await;
    lab.send(&[RESPONSE, VRP, END].concat()).await;
    lab.update(Ok(())).await.unwrap();
    lab
}

#[tokio::test]
async fn all_then_what_has_changed() {
    let mut lab = lab();
    lab.expect(RESET_QUERY).await;
    let v6 = "01 06 0000 00000020 01 20 30 00 20010db8000000000000000000000000 0000fdea";
    // A router key, for BGPsec, is passed over.
    let key = "01 09 0100 00000024 0102030405060708090a0b0c0d0e0f1011121314 0000fde9 aabbccdd";
    lab.send(&[RESPONSE, VRP, v6, key, END].concat()).await;
    let update = lab.update(Ok(())).await.unwrap();
    let all = vec![(true, vrp("10.1.0.0/16", 24, 65001)), (true, vrp("2001:db8::/32", 48, 65002))];
    assert_eq!(update.changes, all);
    assert_eq!((update.reset, update.session, update.serial), (true, 7, 1));
    assert_eq!(update.timers, Timers::new(3600, 600, 7200));
    // Serial Notify, Serial Query; what was announced is withdrawn.
    lab.send("01 00 0007 0000000c 00000002").await;
    lab.expect("01 01 0007 0000000c 00000001").await;
    lab.send(&format!("{RESPONSE} 01 04 0000 00000014 00 10 18 00 0a010000 0000fde9")).await;
    lab.send("01 07 0007 00000018 00000002 00000e10 00000258 00001c20").await;
    let update = lab.update(Ok(())).await.unwrap();
    assert_eq!((update.reset, update.serial, update.changes), (false, 2, vec![(false, vrp("10.1.0.0/16", 24, 65001))]));
    // What the gateway refuses, the cache is told: Withdrawal of Unknown Record.
    lab.send("01 00 0007 0000000c 00000003").await;
    lab.expect("01 01 0007 0000000c 00000002").await;
    lab.send(&format!("{RESPONSE} 01 07 0007 00000018 00000003 00000e10 00000258 00001c20")).await;
    lab.update(Err(Fault::Unknown)).await.unwrap();
    lab.expect("01 0a 0006").await;
    assert!(lab.error().await.contains("withdrawn"));
}

#[tokio::test]
async fn a_cache_of_version_0_is_spoken_to() {
    let mut lab = lab();
    lab.expect(RESET_QUERY).await;
    lab.send("00 0a 0004 00000010 00000000 00000000").await;
    lab.expect("00 02 0000 00000008").await;
    lab.send("00 03 0007 00000008 00 04 0000 00000014 01 10 18 00 0a010000 0000fde9 00 07 0007 0000000c 00000001")
        .await;
    let update = lab.update(Ok(())).await.unwrap();
    assert_eq!((update.changes.len(), update.timers), (1, Timers::default()));
}

#[tokio::test]
async fn a_cache_that_has_forgotten_is_asked_for_all() {
    let mut lab = synchronized().await;
    lab.send("01 00 0007 0000000c 00000002").await;
    lab.expect("01 01 0007 0000000c 00000001").await;
    lab.send("01 08 0000 00000008").await;
    lab.expect(RESET_QUERY).await;
    lab.send(&format!("01 03 0008 00000008 {VRP} 01 07 0008 00000018 00000005 00000e10 00000258 00001c20")).await;
    let update = lab.update(Ok(())).await.unwrap();
    assert_eq!((update.reset, update.session, update.serial), (true, 8, 5));
}

#[tokio::test]
async fn a_session_id_does_not_change_by_the_way() {
    let mut lab = synchronized().await;
    lab.send("01 00 0007 0000000c 00000002").await;
    lab.expect("01 01 0007 0000000c 00000001").await;
    lab.send("01 03 0008 00000008 01 07 0008 00000018 00000002 00000e10 00000258 00001c20").await;
    assert!(lab.error().await.contains("session ID"));
}

#[tokio::test]
async fn garbage_is_no_data() {
    let flood = "01 04 0000 00000014 01 10 18 00 0a010000 0000fde9".repeat(100);
    for garbage in [
        String::new(),
        "ffffffffffffffff".repeat(64),
        // An answer that does not end, or ends in the middle.
        [RESPONSE, VRP].concat(),
        [RESPONSE, &flood].concat(),
        [RESPONSE, VRP, &END[..40]].concat(),
        // Data without a response; a length that lies; lengths of prefixes that are none.
        [VRP, END].concat(),
        [RESPONSE, "01 04 0000 ffffffff 01 10 18 00 0a010000 0000fde9", END].concat(),
        [RESPONSE, "01 04 0000 00000014 01 21 21 00 0a010000 0000fde9", END].concat(),
        [RESPONSE, "01 04 0000 00000014 01 10 08 00 0a010000 0000fde9", END].concat(),
        [RESPONSE, "01 04 0000 00000014 01 10 21 00 0a010000 0000fde9", END].concat(),
        // A router key of four gigabytes; a PDU that there is not; a version that there is not.
        [RESPONSE, "01 09 0100 ffffffff 0102030405060708090a0b0c0d0e0f10", END].concat(),
        [RESPONSE, "01 2a 0000 00000008", END].concat(),
        "09 03 0007 00000008".to_owned(),
        // No data available, and an error that makes no sense.
        "01 0a 0002 00000010 00000000 00000000".to_owned(),
        "01 0a 0063 ffffffff ffffffff 00000000".to_owned(),
        // A version that changes after it has been agreed on.
        [RESPONSE, "00 04 0000 00000014 01 10 18 00 0a010000 0000fde9", END].concat(),
    ] {
        let mut lab = lab();
        lab.expect(RESET_QUERY).await;
        lab.send(&garbage).await;
        lab.cache.shutdown().await.unwrap();
        assert!(lab.update(Ok(())).await.is_none(), "{garbage}");
        assert!(lab.end.await.unwrap().is_err(), "{garbage}");
    }
}

fn config(port: u16, more: &str) -> Config {
    let yaml = format!(
        "ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
         mesh: {{ local: [192.0.2.1] }}\n\
         bgp: {{ asn: 1, router_id: 1.1.1.1, rtr: [{{ name: one, address: 127.0.0.1, port: {port}{more} }}] }}\n"
    );
    Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"))
}

/// The first answer over a real connection, or why there is none.
async fn first(config: &Config) -> Result<Update, String> {
    let (now, counters) = (Instant::now(), vec![Arc::new(dataplane_api::Counters::new(1, 1))]);
    let macs = [dataplane_api::MacAddr([2; 6])];
    let mut gateway = Gateway::new(Arc::new(config.clone()), now, &macs, counters, [7; 32]).unwrap();
    let mut caches = Caches::new(now, &mut gateway);
    loop {
        match caches.next().await.unwrap().1 {
            Event::Connected => {}
            Event::Updated(update, _) => return Ok(update),
            Event::Failed(error) => return Err(error),
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut query = [0; 8];
    stream.read_exact(&mut query).await.unwrap();
    stream.write_all(&octets(&[RESPONSE, VRP, END].concat())).await.unwrap();
    // Until the other end has had enough.
    let _ = stream.read_exact(&mut query).await;
}

#[tokio::test]
async fn over_tcp_from_an_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cache = tokio::spawn(async move {
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 9]));
        serve(stream).await;
    });
    assert_eq!(first(&config(port, ", local: 127.0.0.9")).await.unwrap().changes.len(), 1);
    cache.abort();
    // Nobody listens there any more.
    assert!(first(&config(port, "")).await.is_err());
}

#[tokio::test]
async fn over_tls_only_from_whom_the_trust_anchor_vouches_for() {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    let dir = std::env::temp_dir().join(format!("rtr-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["rpki.example.net".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["rpki.example.net".to_owned()]).unwrap();
    let (ca, stranger) = (dir.join("ca.pem"), dir.join("other.pem"));
    std::fs::write(&ca, made.cert.pem()).unwrap();
    std::fs::write(&stranger, other.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream));
            }
        }
    });
    let tls = |ca: &Path, name: &str| config(port, &format!(", tls: {{ ca: {}{name} }}", ca.display()));
    let named = ", server_name: rpki.example.net";
    assert_eq!(first(&tls(&ca, named)).await.unwrap().changes.len(), 1);
    for (ca, name) in [(&stranger, named), (&ca, ", server_name: other.example.net"), (&ca, "")] {
        let error = first(&tls(ca, name)).await.unwrap_err();
        assert!(error.contains("certificate"), "{error}");
    }
    // A file that is not there, or holds nothing, is known before.
    assert!(check(&tls(&dir.join("missing.pem"), named)).is_err());
    std::fs::write(&stranger, "no PEM").unwrap();
    assert!(check(&tls(&stranger, named)).unwrap_err().to_string().contains("one"));
    std::fs::remove_dir_all(&dir).unwrap();
}
