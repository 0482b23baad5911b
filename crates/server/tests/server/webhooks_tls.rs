//! Webhooks over https, to receivers with certificates of every kind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use reqwest::Method;
use ring_server::node::{ControllerOptions, DeliveryOptions, Settings, WebhookOptions};
use ring_types::Span;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::support::{Api, Control, eventually};

/// An authority of somebody's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A receiver with a certificate for `name`, which ended so long ago, if at all.
    async fn receiver(&self, name: &str, ended: Option<Duration>) -> Receiver {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if let Some(ended) = ended {
            let now = std::time::SystemTime::now();
            params.not_before = (now - ended - Duration::from_hours(1)).into();
            params.not_after = (now - ended).into();
        }
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone(), self.der.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        Receiver::new(TlsAcceptor::from(Arc::new(config))).await
    }
}

/// Takes whatever comes over TLS.
struct Receiver {
    port: u16,
    seen: mpsc::UnboundedReceiver<()>,
}

impl Receiver {
    async fn new(acceptor: TlsAcceptor) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = move || {
            let _test_is_over = sender.send(());
            std::future::ready(StatusCode::NO_CONTENT)
        };
        let app = Router::new().fallback(taken);
        tokio::spawn(async move { axum::serve(Tls(listener, acceptor), app).await });
        Self { port, seen }
    }
}

struct Tls(TcpListener, TlsAcceptor);

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((connection, peer)) = self.0.accept().await else { continue };
            // One that does not believe us hangs up here.
            if let Ok(stream) = self.1.accept(connection).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn settings(trusted: &Authority) -> Settings {
    let deliveries =
        DeliveryOptions { attempts: 1, first_pause: Span(50), longest_pause: Span(100), settle_after: Duration::from_millis(10) };
    let mut webhooks = WebhookOptions { allow_local: true, ..WebhookOptions::default() };
    webhooks.trust(trusted.pem.as_bytes()).unwrap();
    Settings { controllers: ControllerOptions { deliveries, ..ControllerOptions::default() }, webhooks, ..Settings::default() }
}

/// Has a test sent to a receiver; the webhook's path.
async fn test(admin: &Api, receiver: &Receiver, scheme: &str) -> String {
    let url = format!("{scheme}://localhost:{}/ring", receiver.port);
    let made = admin.post("/webhooks", &json!({ "url": url, "events": ["node.*"] })).await.expect(200);
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    admin.send(Method::POST, &format!("{path}/test"), None, &[]).await.expect(200);
    eventually("the delivery to be settled", async || admin.get(&path).await.expect(200)["pending"] == 0).await;
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_believed_by_its_authority_name_and_dates_and_by_nothing_else() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let control = Control::first_with(settings(&ours)).await;
    let admin = control.admin().await;

    let mut good = ours.receiver("localhost", None).await;
    let path = test(&admin, &good, "https").await;
    assert_eq!(admin.get(&path).await.expect(200)["delivered"], 1);
    assert!(good.seen.try_recv().is_ok());

    for (authority, name, ended, why) in [
        (&theirs, "localhost", None, "its certificate is of no authority this control node trusts"),
        (&ours, "other.test", None, "its certificate is not for that name or address, but for other.test"),
        (&ours, "localhost", Some(Duration::from_hours(1)), "its certificate has expired"),
    ] {
        let mut bad = authority.receiver(name, ended).await;
        let path = test(&admin, &bad, "https").await;
        let webhook = admin.get(&path).await.expect(200);
        assert_eq!((&webhook["delivered"], &webhook["dead"]), (&json!(0), &json!(1)), "{why}");
        let error = letter(&admin, &path).await;
        assert!(error.starts_with(why), "{error}");
        assert!(bad.seen.try_recv().is_err(), "nothing is sent to who is not believed: {why}");
    }
    // The receiver is told what to add, and how to see that it is the right one.
    let stranger = theirs.receiver("localhost", None).await;
    let error = letter(&admin, &test(&admin, &stranger, "https").await).await;
    let fingerprint = ring_server::pki::Fingerprint::of(&theirs.der).to_string();
    assert!(error.contains(&fingerprint) && error.ends_with("`[server.webhooks] ca_file` adds one"), "{error}");
    control.stop().await;
}

/// Why the only delivery of a webhook has failed, as callers see it.
async fn letter(admin: &Api, path: &str) -> String {
    let letters = admin.get(&format!("{path}/deliveries?state=dead")).await.expect(200);
    let [letter] = letters.as_array().map_or(&[] as &[Value], Vec::as_slice) else { panic!("{letters}") };
    letter["error"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_speak_tls_is_told_so() {
    let ours = Authority::new("ours");
    let control = Control::first_with(settings(&ours)).await;
    let admin = control.admin().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new()).await });
    let plain = Receiver { port, seen: mpsc::unbounded_channel().1 };
    assert_eq!(letter(&admin, &test(&admin, &plain, "https").await).await, "it does not speak TLS");
    control.stop().await;
}

#[test]
fn a_file_of_authorities_has_one_at_least_and_each_can_be_used() {
    let mut options = WebhookOptions::default();
    let (first, second) = (Authority::new("a").pem, Authority::new("b").pem);
    options.trust(format!("{first}\n{second}").as_bytes()).unwrap();
    assert_eq!(options.authorities.len(), 2);
    let damaged = first.replace("MII", "NII");
    for wrong in ["", "-----BEGIN CERTIFICATE-----", "no pem", &damaged, &format!("{second}{damaged}")] {
        assert!(options.trust(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert_eq!(options.authorities.len(), 2, "all of a file or nothing");
}
