//! Webhooks over the REST API, with a receiver that checks the signature itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, Mac};
use reqwest::Method;
use ring_server::node::{ControllerOptions, DeliveryOptions, Settings, WebhookOptions};
use ring_types::Span;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::{Api, Control, eventually, job};

/// What has arrived, and whether it is taken.
#[derive(Clone)]
struct Receiver {
    secret: Arc<str>,
    seen: watch::Sender<Vec<(HeaderMap, Value)>>,
    takes: Arc<AtomicBool>,
    url: String,
}

impl Receiver {
    async fn new(secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ring", listener.local_addr().unwrap());
        let (seen, takes) = (watch::Sender::default(), Arc::new(AtomicBool::new(true)));
        let receiver = Self { secret: secret.into(), seen, takes, url };
        let app = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    /// The body of each delivery that has arrived with a good signature, each once, once there are so many.
    async fn events(&self, count: usize) -> Vec<Value> {
        let mut seen = self.seen.subscribe();
        let enough = seen.wait_for(|seen| seen.len() >= count);
        let seen = tokio::time::timeout(Duration::from_secs(30), enough).await.expect("not in time").unwrap().clone();
        seen.into_iter().map(|(_, body)| body).collect()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut mac = Hmac::<Sha256>::new_from_slice(receiver.secret.as_bytes()).unwrap();
    mac.update(&body);
    let wanted = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    if headers.get("x-ring-signature").and_then(|value| value.to_str().ok()) != Some(&wanted) {
        return StatusCode::UNAUTHORIZED;
    }
    let body = serde_json::from_slice(&body).unwrap();
    receiver.seen.send_modify(|seen| seen.push((headers, body)));
    if receiver.takes.load(Ordering::SeqCst) { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn settings(attempts: u32) -> Settings {
    let deliveries =
        DeliveryOptions { attempts, first_pause: Span(50), longest_pause: Span(100), settle_after: Duration::from_millis(10) };
    Settings {
        controllers: ControllerOptions { deliveries, ..ControllerOptions::default() },
        webhooks: WebhookOptions { allow_local: true, timeout: Duration::from_secs(2), ..WebhookOptions::default() },
        ..Settings::default()
    }
}

async fn settled(api: &Api, path: &str, wanted: impl Fn(&Value) -> bool) {
    eventually(path, async || wanted(&api.get(path).await.expect(200))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_signed_with_the_secret_that_was_given_or_made() {
    let control = Control::first_with(settings(3)).await;
    let admin = control.admin().await;
    let own = Receiver::new("a secret of my own").await;
    let body = json!({ "url": own.url, "events": ["deployment.*"], "secret": "a secret of my own" });
    let made = admin.post("/webhooks", &body).await.expect(200);
    assert!(made.get("secret").is_none() && made["created_by"] == "admin", "{made}");
    assert_eq!(made["events"], json!(["deployment.*"]));

    let key = [("Idempotency-Key", "once")];
    let wanted = json!({ "url": "http://127.0.0.1:9/", "events": [] });
    let first = admin.send(Method::POST, "/webhooks", Some(&wanted), &key).await.expect(200);
    let again = admin.send(Method::POST, "/webhooks", Some(&wanted), &key).await.expect(200);
    assert_eq!((&first["secret"], &first["id"]), (&again["secret"], &again["id"]));
    assert_eq!(first["events"], json!(["*"]));
    let secret = first["secret"].as_str().unwrap();
    assert!(secret.starts_with("ring_whs_") && secret.len() > 50, "{secret}");
    let id = first["id"].as_str().unwrap();
    let listed = admin.get("/webhooks").await.expect(200);
    assert!(listed.as_array().unwrap().len() == 2 && !listed.to_string().contains(secret), "{listed}");
    assert!(admin.get(&format!("/webhooks/{id}")).await.expect(200).get("secret").is_none());

    admin.post("/deployments", &job("shop", "one")).await.expect(200);
    let events = own.events(1).await;
    let event = &events[0];
    assert_eq!((&event["kind"], &event["after"]), (&json!("deployment.status_changed"), &json!("pending")));
    assert_eq!((&event["object"]["namespace"], &event["object"]["name"]), (&json!("shop"), &json!("one")));
    let headers = own.seen.borrow()[0].0.clone();
    assert_eq!(headers["x-ring-delivery"], event["delivery"].as_str().unwrap());
    assert_eq!(headers["x-ring-event"], "deployment.status_changed");

    // What is kept on disk has neither secret in clear.
    for file in files(control.dir.path()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for clear in ["a secret of my own", secret] {
            let found = bytes.windows(clear.len()).any(|part| part == clear.as_bytes());
            assert!(!found, "{} has {clear}", file.display());
        }
    }
    control.stop().await;
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_a_dead_letter_with_its_error_until_it_is_sent_anew() {
    let control = Control::first_with(settings(2)).await;
    let admin = control.admin().await;
    let receiver = Receiver::new("s").await;
    receiver.takes.store(false, Ordering::SeqCst);
    let made = admin.post("/webhooks", &json!({ "url": receiver.url, "secret": "s" })).await.expect(200);
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        admin.send(Method::POST, &format!("{path}/test"), None, &[]).await.expect(200);
    }
    settled(&admin, &path, |webhook| webhook["dead"] == 2 && webhook["pending"] == 0).await;
    let dead = admin.get(&format!("{path}/deliveries?state=dead")).await.expect(200);
    let letter = &dead[0];
    assert_eq!(letter["error"], "answered 503 Service Unavailable");
    assert_eq!((&letter["attempts"], &letter["kind"], &letter["next_at"]), (&json!(2), &json!("webhook.test"), &Value::Null));
    assert_eq!(admin.get(&format!("{path}/deliveries?state=pending")).await.expect(200), json!([]));
    assert_eq!(admin.get(&format!("{path}/deliveries?limit=1")).await.expect(200).as_array().unwrap().len(), 1);
    assert_eq!(admin.get(&format!("{path}/deliveries?state=lost")).await.code(), "request.query");

    receiver.takes.store(true, Ordering::SeqCst);
    let one = format!("{path}/deliveries/{}/redeliver", letter["id"].as_str().unwrap());
    assert_eq!(admin.send(Method::POST, &one, None, &[]).await.expect(200)["redelivered"], 1);
    settled(&admin, &path, |webhook| webhook["dead"] == 1 && webhook["delivered"] == 1).await;
    assert_eq!(admin.send(Method::POST, &one, None, &[]).await.code(), "delivery.not_found");
    let all = format!("{path}/redeliver");
    assert_eq!(admin.send(Method::POST, &all, None, &[]).await.expect(200)["redelivered"], 1);
    settled(&admin, &path, |webhook| webhook["dead"] == 0 && webhook["delivered"] == 2).await;
    let ids: std::collections::BTreeSet<_> = receiver.events(6).await.iter().map(|event| event["delivery"].to_string()).collect();
    assert_eq!(ids.len(), 2, "a delivery keeps its id");

    admin.delete(&path).await.expect(200);
    assert_eq!(admin.get(&path).await.code(), "webhook.not_found");
    assert_eq!(admin.delete(&path).await.status, 404);
    let lines = admin.get("/cluster/audit?action=webhook").await.expect(200);
    let actions: Vec<_> = lines.as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    for action in ["webhook.create", "webhook.test", "webhook.redeliver", "webhook.redeliver_all", "webhook.delete"] {
        assert!(actions.contains(&action), "{actions:?}");
    }
    assert!(!lines.to_string().contains("/ring"), "the path of a receiver may be a secret of its own: {lines}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_cannot_and_all_that_is_wrong_is_said_at_once() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let wrong = json!({ "url": "http://user@169.254.169.254/", "events": ["*", "deployment.scale"], "secret": "" });
    let reply = admin.post("/webhooks", &wrong).await.expect(422);
    let codes: Vec<_> = reply["violations"].as_array().unwrap().iter().map(|v| v["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["webhook.url.invalid", "webhook.events.unknown", "webhook.secret.length"]);
    for url in ["http://127.0.0.1:3030/", "http://localhost/", "http://[::ffff:127.0.0.1]/", "http://2130706433/"] {
        let reply = admin.post("/webhooks", &json!({ "url": url })).await.expect(422);
        assert_eq!(reply["violations"][0]["property_path"], "url", "{url}");
    }
    assert_eq!(admin.post("/webhooks", &json!({ "url": "https://x.example/", "name": "n" })).await.code(), "request.body");

    let good = json!({ "url": "https://receiver.example/" });
    for (role, status) in [("viewer", 403), ("operator", 200)] {
        admin.post("/users", &json!({ "username": role, "password": "long enough", "role": role })).await.expect(200);
        let caller = control.anonymous().login(role, "long enough").await;
        assert_eq!(caller.post("/webhooks", &good).await.status, status, "{role}");
        assert_eq!(caller.get("/webhooks").await.status, 200, "{role}");
    }
    let bound = json!({ "name": "ci", "scopes": ["admin"], "namespaces": ["shop"] });
    let token = admin.post("/tokens", &bound).await.expect(200);
    let bound = admin.with_token(token["token"].as_str().unwrap());
    assert_eq!((bound.get("/webhooks").await.status, bound.post("/webhooks", &good).await.status), (403, 403));
    control.stop().await;
}
