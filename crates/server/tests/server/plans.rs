//! `POST /deployments?dry_run=true`: what an apply would do.

use serde_json::{Value, json};

use crate::support::{Control, job};

fn worker(image: &str, more: Value) -> Value {
    let mut web = json!({ "name": "web", "namespace": "ns", "image": image, "replicas": 2 });
    web.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "deployments": { "web": web } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_would_change_and_changes_nothing() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let mut manifest = worker("a:1", json!({ "environment": { "URL": { "secretRef": "url" } } }));
    manifest["configs"] = json!({ "c": { "name": "c", "namespace": "ns", "data": { "k": "v" } } });

    let new = admin.post("/deployments?dry_run=true", &manifest).await.expect(200);
    let web = &new["deployments"][0];
    assert_eq!((web["outcome"].as_str(), web["how"].as_str()), (Some("created"), Some("create")), "{new}");
    assert_eq!(new["namespaces"], json!([{ "name": "ns", "outcome": "created" }]));
    assert_eq!(new["configs"][0]["outcome"], "created");
    assert!(web["changes"].as_array().unwrap().contains(&json!({ "path": "image", "from": null, "to": "a:1" })), "{web}");
    assert!(web["warnings"][0].as_str().unwrap().contains("secret 'url' does not exist"), "{web}");
    assert!(web["waits_for"].as_str().unwrap().contains("secret 'url' does not exist"), "{web}");
    // No node runs work here, and that is said for each of both.
    let reasons: Vec<_> = web["placement"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert!(reasons.len() == 2 && reasons.iter().all(|reason| reason.contains("no node that runs work")), "{web}");
    assert_eq!(admin.get("/deployments").await.expect(200), json!([]));
    assert_eq!(admin.get("/namespaces/ns").await.status, 404);

    admin.post("/deployments", &manifest).await.expect(200);
    let same = admin.post("/deployments?dry_run=true", &manifest).await.expect(200);
    assert_eq!(same["deployments"][0]["outcome"], "unchanged", "{same}");
    assert_eq!((&same["deployments"][0]["how"], &same["deployments"][0]["placement"]), (&Value::Null, &json!([])));
    assert_eq!((&same["configs"][0]["outcome"], &same["namespaces"][0]["outcome"]), (&json!("unchanged"), &json!("unchanged")));
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_how_a_change_would_come_about() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let check =
        json!({ "health_checks": [{ "type": "tcp", "port": 80, "interval": "1s", "timeout": "1s", "on_failure": "alert" }] });
    admin.post("/deployments", &worker("a:1", check.clone())).await.expect(200);
    let plan = async |path: &str, manifest: &Value| {
        let plan = admin.post(path, manifest).await.expect(200)["deployments"][0].clone();
        let word = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
        (word("outcome"), word("how"), plan["changes"].clone())
    };
    let image = json!([{ "path": "image", "from": "a:1", "to": "a:2" }]);
    let rolling = plan("/deployments?dry_run=true", &worker("a:2", check.clone())).await;
    assert_eq!(rolling, ("updated".into(), "rolling".into(), image.clone()));
    let forced = plan("/deployments?dry_run=true&force=true", &worker("a:2", check.clone())).await;
    assert_eq!(forced, ("replaced".into(), "replace".into(), image));
    let mut scaled = worker("a:1", check.clone());
    scaled["deployments"]["web"]["replicas"] = json!(3);
    let scaled = plan("/deployments?dry_run=true", &scaled).await;
    assert_eq!(scaled, ("updated".into(), "scale".into(), json!([{ "path": "replicas", "from": 2, "to": 3 }])));
    let stands = admin.get("/deployments").await.expect(200);
    assert_eq!((stands.as_array().unwrap().len(), stands[0]["image"].as_str()), (1, Some("a:1")));
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_needs_the_rights_of_an_apply_obeys_its_rules_and_keeps_passwords() {
    let control = Control::first().await;
    let admin = control.admin().await;
    admin.post("/users", &json!({ "username": "v", "password": "p", "role": "viewer" })).await.expect(200);
    let viewer = control.anonymous().login("v", "p").await;
    assert_eq!(viewer.post("/deployments?dry_run=true", &job("ns", "x")).await.code(), "auth.forbidden");
    let token = json!({ "name": "ci", "scopes": ["deployments:write"], "namespaces": ["ns"] });
    let token = admin.post("/tokens", &token).await.expect(200);
    let ci = control.anonymous().with_token(token["token"].as_str().unwrap());
    assert_eq!(ci.post("/deployments?dry_run=true", &job("other", "x")).await.status, 403);
    assert_eq!(ci.post("/deployments?dry_run=true", &job("ns", "x")).await.status, 403, "it may not make the namespace");

    let bad = worker("a", json!({ "ports": [{ "published": 0, "target": 80 }], "replicas": -1 }));
    let (planned, applied) = (admin.post("/deployments?dry_run=true", &bad).await, admin.post("/deployments", &bad).await);
    assert_eq!((planned.status, &planned.body["violations"]), (422, &applied.body["violations"]));
    assert!(planned.body["violations"].as_array().unwrap().len() > 1, "{}", planned.body);

    let with =
        |password: &str| worker("a", json!({ "config": { "server": "r.example", "username": "u", "password": password } }));
    admin.post("/deployments", &with("first-pw")).await.expect(200);
    let plan = admin.post("/deployments?dry_run=true", &with("second-pw")).await.expect(200);
    assert!(!plan.to_string().contains("-pw"), "{plan}");
    let hidden = json!([{ "path": "config.password", "from": "(not shown)", "to": "(not shown)" }]);
    assert_eq!(plan["deployments"][0]["changes"], hidden);
    control.stop().await;
}
