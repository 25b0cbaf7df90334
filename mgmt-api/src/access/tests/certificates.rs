//! Clients that come with certificates.

use super::*;

/// A CA of operators.
struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn ca() -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { pem, issuer: Issuer::new(params, key) }
}

impl Ca {
    fn client(&self, common: &str, alternative: &[SanType]) -> Own {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternative.to_vec();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

fn client(name: &str, role: Role) -> ApiClient {
    ApiClient { name: name.to_owned(), role }
}

async fn gateway(ca: &Ca) -> Running {
    running(|api, dir| {
        let file = dir.join("ca.pem");
        std::fs::write(&file, &ca.pem).unwrap();
        api.client_ca = Some(file.display().to_string());
        api.clients = vec![client("noc", Role::Operate), client("monitor.example.net", Role::Read)];
    })
    .await
}

async fn asked(gw: &Running, own: Own, path: &str, headers: &[(&str, String)]) -> std::io::Result<Answer> {
    exchange(gw.tls(Some(own)).await?, "GET", path, headers, "").await
}

#[tokio::test]
async fn a_name_of_a_client_has_its_role() {
    let ca = ca();
    let gw = gateway(&ca).await;
    let by_common = asked(&gw, ca.client("noc", &[]), "/api/v1/whoami", &[]).await.unwrap();
    assert_eq!(by_common.json(), serde_json::json!({ "name": "certificate:noc", "role": "operate" }));
    let dns = [SanType::DnsName("monitor.example.net".try_into().unwrap())];
    let by_alternative = asked(&gw, ca.client("whatever", &dns), "/api/v1/whoami", &[]).await.unwrap();
    assert_eq!(by_alternative.json()["name"], "certificate:monitor.example.net");
    assert_eq!(by_alternative.json()["role"], "read");
    gw.stop().await;
}

#[tokio::test]
async fn other_names_and_other_cas_are_refused() {
    let ca = ca();
    let gw = gateway(&ca).await;
    let unknown = asked(&gw, ca.client("stranger", &[]), "/api/v1/subscribers", &[]).await.unwrap();
    assert_eq!(unknown.status, 403, "{unknown:?}");
    let foreign = asked(&gw, self::ca().client("noc", &[]), "/api/v1/subscribers", &[]).await;
    assert!(foreign.is_err() || foreign.is_ok_and(|a| a.status == 0));
    gw.stop().await;
}

#[tokio::test]
async fn without_a_certificate_a_token_will_do() {
    let ca = ca();
    let gw = gateway(&ca).await;
    assert_eq!(gw.get("/api/v1/subscribers", "").await.status, 401);
    let token = gw.token("ci", "admin").await;
    assert_eq!(gw.get("/api/v1/tokens", &token).await.status, 200);
    // With both, the token is what the request says of itself, right or wrong.
    let bearer = |token: &str| [("authorization", format!("Bearer {token}"))];
    let both = asked(&gw, ca.client("noc", &[]), "/api/v1/whoami", &bearer(&token)).await.unwrap();
    assert_eq!(both.json()["name"], "token:ci");
    let wrong = asked(&gw, ca.client("noc", &[]), "/api/v1/whoami", &bearer("swgw_no")).await.unwrap();
    assert_eq!(wrong.status, 401);
    gw.stop().await;
}

#[tokio::test]
async fn a_certificate_of_the_operator_is_the_one_that_is_shown() {
    let ca = ca();
    let (certificate, key) = ca.client("gw.example.net", &[]);
    let dir = Scratch::new();
    let (chain, private) = (dir.0.join("chain.pem"), dir.0.join("key.pem"));
    let pem = |kind: &str, octets: &[u8]| {
        let text = data_encoding::BASE64.encode(octets);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    };
    std::fs::write(&chain, pem("CERTIFICATE", &certificate)).unwrap();
    std::fs::write(&private, pem("PRIVATE KEY", key.secret_der())).unwrap();
    let gw = running(|api, _| {
        api.certificate = Some(chain.display().to_string());
        api.key = Some(private.display().to_string());
    })
    .await;
    let stream = connect(gw.address, store::sha256(&certificate), None).await.unwrap();
    assert_eq!(exchange(stream, "GET", "/api/v1/status", &[], "").await.unwrap().status, 401);
    assert!(!Path::new(&gw.api.state).join("tls").exists());
    // A key that is another's is found before anybody connects.
    let mut wrong = gw.api.clone();
    std::fs::write(&private, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    wrong.socket = None;
    assert!(Listening::open(&wrong).await.is_err());
    gw.stop().await;
}
