//! The REST API of one control node, over its port.

use crate::support::{Control, PASSWORD, job};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_token_that_works_until_it_is_given_up() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let me = admin.get("/users/me").await.expect(200);
    assert_eq!((me["username"].as_str(), me["role"].as_str()), (Some("admin"), Some("admin")));
    admin.send(Method::POST, "/logout", None, &[]).await.expect(200);
    let refused = admin.get("/users/me").await;
    assert_eq!((refused.status, refused.code()), (401, "auth.required"));
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_say_nothing_and_are_limited() {
    let control = Control::first().await;
    control.ready().await;
    let caller = control.anonymous();
    let wrong = caller.post("/login", &json!({ "username": "admin", "password": "wrong" })).await;
    let unknown = caller.post("/login", &json!({ "username": "nobody", "password": PASSWORD })).await;
    assert_eq!((wrong.status, &wrong.body), (401, &unknown.body));
    let mut last = unknown;
    for _ in 0..20 {
        last = caller.post("/login", &json!({ "username": "admin", "password": "wrong" })).await;
    }
    assert_eq!((last.status, last.code()), (429, "request.too_many"));
    assert!(last.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_is_not_open_wants_a_token() {
    let control = Control::first().await;
    control.ready().await;
    let caller = control.anonymous();
    let described = caller.get("/openapi.json").await.expect(200);
    let mut closed = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] == json!([{}]) || path == "/login" {
                continue;
            }
            let id = uuid::Uuid::nil().to_string();
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = caller.send(method.clone(), &path.replace("{id}", &id).replace("{name}", "x"), None, &[]).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.body);
            closed += 1;
        }
    }
    assert!(closed > 40, "{closed}");
    for open in ["/healthz", "/readyz", "/metrics"] {
        caller.get(open).await.expect(200);
    }
    let missing = caller.get("/nothing").await;
    assert_eq!(missing.code(), "route.not_found");
    let entry = caller.get(missing.body["type"].as_str().unwrap()).await.expect(200);
    assert!(entry.as_str().unwrap().contains("What to do"), "{entry}");
    assert_eq!(caller.get("/errors/no.such_code").await.code(), "object.not_found");
    let closed = caller.send(Method::PUT, "/deployments", None, &[]).await;
    assert_eq!((closed.status, closed.headers["allow"].to_str().unwrap()), (405, "GET, HEAD, POST"));
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_scopes_bound_what_a_caller_may() {
    let control = Control::first().await;
    let admin = control.admin().await;
    for role in ["viewer", "operator"] {
        admin.post("/users", &json!({ "username": role, "password": "p", "role": role })).await.expect(200);
    }
    let viewer = control.anonymous().login("viewer", "p").await;
    let operator = control.anonymous().login("operator", "p").await;
    operator.post("/deployments", &job("ns", "one")).await.expect(200);
    assert_eq!(viewer.get("/deployments").await.expect(200).as_array().unwrap().len(), 1);
    assert_eq!(viewer.post("/deployments", &job("ns", "two")).await.code(), "auth.forbidden");
    assert_eq!(operator.post("/cluster/tokens", &json!({ "role": "agent" })).await.status, 403);
    assert_eq!(operator.post("/users", &json!({ "username": "x", "password": "p" })).await.status, 403);

    let token = json!({ "name": "ci", "scopes": ["deployments:write"], "namespaces": ["ns"] });
    let token = admin.post("/tokens", &token).await.expect(200);
    let ci = control.anonymous().with_token(token["token"].as_str().unwrap());
    ci.post("/deployments", &job("ns", "three")).await.expect(200);
    assert_eq!(ci.post("/deployments", &job("other", "three")).await.status, 403);
    assert_eq!(ci.get("/secrets?namespace=ns").await.status, 403);
    admin.post("/deployments", &job("other", "hidden")).await.expect(200);
    let seen = ci.get("/deployments").await.expect(200);
    assert!(seen.as_array().unwrap().iter().all(|d| d["namespace"] == "ns"), "{seen}");
    let hidden = admin.get("/deployments?namespace[]=other").await.expect(200)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ci.get(&format!("/deployments/{hidden}")).await.status, 404);
    assert_eq!(ci.delete(&format!("/deployments/{hidden}")).await.status, 404);

    let id = token["id"].as_str().unwrap();
    admin.delete(&format!("/tokens/{id}")).await.expect(200);
    assert_eq!(ci.get("/deployments").await.status, 401);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays_and_a_new_role_ends_tokens() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let me = admin.get("/users/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.delete(&format!("/users/{me}")).await.status, 409);
    for role in ["viewer", "operator"] {
        let demoted = admin.send(Method::PUT, &format!("/users/{me}"), Some(&json!({ "role": role })), &[]).await;
        assert_eq!((demoted.status, demoted.code()), (409, "object.conflict"));
    }
    let other = admin.post("/users", &json!({ "username": "o", "password": "p", "role": "operator" })).await.expect(200);
    let caller = control.anonymous().login("o", "p").await;
    let path = format!("/users/{}", other["id"].as_str().unwrap());
    admin.send(Method::PUT, &path, Some(&json!({ "role": "viewer" })), &[]).await.expect(200);
    assert_eq!(caller.get("/users/me").await.status, 401);

    // With another admin it is no longer the last; a new role or password ends sessions and tokens, another name does not.
    let second = admin.post("/users", &json!({ "username": "s", "password": "p", "role": "admin" })).await.expect(200);
    let path = format!("/users/{}", second["id"].as_str().unwrap());
    for (name, password, change, status) in [
        ("s", "p", json!({ "username": "t" }), 200),
        ("t", "p", json!({ "role": "admin" }), 200),
        ("t", "p", json!({ "password": "q" }), 401),
        ("t", "q", json!({ "role": "operator" }), 401),
    ] {
        let session = control.anonymous().login(name, password).await;
        let token = session.post("/tokens", &json!({ "name": "ci", "scopes": ["admin"] })).await.expect(200);
        let token = session.with_token(token["token"].as_str().unwrap());
        admin.send(Method::PUT, &path, Some(&change), &[]).await.expect(200);
        let seen = [session.get("/users/me").await.status, token.get("/users/me").await.status];
        assert_eq!(seen, [status; 2], "{change}");
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_one_request() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let again = [("idempotency-key", "k1")];
    let first = admin.send(Method::POST, "/deployments", Some(&job("ns", "one")), &again).await.expect(200);
    let second = admin.send(Method::POST, "/deployments", Some(&job("ns", "one")), &again).await.expect(200);
    assert_eq!(first, second);
    assert_eq!(first["deployments"][0]["outcome"], "created");
    let other = admin.post("/deployments", &job("ns", "one")).await.expect(200);
    assert_eq!(other["deployments"][0]["outcome"], "unchanged");

    let token = json!({ "name": "t", "scopes": ["admin"] });
    let first = admin.send(Method::POST, "/tokens", Some(&token), &again).await.expect(200);
    let second = admin.send(Method::POST, "/tokens", Some(&token), &again).await.expect(200);
    assert_eq!(first["token"], second["token"]);
    assert!(first["token"].as_str().unwrap().starts_with("ring_pat_"));

    let id = first["id"].as_str().unwrap();
    for _ in 0..2 {
        admin.send(Method::DELETE, &format!("/tokens/{id}"), None, &again).await.expect(200);
    }
    assert_eq!(admin.delete(&format!("/tokens/{id}")).await.status, 404);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_mistakes_are_ten_violations_and_nothing_is_applied() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let manifest = json!({ "deployments": {
        "good": { "name": "good", "namespace": "ns", "image": "a:1" },
        "bad": {
            "name": "bad", "namespace": "ns", "image": "a b", "replicas": 3,
            "environment": { "1A": "x", "B-C": "y" },
            "network": { "mode": "host" },
            "ports": [{ "published": 80, "target": 80 }, { "published": 80, "target": 81 }],
            "volumes": [{ "type": "bind", "source": "/a", "destination": "b" }, { "type": "config", "source": "c", "destination": "/c" }],
            "autoscale": { "min": 0, "max": 0, "target_cpu": 100 },
            "health_checks": [{ "type": "tcp", "port": 0, "interval": "10s", "timeout": "1s" }],
        },
    } });
    let refused = admin.post("/deployments", &manifest).await;
    assert_eq!((refused.status, refused.code()), (422, "request.invalid"));
    let violations = refused.body["violations"].as_array().unwrap();
    assert!(violations.len() >= 10, "{violations:#?}");
    for one in violations {
        assert!(one["property_path"].as_str().unwrap().starts_with("deployments.bad"), "{one}");
        assert!(one["code"].as_str().unwrap().starts_with("deployment."), "{one}");
    }
    assert_eq!(admin.get("/deployments").await.expect(200), json!([]));
    assert_eq!(admin.get("/namespaces/ns").await.status, 404);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_host_can_run_waits_with_a_reason_and_a_missing_secret_is_warned_of() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let manifest = json!({ "deployments": { "j": {
        "name": "j", "namespace": "ns", "image": "a:1", "kind": "job", "runtime": "cloud-hypervisor",
    } } });
    let taken = admin.post("/deployments", &manifest).await.expect(200);
    assert_eq!(taken["deployments"][0]["outcome"], json!("created"), "{taken}");
    let manifest = json!({ "deployments": { "w": {
        "name": "w", "namespace": "ns", "image": "a:1", "environment": { "A": { "secretRef": "gone" } },
        "health_checks": [{ "type": "http", "url": "http://localhost/", "interval": "10s", "timeout": "1s" }],
    } } });
    let reply = admin.post("/deployments", &manifest).await.expect(200);
    let warnings = reply["deployments"][0]["warnings"].to_string();
    assert!(!warnings.contains("health_checks") && warnings.contains("secret 'gone'"), "{warnings}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_in_and_never_comes_out() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let body = |value: &str| json!({ "namespace": "ns", "name": "db", "value": value });
    let made = admin.post("/secrets", &body("hush-1")).await.expect(200);
    let changed = admin.post("/secrets", &body("hush-2")).await.expect(200);
    assert_eq!(made["id"], changed["id"]);
    let everything = format!("{made}{changed}{}", admin.get("/secrets").await.expect(200));
    assert!(!everything.contains("hush"), "{everything}");
    let manifest = json!({ "deployments": { "w": {
        "name": "w", "namespace": "ns", "image": "a:1", "environment": { "DB": { "secretRef": "db" } },
    } } });
    admin.post("/deployments", &manifest).await.expect(200);
    let path = format!("/secrets/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).await.status, 409);
    admin.delete(&format!("{path}?force=true")).await.expect(200);
    assert_eq!(admin.get(&path).await.status, 404);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_deployment_leaves_its_name_free() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let first = admin.post("/deployments", &job("ns", "one")).await.expect(200)["deployments"][0]["id"].clone();
    let path = format!("/deployments/{}", first.as_str().unwrap());
    admin.delete(&path).await.expect(200);
    assert_eq!(admin.get("/deployments?name=one").await.expect(200), json!([]));
    let second = admin.post("/deployments", &job("ns", "one")).await.expect(200)["deployments"][0]["id"].clone();
    assert_ne!(first, second);
    let listed = admin.get("/deployments?name=one&kind=job&status[]=pending").await.expect(200);
    assert_eq!(listed[0]["id"], second);
    assert_eq!(admin.get("/deployments?kind=worker").await.expect(200), json!([]));
    let events = admin.get(&format!("/deployments/{}/events?limit=1", second.as_str().unwrap())).await.expect(200);
    assert_eq!(events.as_array().unwrap().len(), 1);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_to_the_end_and_taken_up_where_they_were() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let id = admin.post("/deployments", &job("ns", "one")).await.expect(200)["deployments"][0]["id"].clone();
    let path = format!("/deployments/{}", id.as_str().unwrap());
    let follower = {
        let (admin, path) = (admin.clone(), format!("{path}/events?follow=true"));
        tokio::spawn(async move { admin.stream(&path, &[]).await })
    };
    admin.delete(&path).await.expect(200);
    let text = follower.await.unwrap();
    assert!(text.contains("\"kind\":\"created\"") && text.trim_end().ends_with("event: end\ndata: end"), "{text:?}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_says_so() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let raw = |body: String| {
        let request = reqwest::Client::new().post(format!("http://{}/login", control.api)).body(body);
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(raw("{".into()).await, 400);
    assert_eq!(raw("x".repeat(ring_api::MAX_BODY + 1)).await, 413);
    assert_eq!(admin.post("/deployments", &json!([1])).await.status / 100, 4);
    assert_eq!(admin.get("/deployments?status=runing").await.code(), "request.query");
    assert_eq!(admin.get("/deployments/x").await.status, 404);
    assert_eq!(admin.post("/namespaces", &json!({ "name": "a b" })).await.code(), "request.invalid");
    assert_eq!(admin.post("/namespaces", &json!({ "nam": "x" })).await.code(), "request.body");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_say_what_they_reflect() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let revision = admin.post("/namespaces", &json!({ "name": "n" })).await.expect(200)["revision"].as_u64().unwrap();
    let current = admin.get("/namespaces").await;
    let shown: u64 = current.headers["ring-revision"].to_str().unwrap().parse().unwrap();
    assert!(shown >= revision && !current.headers.contains_key("ring-stale-age"));
    assert_eq!(current.headers["ring-served-by"], "c1");
    assert!(admin.get("/namespaces?consistency=stale").await.headers.contains_key("ring-stale-age"));
    let status = admin.get("/cluster").await.expect(200);
    assert_eq!((status["leader"].as_u64(), status["quorum"].as_bool()), (Some(1), Some(true)));
    assert_eq!(status["state_digest"].as_str().unwrap().len(), 64);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_knows_everything() {
    let control = Control::first().await;
    control.admin().await.post("/deployments", &job("ns", "one")).await.expect(200);
    let kept = control.stop().await;
    let control = Control::again(kept).await;
    let listed = control.admin().await.get("/deployments").await.expect(200);
    assert_eq!(listed[0]["name"], "one");
    control.stop().await;
}
