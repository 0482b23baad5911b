//! Rolling updates, restart and rollback over the REST API. No node runs work here: what is seen is what was decided.

use reqwest::Method;
use ring_server::node::Settings;
use ring_types::Span;
use serde_json::{Value, json};

use crate::support::{Api, Control, eventually, job};

fn web(version: &str, replicas: u32) -> Value {
    let check = json!({ "type": "tcp", "port": 80, "interval": "1s", "timeout": "1s", "readiness": true });
    json!({ "deployments": { "web": {
        "name": "web", "namespace": "ns", "runtime": "process", "command": ["serve", version], "replicas": replicas,
        "health_checks": [check],
    } } })
}

async fn apply(api: &Api, manifest: &Value) -> (String, String) {
    one(&api.post("/deployments", manifest).await.expect(200))
}

/// Id and outcome of the one deployment of a reply.
fn one(reply: &Value) -> (String, String) {
    let text = |field: &str| reply["deployments"][0][field].as_str().unwrap().to_owned();
    (text("id"), text("outcome"))
}

async fn follow(api: &Api, id: &str, what: &str, key: &str) -> crate::support::Answer {
    api.send(Method::POST, &format!("/deployments/{id}/{what}"), None, &[("idempotency-key", key)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_a_child_until_it_is_called_off() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let (old, _) = apply(&admin, &web("v1", 2)).await;
    let (new, outcome) = apply(&admin, &web("v2", 2)).await;
    assert_eq!(outcome, "updated");
    let child = admin.get(&format!("/deployments/{new}")).await.expect(200);
    assert_eq!((&child["parent_id"], &child["rollout"]), (&json!(old), &json!("progressing")));
    let conditions = child["conditions"].as_array().unwrap();
    assert!(conditions.contains(&json!("rolling_out")), "{child}");
    assert_eq!((&child["ready_replicas"], &child["has_previous"]), (&json!(0), &json!(true)));
    let both = admin.get("/deployments?name=web").await.expect(200);
    let ids: Vec<_> = both.as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&old, &new], "the newest last");
    assert_eq!(apply(&admin, &web("v2", 2)).await, (new.clone(), "unchanged".to_owned()));
    assert_eq!(apply(&admin, &web("v2", 3)).await, (new.clone(), "updated".to_owned()));
    let parent = admin.get(&format!("/deployments/{old}")).await.expect(200);
    assert_eq!(parent["desired_replicas"], 3);

    let first = follow(&admin, &new, "rollback", "k1").await.expect(200);
    assert_eq!(one(&first), (old.clone(), "restored".to_owned()));
    assert_eq!(follow(&admin, &new, "rollback", "k1").await.expect(200), first, "the same request again");
    let left = admin.get("/deployments?name=web").await.expect(200);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let none = follow(&admin, &old, "rollback", "k2").await;
    assert_eq!((none.status, none.code()), (409, "object.state"));
    assert!(none.body["detail"].as_str().unwrap().contains("was never changed"), "{}", none.body);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_done_once_however_often_it_is_asked_for() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let (old, _) = apply(&admin, &web("v1", 1)).await;
    let first = follow(&admin, &old, "restart", "k1").await.expect(200);
    let (new, outcome) = one(&first);
    assert_eq!(outcome, "updated");
    assert_ne!(old, new);
    assert_eq!(follow(&admin, &old, "restart", "k1").await.expect(200), first);
    let busy = follow(&admin, &old, "restart", "k2").await;
    assert_eq!((busy.status, busy.code()), (409, "object.conflict"));
    let events = admin.get(&format!("/deployments/{new}/events")).await.expect(200);
    let kinds: Vec<_> = events.as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"rollout_started") && kinds.contains(&"restart_requested"), "{kinds:?}");

    admin.post("/deployments", &job("ns", "once")).await.expect(200);
    let job = admin.get("/deployments?name=once").await.expect(200)[0]["id"].as_str().unwrap().to_owned();
    let refused = follow(&admin, &job, "restart", "k3").await;
    assert_eq!((refused.status, refused.code()), (409, "object.state"));
    let nobody = uuid::Uuid::nil().to_string();
    assert_eq!(follow(&admin, &nobody, "restart", "k4").await.status, 404);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_the_server_is_that_of_the_update() {
    let control = Control::first_with(Settings { rollout_deadline: Span(300), ..Settings::default() }).await;
    let admin = control.admin().await;
    let (old, _) = apply(&admin, &web("v1", 1)).await;
    let (new, _) = apply(&admin, &web("v2", 1)).await;
    let path = format!("/deployments/{new}");
    eventually("the update to fail", async || admin.get(&path).await.expect(200)["status"] == "failed").await;
    let failed = admin.get(&path).await.expect(200);
    assert_eq!((&failed["reason"], &failed["rollout"]), (&json!("rollout_deadline"), &json!("failed")));
    assert!(failed["message"].as_str().unwrap().starts_with("0 of 1 were ready"), "{failed}");
    let (path, clear) = (format!("/deployments/{old}"), json!([]));
    eventually("the old one to stand alone", async || {
        let old = admin.get(&path).await.expect(200);
        !old["conditions"].as_array().unwrap().contains(&json!("rolling_out"))
    })
    .await;
    assert_ne!(admin.get(&path).await.expect(200)["status"], "deleted");
    assert_eq!(admin.get(&format!("/deployments/{new}")).await.expect(200)["conditions"], clear);
    let refused = follow(&admin, &new, "restart", "k1").await;
    assert_eq!(refused.status, 409);
    assert!(refused.body["detail"].as_str().unwrap().contains(&old), "it says which one stands: {}", refused.body);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_may_not_restart() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let (id, _) = apply(&admin, &web("v1", 1)).await;
    admin.post("/users", &json!({ "username": "viewer", "password": "p", "role": "viewer" })).await.expect(200);
    let viewer = control.anonymous().login("viewer", "p").await;
    let elsewhere = json!({ "name": "ci", "scopes": ["deployments:write"], "namespaces": ["other"] });
    let token = admin.post("/tokens", &elsewhere).await.expect(200);
    let elsewhere = control.anonymous().with_token(token["token"].as_str().unwrap());
    for what in ["restart", "rollback"] {
        assert_eq!(follow(&viewer, &id, what, "k").await.status, 403);
        assert_eq!(follow(&elsewhere, &id, what, "k").await.status, 404);
    }
    control.stop().await;
}
