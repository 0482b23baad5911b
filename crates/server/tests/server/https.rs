//! TLS on the REST API: who is believed, what who is not is told, and certificates that change while it runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring_api::client::{Client, ClientError, Hosts, Patience, TlsFailure, Trust};
use ring_api::model::LoginRequest;
use ring_server::JoinRole;
use ring_server::node::{ApiSettings, ApiTlsMode, Settings};
use ring_server::pki::{Authority, HostFiles, HostKey, ServerRequest};
use ring_types::ClusterId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Control, PASSWORD, eventually};

fn settings(tls: ApiTlsMode) -> Settings {
    Settings { api: ApiSettings { tls, ..ApiSettings::default() }, ..Settings::default() }
}

fn fingerprint(pem: &str) -> String {
    hex::encode(Sha256::digest(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()))
}

fn client(scheme: &str, host: &str, api: SocketAddr, trust: Trust) -> Client {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let hosts = Hosts::parse(&format!("{scheme}://{host}:{}", api.port()), scheme, 0).unwrap();
    let patience = Patience { unreachable: Duration::ZERO, ..Patience::default() };
    Client::trusting(hosts, None, patience, trust).unwrap()
}

fn over_tls(control: &Control, trust: Trust) -> Client {
    client("https", "127.0.0.1", control.api, trust)
}

async fn failure(client: &Client) -> TlsFailure {
    match client.health().await.unwrap_err() {
        ClientError::Tls { failure, .. } => failure,
        other => panic!("{other}"),
    }
}

/// A certificate of an authority of its own, in files; the authority's.
fn own(dir: &Path, address: [u8; 4], lifetime: Duration) -> (ApiTlsMode, String) {
    let (authority, key) = (Authority::create(ClusterId(uuid::Uuid::nil())).unwrap(), HostKey::generate().unwrap());
    let addresses = vec![IpAddr::V4(Ipv4Addr::from(address))];
    let csr_pem = key.request().unwrap();
    let request = ServerRequest { csr_pem: &csr_pem, name: "own", names: vec![], addresses, lifetime };
    let chain = format!("{}{}", authority.sign_server(&request).unwrap(), authority.certificate_pem());
    let (certificate, key_file) = (dir.join("api.pem"), dir.join("api.key"));
    std::fs::write(&certificate, chain).unwrap();
    std::fs::write(&key_file, key.to_pem()).unwrap();
    (ApiTlsMode::Own { certificate, key: key_file }, authority.certificate_pem().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_authority_is_served() {
    let control = Control::first_with(settings(ApiTlsMode::Cluster)).await;
    let (_, authority) = HostFiles::new(control.dir.path()).certificates().unwrap();
    let pin = fingerprint(&authority);
    let printed = control.words_of_api();
    assert!(printed.contains(&format!("--host https://{} --ca-fingerprint {pin} ", control.api)), "{printed}");
    let pinned = over_tls(&control, Trust::pinned(&pin).unwrap());
    eventually("served", async || pinned.health().await.is_ok()).await;
    // By its address, by name, with the certificate itself, and with the fingerprint as other tools write it.
    let colons = pin.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase()).collect::<Vec<_>>().join(":");
    eventually("its own certificate", async || {
        client("https", "localhost", control.api, Trust::pinned(&colons).unwrap()).health().await.is_ok()
    })
    .await;
    over_tls(&control, Trust::authorities(authority.as_bytes()).unwrap()).health().await.unwrap();
    let login = LoginRequest { username: "admin".into(), password: PASSWORD.into() };
    eventually("a login", async || pinned.login(&login).await.is_ok()).await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_refused_with_what_was_seen() {
    let control = Control::first_with(settings(ApiTlsMode::Cluster)).await;
    let seen = fingerprint(&HostFiles::new(control.dir.path()).certificates().unwrap().1);
    assert_eq!(failure(&over_tls(&control, Trust::System)).await, TlsFailure::Unknown(seen.clone()));
    let foreign = Authority::create(ClusterId(uuid::Uuid::nil())).unwrap();
    let other = Trust::pinned(&fingerprint(foreign.certificate_pem())).unwrap();
    assert_eq!(failure(&over_tls(&control, other)).await, TlsFailure::Other(seen.clone()));
    let file = Trust::authorities(foreign.certificate_pem().as_bytes()).unwrap();
    assert_eq!(failure(&over_tls(&control, file)).await, TlsFailure::Other(seen));
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_certificate_is_served_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let (mode, authority) = own(dir.path(), [127, 0, 0, 1], Duration::from_hours(1));
    let control = Control::first_with(settings(mode)).await;
    let leaf = std::fs::read_to_string(dir.path().join("api.pem")).unwrap();
    for pin in [fingerprint(&authority), fingerprint(&leaf), format!("{},{}", "0".repeat(64), fingerprint(&authority))] {
        over_tls(&control, Trust::pinned(&pin).unwrap()).health().await.unwrap();
    }
    over_tls(&control, Trust::authorities(authority.as_bytes()).unwrap()).health().await.unwrap();
    control.stop().await;

    let (mode, authority) = own(dir.path(), [10, 9, 8, 7], Duration::from_hours(1));
    let control = Control::first_with(settings(mode)).await;
    let other_name = failure(&over_tls(&control, Trust::authorities(authority.as_bytes()).unwrap())).await;
    assert_eq!(other_name, TlsFailure::Name("10.9.8.7".to_owned()));
    control.stop().await;

    let (mode, authority) = own(dir.path(), [127, 0, 0, 1], Duration::ZERO);
    let control = Control::first_with(settings(mode)).await;
    let trust = Trust::authorities(authority.as_bytes()).unwrap();
    eventually("it is over", async || over_tls(&control, trust.clone()).health().await.is_err()).await;
    assert_eq!(failure(&over_tls(&control, trust)).await, TlsFailure::Expired);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_none_keeps_a_cluster_from_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let (mode, _) = own(dir.path(), [127, 0, 0, 1], Duration::from_hours(1));
    std::fs::write(dir.path().join("api.key"), HostKey::generate().unwrap().to_pem()).unwrap();
    let refused = Control::try_first(settings(mode)).await.err().unwrap();
    assert!(refused.contains("server.tls"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_scheme_gets_a_clear_answer() {
    let control = Control::first_with(settings(ApiTlsMode::Cluster)).await;
    match client("http", "127.0.0.1", control.api, Trust::System).health().await.unwrap_err() {
        ClientError::Problem(problem) => {
            assert_eq!((problem.status, problem.code.as_str()), (400, "request.https"));
            assert!(problem.detail.contains(&format!("https://{}", control.api)), "{}", problem.detail);
        }
        other => panic!("{other}"),
    }
    control.stop().await;
    let control = Control::first().await;
    assert_eq!(failure(&over_tls(&control, Trust::System)).await, TlsFailure::Plain);
    control.stop().await;
}

/// What is shown to whoever connects.
async fn shown(api: SocketAddr, authority: &str) -> CertificateDer<'static> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(api.ip().to_string()).unwrap();
    let tcp = TcpStream::connect(api).await.unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_without_a_restart() {
    let mode = settings(ApiTlsMode::Cluster);
    let control = Control::first_with(Settings { certificate_lifetime: Duration::from_secs(9), ..mode }).await;
    let (node, authority) = HostFiles::new(control.dir.path()).certificates().unwrap();
    let node = CertificateDer::from_pem_slice(node.as_bytes()).unwrap();
    // The node's own is shown until there is one for the API.
    eventually("one for the API", async || shown(control.api, &authority).await != node).await;
    let first = shown(control.api, &authority).await;
    let pinned = over_tls(&control, Trust::pinned(&fingerprint(&authority)).unwrap());
    eventually("a new one", async || {
        pinned.health().await.unwrap();
        shown(control.api, &authority).await != first
    })
    .await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_node_that_joins_is_trusted_by_the_same_pin() {
    let first = Control::first().await;
    first.ready().await;
    let token = first.token(JoinRole::Control);
    let second = Control::joined_with("c2", &token, &[first.cluster], settings(ApiTlsMode::Cluster)).await;
    let (_, authority) = HostFiles::new(first.dir.path()).certificates().unwrap();
    let pinned = over_tls(&second, Trust::pinned(&fingerprint(&authority)).unwrap());
    pinned.health().await.unwrap();
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_the_same_one_by_whatever_name_a_control_node_is_asked() {
    let control = Control::first_with(settings(ApiTlsMode::Cluster)).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let (_, authority) = HostFiles::new(control.dir.path()).certificates().unwrap();
    let pinned = over_tls(&control, Trust::pinned(&fingerprint(&authority)).unwrap());
    let login = LoginRequest { username: "admin".into(), password: PASSWORD.into() };
    eventually("a login", async || pinned.login(&login).await.is_ok()).await;
    let token = pinned.login(&login).await.unwrap().token;
    let send = async |host: &str, method: reqwest::Method, path: &str, key: &str, value: &str| {
        let request = http.request(method, format!("https://{host}:{}{path}", control.api.port()));
        let body = serde_json::json!({ "namespace": "default", "name": "settings", "data": { "v": value } });
        let answer = request.bearer_auth(&token).header("Idempotency-Key", key).json(&body).send().await.unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json::<serde_json::Value>().await.unwrap()
    };
    let made = send("127.0.0.1", reqwest::Method::POST, "/configs", "one", "1").await;
    assert_eq!(send("localhost", reqwest::Method::POST, "/configs", "one", "1").await["revision"], made["revision"]);
    let path = format!("/configs/{}", made["id"].as_str().unwrap());
    let second = send("127.0.0.1", reqwest::Method::PUT, &path, "two", "2").await;
    let third = send("127.0.0.1", reqwest::Method::PUT, &path, "three", "3").await;
    assert!(second["revision"].as_u64() < third["revision"].as_u64());
    // The second once more, as a client does that heard no answer: what came after it stays.
    assert_eq!(send("localhost", reqwest::Method::PUT, &path, "two", "2").await["revision"], second["revision"]);
    let stays = http.get(format!("https://{}{path}", control.api)).bearer_auth(&token).send().await.unwrap();
    assert_eq!(stays.json::<serde_json::Value>().await.unwrap()["data"]["v"], "3");
    control.stop().await;
}
