//! Deliveries to a receiver on loopback, with names that stand for what the test says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use ring_controller::{Attempt, Deliver};
use ring_state::{Delivery, HookEvent, HookObject, State, Webhook};
use ring_types::{ClusterId, EventFilter, HookKind, MemberId, Name, NodeId, Revision, Timestamp, WebhookId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::deliverer::HttpDeliverer;
use super::names::Names;
use super::secret::{seal, signature};
use super::{WebhookOptions, checked};
use crate::pki::SecretKey;

const SECRET: &str = "the webhook's secret";

/// A request as it arrived.
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

struct Receiver {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Receiver {
    async fn new() -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(receive).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    fn arrived(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

async fn receive(Shared(sender): Shared<mpsc::UnboundedSender<Seen>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    let _test_is_over = sender.send(Seen { path: path.clone(), headers, body });
    // Each attempt looks its name up again.
    let close = [(header::CONNECTION, "close")];
    match path.as_str() {
        "/hang" => std::future::pending().await,
        "/redirect" => (StatusCode::FOUND, [(header::LOCATION, "/taken")]).into_response(),
        "/fail" => (StatusCode::INTERNAL_SERVER_ERROR, close, "a secret of the receiver").into_response(),
        "/long" => (StatusCode::OK, close, vec![b'x'; 1 << 20]).into_response(),
        _ => (StatusCode::NO_CONTENT, close).into_response(),
    }
}

/// Gives one answer after another, the last one for ever.
struct Answers(Vec<Vec<IpAddr>>, AtomicUsize);

#[async_trait]
impl Names for Answers {
    async fn lookup(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        let asked = self.1.fetch_add(1, Ordering::SeqCst);
        Ok(self.0[asked.min(self.0.len() - 1)].clone())
    }
}

fn answers(all: &[&[&str]]) -> Arc<Answers> {
    let addresses = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Arc::new(Answers(all.iter().map(addresses).collect(), AtomicUsize::new(0)))
}

struct Sender {
    key: SecretKey,
    deliverer: HttpDeliverer,
    names: Arc<Answers>,
}

impl Sender {
    fn new(allow_local: bool, names: Arc<Answers>) -> Self {
        let key = SecretKey::generate();
        let options = WebhookOptions { allow_local, timeout: Duration::from_millis(400), ..WebhookOptions::default() };
        Self { deliverer: HttpDeliverer::over(names.clone(), key.clone(), options), key, names }
    }

    fn attempt(&self, url: &str) -> Attempt {
        let id = WebhookId(Uuid::from_u128(7));
        let (key, sealed) = seal(&self.key, &State::default(), id, SECRET).unwrap();
        let webhook = Webhook {
            id,
            url: url.to_owned(),
            events: vec![EventFilter::All],
            sealed,
            key,
            created_by: "admin".into(),
            created_at: Timestamp(0),
            delivered: 0,
            delivered_at: None,
            dropped: 0,
            dropped_at: None,
            version: Revision(1),
        };
        let event = HookEvent {
            kind: HookKind::NodeStatusChanged,
            at: Timestamp(1_776_000_000_123),
            object: HookObject::Node { id: NodeId(Uuid::from_u128(5)), name: Name::new("n1").unwrap() },
            before: Some("ready".into()),
            after: Some("unreachable".into()),
            reason: String::new(),
            message: "ü".into(),
            instance: None,
            node: Some(NodeId(Uuid::from_u128(5))),
        };
        let delivery = Delivery {
            webhook: id,
            number: 77,
            event: Arc::new(event),
            attempts: 2,
            due: Some(Timestamp(0)),
            failed_at: None,
            error: String::new(),
            version: Revision(MemberId(1).0),
        };
        Attempt {
            cluster: ClusterId(Uuid::from_u128(9)),
            webhook: Arc::new(webhook),
            delivery: Arc::new(delivery),
            state: State::default(),
        }
    }

    async fn send(&self, url: &str) -> Result<(), String> {
        self.deliverer.deliver(self.attempt(url)).await.map_err(|failed| failed.why)
    }
}

#[tokio::test]
async fn a_delivery_is_signed_named_and_the_same_again() {
    let mut receiver = Receiver::new().await;
    let sender = Sender::new(true, answers(&[&["127.0.0.1"]]));
    let url = format!("http://receiver.test:{}/taken?x=1", receiver.address.port());
    for _ in 0..2 {
        sender.send(&url).await.unwrap();
    }
    let [first, second] = &receiver.arrived()[..] else { panic!("not two") };
    let header = |name: &str| first.headers[name].to_str().unwrap();
    assert_eq!(header("x-ring-signature"), signature(SECRET.as_bytes(), &first.body));
    assert_eq!(header("x-ring-event"), "node.status_changed");
    assert_eq!(header("content-type"), "application/json");
    assert!(header("user-agent").starts_with("ring/"));
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(header("x-ring-delivery"), body["delivery"].as_str().unwrap());
    assert_eq!(
        body,
        serde_json::json!({
            "delivery": sender.attempt(&url).delivery.id().to_string(),
            "number": 77,
            "kind": "node.status_changed",
            "at": "2026-04-12T13:20:00.123Z",
            "cluster": "00000000-0000-0000-0000-000000000009",
            "object": { "type": "node", "id": "00000000-0000-0000-0000-000000000005", "namespace": null, "name": "n1" },
            "before": "ready",
            "after": "unreachable",
            "reason": "",
            "message": "ü",
            "instance": null,
            "node": "00000000-0000-0000-0000-000000000005",
        })
    );
    assert_eq!((&first.body, &first.headers), (&second.body, &second.headers));
}

#[tokio::test]
async fn what_is_not_2xx_in_time_has_failed_and_its_answer_is_kept_by_nobody() {
    let mut receiver = Receiver::new().await;
    let sender = Sender::new(true, answers(&[&["127.0.0.1"]]));
    let base = format!("http://{}", receiver.address);
    for (path, wanted) in [
        ("/long", Ok(())),
        ("/fail", Err("answered 500 Internal Server Error")),
        ("/redirect", Err("answered 302 Found: redirects are not followed")),
        ("/hang", Err("no answer within 0.4 s")),
    ] {
        assert_eq!(sender.send(&format!("{base}{path}")).await, wanted.map_err(str::to_owned), "{path}");
    }
    let paths: Vec<_> = receiver.arrived().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/long", "/fail", "/redirect", "/hang"], "and no redirect was followed");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = sender.send(&format!("http://{closed}/")).await.unwrap_err();
    assert!(refused.starts_with("no connection: ") && refused.contains("refused"), "{refused}");
}

#[tokio::test]
async fn a_name_that_stands_for_a_forbidden_address_is_never_dialled() {
    let mut receiver = Receiver::new().await;
    let url = format!("http://rebinds.test:{}/taken", receiver.address.port());
    for forbidden in ["127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "64:ff9b::7f00:1"] {
        let sender = Sender::new(false, answers(&[&[forbidden]]));
        let error = sender.send(&url).await.unwrap_err();
        assert!(error.contains("'rebinds.test'") && error.contains("may not be reached"), "{forbidden}: {error}");
        assert_eq!(sender.names.1.load(Ordering::SeqCst), 1);
    }
    assert_eq!(receiver.arrived().len(), 0);
}

#[tokio::test]
async fn a_name_is_judged_at_each_connection_and_only_good_addresses_are_dialled() {
    let mut receiver = Receiver::new().await;
    let url = format!("http://rebinds.test:{}/taken", receiver.address.port());
    // It passes once, and then stands for another address.
    let sender = Sender::new(true, answers(&[&["127.0.0.1"], &["169.254.169.254"], &["0.0.0.0", "127.0.0.1"]]));
    assert_eq!(sender.send(&url).await, Ok(()));
    assert!(sender.send(&url).await.is_err_and(|why| why.contains("169.254.169.254 may not be reached")));
    assert_eq!(sender.send(&url).await, Ok(()));
    assert_eq!((receiver.arrived().len(), sender.names.1.load(Ordering::SeqCst)), (2, 3));
}

/// As it was written when other rules held, or through a control node with others.
#[tokio::test]
async fn an_address_is_judged_again_when_it_is_used() {
    let mut receiver = Receiver::new().await;
    let port = receiver.address.port();
    let sender = Sender::new(false, answers(&[&["127.0.0.1"]]));
    for host in ["127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "localhost", "user@receiver.test"] {
        let url = format!("http://{host}:{port}/taken");
        assert_eq!(sender.send(&url).await, checked(&url, false).map(drop), "{host}");
        assert!(sender.send(&url).await.is_err(), "{host}");
    }
    assert_eq!((receiver.arrived().len(), sender.names.1.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn another_key_opens_no_secret_and_nothing_is_sent() {
    let mut receiver = Receiver::new().await;
    let sender = Sender::new(true, answers(&[&["127.0.0.1"]]));
    let stranger = Sender::new(true, answers(&[&["127.0.0.1"]]));
    let attempt = stranger.attempt(&format!("http://{}/taken", receiver.address));
    assert!(sender.deliverer.deliver(attempt).await.is_err_and(|failed| failed.why.contains("does not open")));
    assert_eq!(receiver.arrived().len(), 0);
}
