//! Probes of real ports on loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use ring_runtime::FakeRuntime;
use ring_types::{CheckAction, Kind, Name};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;

fn subject(runtime: RuntimeKind, network: NetworkMode, address: Option<&str>) -> Subject {
    let name = |text| Name::new(text).unwrap();
    let spec = DeploymentSpec { network, ..DeploymentSpec::new(name("ns"), name("web"), Kind::Worker, runtime, "web:1") };
    Subject {
        instance: InstanceId(Uuid::from_u128(1)),
        spec: Arc::new(spec),
        runtime: Arc::new(FakeRuntime::new(runtime)),
        address: address.map(str::to_owned),
        started_at: Timestamp(0),
    }
}

fn check(kind: CheckKind) -> HealthCheck {
    HealthCheck {
        kind,
        interval: Span::seconds(1),
        timeout: Span::seconds(20),
        threshold: 1,
        on_failure: CheckAction::Alert,
        readiness: false,
        min_healthy_time: Span::ZERO,
        start_period: Span::ZERO,
    }
}

async fn says(subject: &Subject, kind: CheckKind) -> (bool, String) {
    let found = probe(subject, &check(kind)).await;
    (found.seen.healthy, found.text())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads the head of a request and answers it; gives what was asked.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: &str) -> String {
    let (mut asked, mut byte) = (Vec::new(), [0]);
    while !asked.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.unwrap();
        asked.push(byte[0]);
    }
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(asked).unwrap()
}

/// A server that answers one request.
async fn server(reply: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let (listener, address) = listener().await;
    let task = tokio::spawn(async move { answer(listener.accept().await.unwrap().0, reply).await });
    (address, task)
}

#[tokio::test]
async fn the_status_decides_and_no_redirect_is_followed() {
    let subject = subject(RuntimeKind::Process, NetworkMode::Bridge, None);
    for (reply, healthy, text) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes", true, "HTTP 200"),
        ("HTTP/1.1 204 No Content\r\n\r\n", true, "HTTP 204"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", false, "HTTP 302"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, "HTTP 404"),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 99\r\n\r\ncut", false, "HTTP 503"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", true, "HTTP 200"),
    ] {
        let (address, asked) = server(reply).await;
        let url = format!("http://localhost:{}/health?deep=1", address.port());
        assert_eq!(says(&subject, CheckKind::Http { url }).await, (healthy, text.to_owned()), "{reply}");
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: localhost:{}\r\n", address.port())), "{asked}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure_with_its_reason() {
    let subject = subject(RuntimeKind::Process, NetworkMode::Bridge, None);
    let (address, _asked) = server("this is no HTTP\r\n\r\n").await;
    let garbage = says(&subject, CheckKind::Http { url: format!("http://{address}/") }).await;
    assert!(!garbage.0 && garbage.1.starts_with("HTTP: "), "{garbage:?}");
    // Bound, so nobody else has the port, and listening only later.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let port = address.port();
    let refused = says(&subject, CheckKind::Tcp { port }).await;
    assert_eq!(refused, (false, format!("port {port}: connection refused")));
    let _listener = socket.listen(8).unwrap();
    assert_eq!(says(&subject, CheckKind::Tcp { port }).await, (true, "connected".to_owned()));
    let silent = HealthCheck { timeout: Span(50), ..check(CheckKind::Http { url: format!("http://{address}/") }) };
    assert_eq!(probe(&subject, &silent).await.text(), "no answer within 50ms");
    assert_eq!(says(&subject, CheckKind::Http { url: "http://".into() }).await.1, "'http://' is not a URL that can be asked");
}

#[tokio::test]
async fn a_certificate_nobody_signed_is_taken() {
    let subject = subject(RuntimeKind::Docker, NetworkMode::Host, None);
    let certified = rcgen::generate_simple_self_signed(["whoever".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listener().await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(acceptor.accept(stream).await.unwrap(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
    });
    let url = format!("https://localhost:{}/", address.port());
    assert_eq!(says(&subject, CheckKind::Http { url }).await, (true, "HTTP 200".to_owned()));
    serving.await.unwrap();
    let (address, _asked) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let plain = HealthCheck { timeout: Span(500), ..check(CheckKind::Http { url: format!("https://{address}/") }) };
    assert!(!probe(&subject, &plain).await.seen.healthy);
}

#[test]
fn the_instance_is_at_its_own_address_unless_it_shares_the_hosts() {
    let at = |runtime, network, address| {
        subject(runtime, network, address).addresses(80).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (bridge, host) = (NetworkMode::Bridge, NetworkMode::Host);
    let here = Ok(vec!["127.0.0.1:80".to_owned(), "[::1]:80".to_owned()]);
    assert_eq!(at(RuntimeKind::Docker, bridge, Some("172.18.0.2")), Ok(vec!["172.18.0.2:80".to_owned()]));
    assert_eq!(at(RuntimeKind::Docker, host, None), here);
    assert_eq!(at(RuntimeKind::Process, bridge, None), here);
    assert!(at(RuntimeKind::Docker, bridge, None).is_err(), "never the host by mistake");
}

#[test]
fn what_an_instance_writes_becomes_one_short_line() {
    assert_eq!(line(b" a\n\tb \xff"), "a b \u{fffd}");
    assert_eq!(line("ü".repeat(1_000).as_bytes()).chars().count(), WRITTEN);
}
