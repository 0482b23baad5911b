//! Who did what, over the REST API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, Control, PASSWORD, eventually, job};

async fn lines(api: &Api, path: &str) -> Vec<Value> {
    api.get(path).await.expect(200).as_array().unwrap().clone()
}

/// Waits for a line of this action and outcome: refusals are gathered for a moment.
async fn line(api: &Api, path: &str, action: &str, outcome: &str) -> Value {
    let query = format!("{path}?action={action}&outcome={outcome}");
    eventually(&format!("{action} {outcome} in {path}"), async || !lines(api, &query).await.is_empty()).await;
    lines(api, &query).await.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_recorded_with_who_and_from_where() {
    let control = Control::first().await;
    let admin = control.admin().await;
    admin.post("/deployments", &job("shop", "one")).await.expect(200);
    let secret = json!({ "namespace": "shop", "name": "key", "value": "the-secret-value" });
    admin.post("/secrets", &secret).await.expect(200);
    admin.post("/users", &json!({ "username": "bob", "password": "his-password", "role": "viewer" })).await.expect(200);
    let refused = admin.delete("/namespaces/shop").await;
    assert_eq!(refused.status, 409);

    let shop = lines(&admin, "/namespaces/shop/audit").await;
    let told: Vec<_> = shop.iter().map(|l| (l["action"].as_str().unwrap(), l["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [("deployment.apply", "allowed"), ("secret.put", "allowed"), ("namespace.delete", "refused")]);
    let apply = &shop[0];
    assert_eq!((apply["user"].as_str(), apply["address"].as_str()), (Some("admin"), Some("127.0.0.1")));
    assert_eq!(apply["objects"][0]["name"], "one");
    assert_eq!(apply["objects"][0]["outcome"], "created");
    assert_eq!(
        (&shop[2]["code"], &shop[2]["message"]),
        (&refused.body["code"], &refused.body["detail"]),
        "what the caller was told"
    );

    let all = lines(&admin, "/cluster/audit").await;
    let actions: Vec<_> = all.iter().map(|l| l["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["session.login", "deployment.apply", "secret.put", "user.create", "namespace.delete"]);
    assert!(all[0]["token_id"].is_string() && all[0]["user"] == "admin", "{}", all[0]);
    let text = Value::from(all).to_string();
    for hidden in ["the-secret-value", "his-password", PASSWORD] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert_eq!(lines(&admin, "/cluster/audit?action=secret&limit=5").await.len(), 1);
    assert_eq!(lines(&admin, "/cluster/audit?user=bob").await.len(), 0);
    assert_eq!(admin.get("/cluster/audit?limit=0").await.status, 400);
    assert_eq!(admin.get("/namespaces/nowhere/audit").await.code(), "namespace.not_found");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_recorded_where_they_reached_for() {
    let control = Control::first().await;
    let admin = control.admin().await;
    admin.post("/users", &json!({ "username": "eve", "password": "p", "role": "viewer" })).await.expect(200);
    admin.post("/deployments", &job("shop", "one")).await.expect(200);
    let id = lines(&admin, "/deployments?name=one").await[0]["id"].as_str().unwrap().to_owned();
    let eve = control.anonymous().login("eve", "p").await;
    for _ in 0..3 {
        assert_eq!(eve.delete(&format!("/deployments/{id}")).await.status, 403);
    }
    let refused = line(&admin, "/cluster/audit", "deployment.delete", "refused").await;
    assert_eq!((refused["user"].as_str(), refused["code"].as_str()), (Some("eve"), Some("auth.forbidden")));
    assert_eq!(refused["objects"][0]["id"], id.as_str());
    let times: u64 =
        lines(&admin, "/cluster/audit?action=deployment.delete").await.iter().map(|l| l["count"].as_u64().unwrap()).sum();
    assert!((1..=3).contains(&times), "{times}");

    let token = json!({ "name": "ci", "scopes": ["deployments:read"], "namespaces": ["tools"] });
    let token = admin.post("/tokens", &token).await.expect(200)["token"].as_str().unwrap().to_owned();
    let ci = control.anonymous().with_token(&token);
    assert_eq!(ci.get(&format!("/deployments/{id}/logs")).await.status, 404, "what it may not see is not there");
    let hidden = line(&admin, "/namespaces/shop/audit", "deployment.logs", "refused").await;
    assert_eq!((hidden["token"].as_str(), hidden["user"].as_str()), (Some("ci"), Some("admin")));
    assert_eq!(ci.get("/namespaces/shop/audit").await.status, 403);

    let caller = control.anonymous();
    caller.post("/login", &json!({ "username": "eve", "password": "no" })).await.expect(401);
    caller.post("/login", &json!({ "username": "my-own-password", "password": "no" })).await.expect(401);
    assert_eq!(caller.with_token("ring_pat_unknown").get("/users/me").await.status, 401);
    let wrong = |user: &'static str| {
        let admin = &admin;
        async move { lines(admin, "/cluster/audit?action=session.login&outcome=refused").await.iter().any(|l| l["user"] == user) }
    };
    eventually("the wrong password of eve", async || wrong("eve").await).await;
    eventually("a login of nobody", async || wrong("").await).await;
    let unknown = line(&admin, "/cluster/audit", "user", "refused").await;
    assert_eq!((unknown["user"].as_str(), unknown["code"].as_str()), (Some(""), Some("auth.required")));
    let all = Value::from(lines(&admin, "/cluster/audit").await).to_string();
    assert!(!all.contains("my-own-password") && !all.contains("ring_pat_unknown"), "{all}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_output_is_recorded() {
    let control = Control::first().await;
    let admin = control.admin().await;
    admin.post("/deployments", &job("shop", "one")).await.expect(200);
    let id = lines(&admin, "/deployments?name=one").await[0]["id"].as_str().unwrap().to_owned();
    admin.send(Method::GET, &format!("/deployments/{id}/logs"), None, &[]).await.expect(200);
    let read = line(&admin, "/namespaces/shop/audit", "deployment.logs", "allowed").await;
    assert_eq!((read["objects"][0]["name"].as_str(), read["objects"][0]["id"].as_str()), (Some("one"), Some(id.as_str())));
    control.stop().await;
}
