//! The life of an API token: another secret, its last use, its end.

use std::time::Duration;

use crate::support::{Control, eventually};
use reqwest::Method;
use ring_server::node::Settings;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_has_another_secret_and_is_the_same_token() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let wanted = json!({ "name": "ci", "scopes": ["deployments:read"], "namespaces": ["shop"], "expires_in": "30d" });
    let made = admin.post("/tokens", &wanted).await.expect(200);
    let path = format!("/tokens/{}", made["id"].as_str().unwrap());
    let again = [("idempotency-key", "k1")];
    let rotated = admin.send(Method::POST, &format!("{path}/rotate"), None, &again).await.expect(200);
    assert_ne!(rotated["token"], made["token"]);
    for kept in ["id", "name", "user", "scopes", "namespaces", "created_at", "expires_at"] {
        assert_eq!(rotated[kept], made[kept], "{kept}");
    }
    let with = |token: &Value| control.anonymous().with_token(token.as_str().unwrap());
    assert_eq!(with(&made["token"]).get("/users/me").await.status, 401);
    with(&rotated["token"]).get("/users/me").await.expect(200);
    let repeated = admin.send(Method::POST, &format!("{path}/rotate"), None, &again).await.expect(200);
    assert_eq!(repeated["token"], rotated["token"], "a reply that was lost can be asked for once more");

    let shown = admin.get(&path).await.expect(200);
    assert_eq!((&shown["name"], &shown["token"]), (&json!("ci"), &Value::Null), "no secret is shown again");
    let audit = admin.get("/cluster/audit?action=token.rotate").await.expect(200);
    assert_eq!((audit.as_array().unwrap().len(), &audit[0]["objects"][0]["name"]), (1, &json!("ci")), "{audit}");
    admin.delete(&path).await.expect(200);
    assert_eq!(with(&rotated["token"]).get("/users/me").await.status, 401);
    assert_eq!(admin.post(&format!("{path}/rotate"), &json!({})).await.code(), "token.not_found");
    assert_eq!(admin.get(&path).await.code(), "token.not_found");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_not_rotated() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let made = admin.post("/tokens", &json!({ "name": "ci", "scopes": ["admin"], "expires_in": "1ms" })).await.expect(200);
    let token = control.anonymous().with_token(made["token"].as_str().unwrap());
    eventually("it is over", async || token.get("/users/me").await.status == 401).await;
    let refused = admin.post(&format!("/tokens/{}/rotate", made["id"].as_str().unwrap()), &json!({})).await;
    assert_eq!((refused.status, refused.code()), (409, "object.state"), "{}", refused.body);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_told_and_costs_no_entry_for_each_request() {
    let settings = Settings { note_uses_every: Duration::from_millis(300), ..Settings::default() };
    let control = Control::first_with(settings).await;
    let admin = control.admin().await;
    let made = admin.post("/tokens", &json!({ "name": "ci", "scopes": ["deployments:read"] })).await.expect(200);
    let path = format!("/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(made["last_used_at"], Value::Null);
    let token = control.anonymous().with_token(made["token"].as_str().unwrap());
    let last = async || admin.get(&path).await.expect(200)["last_used_at"].clone();
    // Also of a request that is refused.
    assert_eq!(token.get("/secrets").await.status, 403);
    eventually("the first use", async || last().await.is_string()).await;
    let (first, before) = (last().await, control.store.local().revision());
    for _ in 0..200 {
        token.get("/deployments").await.expect(200);
    }
    eventually("a later use", async || last().await != first).await;
    let entries = control.store.local().revision().0 - before.0;
    assert!(entries < 40, "{entries} entries for 200 requests");
    assert!(last().await.as_str().unwrap() > first.as_str().unwrap());
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_gathered_is_told_when_a_control_node_stops() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let made = admin.post("/tokens", &json!({ "name": "ci", "scopes": ["admin"] })).await.expect(200);
    control.anonymous().with_token(made["token"].as_str().unwrap()).get("/users/me").await.expect(200);
    let control = Control::again(control.stop().await).await;
    let tokens = control.admin().await.get("/tokens").await.expect(200);
    assert!(tokens[0]["last_used_at"].is_string(), "{tokens}");
    control.stop().await;
}
