//! What deployments carry: secrets, configs, registry credentials and volumes, from the request to the runtime of the node.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use ring_runtime::{FakeScript, FakeStart, Workload};
use ring_types::{Outcome, RuntimeKind, VolumeDriver};
use serde_json::{Value, json};

use crate::host::{Host, deployment, instance};
use crate::support::{Api, Control, eventually};

const IMAGE: &str = "registry.example:5000/team/web:1";

fn manifest(name: &str, fields: Value) -> Value {
    let mut deployment = json!({ "name": name, "namespace": "ns", "image": IMAGE, "kind": "job" });
    deployment.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "deployments": { name: deployment } })
}

/// A control node, and a host whose containers end well at once.
async fn start() -> (Control, Api, Host) {
    let control = Control::first().await;
    let admin = control.admin().await;
    let host = Host::join_with("a1", &control, RuntimeKind::Docker).await;
    host.runtime.script_default(FakeScript { start: FakeStart::Ends(Outcome::Code(0)), ..FakeScript::default() });
    (control, admin, host)
}

async fn secret(api: &Api, name: &str, value: &str) {
    api.post("/secrets", &json!({ "namespace": "ns", "name": name, "value": value })).await.expect(200);
}

async fn reached(api: &Api, name: &str, status: &str) -> Value {
    eventually(&format!("{name} {status}"), async || deployment(api, name).await["status"] == status).await;
    deployment(api, name).await
}

/// What the runtime was given for a job that completed.
async fn given(api: &Api, host: &Host, name: &str) -> Workload {
    let done = reached(api, name, "completed").await;
    host.runtime.workload(instance(&done)).unwrap()
}

fn file(workload: &Workload, destination: &str) -> (String, bool) {
    let found = workload.files.iter().find(|file| file.destination == destination).unwrap();
    (String::from_utf8(found.content.to_vec()).unwrap(), found.secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_gets_its_files_and_variables_and_the_registry_of_its_manifest() {
    let (control, admin, host) = start().await;
    secret(&admin, "tls", "-----KEY-----").await;
    secret(&admin, "db", "postgres://x").await;
    let mut wanted = manifest(
        "j",
        json!({
            "environment": { "DB": { "secretRef": "db" }, "MODE": "live" },
            "volumes": [
                { "type": "config", "source": "settings", "key": "site.conf", "destination": "/etc/site.conf" },
                { "type": "secret", "source": "tls", "destination": "/run/tls.key" },
                { "type": "volume", "source": "data", "destination": "/data" },
            ],
            "config": { "username": "robot", "password": "hush-hush" },
        }),
    );
    wanted["configs"] =
        json!({ "c": { "namespace": "ns", "name": "settings", "data": { "site.conf": "listen 80;", "b": "x" } } });
    let reply = admin.post("/deployments", &wanted).await.expect(200);
    assert_eq!(reply["deployments"][0]["warnings"], json!([]), "the config comes with the manifest");
    let workload = given(&admin, &host, "j").await;
    assert_eq!(file(&workload, "/etc/site.conf"), ("listen 80;".into(), false));
    assert_eq!(file(&workload, "/run/tls.key"), ("-----KEY-----".into(), true));
    assert_eq!((&*workload.environment["DB"], &*workload.environment["MODE"]), ("postgres://x", "live"));
    let login = workload.registry.unwrap();
    assert_eq!((login.server, &*login.username, &*login.password), (None, "robot", "hush-hush"));
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_secret_is_read_in_every_form_and_the_hosts_login_is_left_to_the_host() {
    let (control, admin, host) = start().await;
    let auth = STANDARD.encode("robot:pass:word");
    let docker = json!({ "auths": { "registry.example:5000": { "auth": auth }, "else.example": { "auth": "eDp5" } } });
    secret(&admin, "plain", r#"{"username": "robot", "password": "pass:word"}"#).await;
    secret(&admin, "docker", &docker.to_string()).await;
    for name in ["plain", "docker"] {
        let config = json!({ "config": { "image_pull_secret": name } });
        admin.post("/deployments", &manifest(name, config)).await.expect(200);
        let login = given(&admin, &host, name).await.registry.unwrap();
        assert_eq!((login.server, &*login.username, &*login.password), (None, "robot", "pass:word"), "{name}");
    }
    admin.post("/deployments", &manifest("own", json!({ "config": { "use_host_auth": true } }))).await.expect(200);
    assert!(given(&admin, &host, "own").await.registry.is_none());
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_heals_and_never_blocks_a_delete() {
    let (control, admin, host) = start().await;
    let volume = |kind: &str, source: &str| json!({ "type": kind, "source": source, "key": "k", "destination": "/x" });
    let nfs = json!({ "type": "volume", "driver": "nfs", "source": "films", "destination": "/x" });
    let settings = json!({ "namespace": "ns", "name": "settings", "data": { "k": "v" } });
    let films = json!({ "namespace": "ns", "name": "films", "driver": "nfs", "source": "files:/films" });
    let cases = [
        (
            "variable",
            json!({ "environment": { "A": { "secretRef": "a" } } }),
            "secret 'a'",
            "/secrets",
            json!({ "namespace": "ns", "name": "a", "value": "v" }),
        ),
        (
            "file",
            json!({ "volumes": [volume("secret", "b")] }),
            "secret 'b'",
            "/secrets",
            json!({ "namespace": "ns", "name": "b", "value": "v" }),
        ),
        ("config", json!({ "volumes": [volume("config", "settings")] }), "config 'settings'", "/configs", settings),
        (
            "pull",
            json!({ "config": { "image_pull_secret": "c" } }),
            "secret 'c'",
            "/secrets",
            json!({ "namespace": "ns", "name": "c", "value": r#"{"username": "u", "password": "p"}"# }),
        ),
        ("share", json!({ "volumes": [nfs] }), "volume 'films'", "/volumes", films),
    ];
    for (name, fields, said, route, object) in cases {
        let reply = admin.post("/deployments", &manifest(name, fields.clone())).await.expect(200);
        let warned = reply["deployments"][0]["warnings"].to_string();
        assert!(warned.contains(said) && warned.contains("does not exist"), "{name}: {warned}");
        let waiting = reached(&admin, name, "config_error").await;
        let message = waiting["message"].as_str().unwrap();
        assert!(message.starts_with(said) && message.contains("does not exist in namespace 'ns', named in "), "{message}");
        let path = format!("/deployments/{}", waiting["id"].as_str().unwrap());
        admin.delete(&path).await.expect(200);
        eventually("it is gone", async || admin.get(&path).await.status == 404).await;
        admin.post("/deployments", &manifest(name, fields)).await.expect(200);
        reached(&admin, name, "config_error").await;
        admin.post(route, &object).await.expect(200);
        given(&admin, &host, name).await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_secret_that_cannot_be_read_says_so_and_heals() {
    let (control, admin, host) = start().await;
    secret(&admin, "pull", "hush-hush").await;
    let mut wanted = manifest("j", json!({ "config": { "image_pull_secret": "pull" } }));
    wanted["deployments"]["j"]["restart"] = json!({ "backoff": "100ms" });
    admin.post("/deployments", &wanted).await.expect(200);
    let failed = reached(&admin, "j", "config_error").await;
    let message = failed["message"].as_str().unwrap();
    for said in ["config.image_pull_secret: secret 'pull' in namespace 'ns' is not JSON", "ring secret create pull -n ns"] {
        assert!(message.contains(said) && !message.contains("hush"), "{message}");
    }
    secret(&admin, "pull", r#"{"username": "u", "password": "p"}"#).await;
    assert_eq!(&*given(&admin, &host, "j").await.registry.unwrap().username, "u");
    control.stop().await;
}

/// Every file below a directory has none of these words.
fn assert_nowhere(dir: &std::path::Path, words: &[&str]) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, words);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for word in words {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word} is in {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_password_is_kept_sealed_compared_and_copied_and_never_comes_back() {
    let (control, admin, host) = start().await;
    let with = |password: &str, image: &str| {
        manifest("j", json!({ "image": image, "config": { "username": "robot", "password": password } }))
    };
    let apply = async |password: &str, image: &str| {
        admin.post("/deployments", &with(password, image)).await.expect(200)["deployments"][0].clone()
    };
    let first = apply("hush-hush", IMAGE).await;
    assert_eq!(&*given(&admin, &host, "j").await.registry.unwrap().password, "hush-hush");
    let again = apply("hush-hush", IMAGE).await;
    assert_eq!((&again["outcome"], &again["id"]), (&json!("unchanged"), &first["id"]));
    let other = apply("other-word", IMAGE).await;
    assert_eq!(other["outcome"], "replaced");
    eventually("the new password", async || {
        let shown = deployment(&admin, "j").await;
        shown["id"] == other["id"] && shown["status"] == "completed"
    })
    .await;
    assert_eq!(&*given(&admin, &host, "j").await.registry.unwrap().password, "other-word");

    let shown = format!(
        "{}{}{}",
        admin.get("/deployments").await.expect(200),
        admin.get(&format!("/deployments/{}", other["id"].as_str().unwrap())).await.expect(200),
        admin.get(&format!("/deployments/{}/events", other["id"].as_str().unwrap())).await.expect(200),
    );
    assert!(shown.contains("robot") && !shown.contains("hush-hush") && !shown.contains("other-word"), "{shown}");
    let (dir, _) = control.stop().await;
    assert_nowhere(dir.path(), &["hush-hush", "other-word"]);
    assert_nowhere(host.dir(), &["hush-hush", "other-word"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_ties_its_deployments_to_the_node_with_its_data() {
    let (control, admin, host) = start().await;
    let second = Host::join_with("a2", &control, RuntimeKind::Docker).await;
    second.runtime.script_default(FakeScript { start: FakeStart::Ends(Outcome::Code(0)), ..FakeScript::default() });
    let nodes =
        async || admin.get("/nodes").await.expect(200).as_array().unwrap().iter().filter(|n| n["status"] == "ready").count();
    eventually("both nodes", async || nodes().await == 2).await;
    let data = json!([{ "type": "volume", "source": "data", "destination": "/data" }]);
    let mut first = manifest("first", json!({ "volumes": data }));
    first["deployments"]["first"]["placement"] = json!({ "nodes": ["a2"] });
    admin.post("/deployments", &first).await.expect(200);
    reached(&admin, "first", "completed").await;
    let made = admin.get("/volumes?namespace[]=ns").await.expect(200)[0].clone();
    assert_eq!((&made["name"], &made["driver"], &made["node"]), (&json!("data"), &json!("local"), &json!("a2")), "{made}");
    assert_eq!(made["used_by"], json!(["first"]));

    for n in 0..3 {
        let name = format!("next{n}");
        admin.post("/deployments", &manifest(&name, json!({ "volumes": data }))).await.expect(200);
        assert_eq!(reached(&admin, &name, "completed").await["exit_status"]["node"], "a2");
    }
    let mut elsewhere = manifest("elsewhere", json!({ "volumes": data }));
    elsewhere["deployments"]["elsewhere"]["placement"] = json!({ "nodes": ["a1"] });
    admin.post("/deployments", &elsewhere).await.expect(200);
    eventually("why it waits", async || deployment(&admin, "elsewhere").await["message"].is_string()).await;
    let message = deployment(&admin, "elsewhere").await["message"].to_string();
    assert!(message.contains("volume data is on a2, which rules out 1 node"), "{message}");

    let path = format!("/volumes/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).await.status, 409);
    assert_eq!(admin.delete("/namespaces/ns").await.status, 409);
    admin.delete(&format!("{path}?force=true")).await.expect(200);
    assert_eq!(admin.get(&path).await.code(), "volume.not_found");
    drop(host);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_made_shown_and_forgotten_and_a_file_server_reaches_the_runtime() {
    let (control, admin, host) = start().await;
    let body = |fields: Value| {
        let mut body = json!({ "namespace": "ns", "name": "films" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for (fields, code) in [
        (json!({ "driver": "nfs" }), "volume.source.required"),
        (json!({ "driver": "nfs", "source": "/films" }), "volume.source.invalid"),
        (json!({ "driver": "nfs", "source": "files:/films", "node": "a1" }), "volume.node.not_of_type"),
        (json!({ "source": "files:/films" }), "volume.source.not_of_type"),
        (json!({ "node": "nobody" }), "volume.node.unknown"),
    ] {
        let refused = admin.post("/volumes", &body(fields)).await;
        assert_eq!((refused.status, refused.body["violations"][0]["code"].as_str()), (422, Some(code)));
    }
    assert_eq!(admin.post("/volumes", &body(json!({ "driver": "tape" }))).await.status, 400);
    let wanted = body(json!({ "driver": "nfs", "source": "files:/films", "labels": { "team": "a" } }));
    let again = [("idempotency-key", "v1")];
    let made = admin.send(Method::POST, "/volumes", Some(&wanted), &again).await.expect(200);
    assert_eq!(admin.send(Method::POST, "/volumes", Some(&wanted), &again).await.expect(200)["id"], made["id"]);
    assert_eq!(admin.post("/volumes", &wanted).await.status, 409);
    let shown = admin.get(&format!("/volumes/{}", made["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&shown["source"], &shown["node"], &shown["labels"]["team"]), (&json!("files:/films"), &Value::Null, &json!("a")));
    assert_eq!(admin.get("/namespaces/ns").await.expect(200)["volumes"], 1);
    assert_eq!(admin.get("/volumes?namespace=other").await.expect(200), json!([]));
    let older = json!({ "namespace": "ns", "name": "local", "backend_type": "local" });
    admin.post("/volumes", &older).await.expect(200);

    // By the name of the volume, with and without its driver, and without any name.
    let mounts = json!([
        { "type": "volume", "source": "films", "destination": "/a", "permission": "ro" },
        { "type": "volume", "driver": "nfs", "source": "films", "destination": "/b" },
        { "type": "volume", "driver": "nfs", "source": "other:/x", "destination": "/c" },
    ]);
    admin.post("/deployments", &manifest("j", json!({ "volumes": mounts }))).await.expect(200);
    let seen: Vec<_> = given(&admin, &host, "j").await.spec.volumes.iter().map(|v| (v.source.clone(), v.driver)).collect();
    let export = |source: &str| (source.to_owned(), VolumeDriver::Nfs);
    assert_eq!(seen, [export("files:/films"), export("files:/films"), export("other:/x")]);
    let wrong = json!([{ "type": "volume", "driver": "nfs", "source": "local", "destination": "/a" }]);
    let refused = admin.post("/deployments", &manifest("wrong", json!({ "volumes": wrong }))).await;
    assert_eq!(refused.body["violations"][0]["code"], "deployment.volumes.driver.mismatch");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_namespaces_bound_volumes() {
    let control = Control::first().await;
    let admin = control.admin().await;
    for namespace in ["ns", "other"] {
        admin.post("/volumes", &json!({ "namespace": namespace, "name": "data" })).await.expect(200);
    }
    let token = async |scopes: Value, namespaces: Value| {
        let body = json!({ "name": "t", "scopes": scopes, "namespaces": namespaces });
        let made = admin.post("/tokens", &body).await.expect(200);
        control.anonymous().with_token(made["token"].as_str().unwrap())
    };
    let reader = token(json!(["volumes:read"]), json!([])).await;
    assert_eq!(reader.get("/volumes").await.expect(200).as_array().unwrap().len(), 2);
    assert_eq!(reader.post("/volumes", &json!({ "namespace": "ns", "name": "x" })).await.status, 403);
    assert_eq!(token(json!(["configs:write"]), json!([])).await.get("/volumes").await.status, 403);
    let bound = token(json!(["volumes:write"]), json!(["ns"])).await;
    let seen = bound.get("/volumes").await.expect(200);
    assert_eq!((seen.as_array().unwrap().len(), &seen[0]["namespace"]), (1, &json!("ns")));
    let hidden = admin.get("/volumes?namespace=other").await.expect(200)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(bound.get(&format!("/volumes/{hidden}")).await.status, 404);
    assert_eq!(bound.delete(&format!("/volumes/{hidden}")).await.status, 404);
    assert_eq!(bound.post("/volumes", &json!({ "namespace": "other", "name": "x" })).await.status, 403);
    bound.delete(&format!("/volumes/{}", seen[0]["id"].as_str().unwrap())).await.expect(200);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_changes_is_seen_by_the_next_instance() {
    let (control, admin, host) = start().await;
    let put = async |value: &str| {
        let mut wanted = manifest(
            "w",
            json!({ "kind": "worker", "volumes": [{ "type": "config", "source": "c", "key": "k", "destination": "/c" }] }),
        );
        wanted["configs"] = json!({ "c": { "namespace": "ns", "name": "c", "data": { "k": value } } });
        admin.post("/deployments", &wanted).await.expect(200)["deployments"][0]["outcome"].clone()
    };
    host.runtime.script_default(FakeScript::default());
    assert_eq!(put("one").await, "created");
    let running = reached(&admin, "w", "running").await;
    let first = instance(&running);
    assert_eq!(put("two").await, "unchanged", "the deployment is as it was");
    assert_eq!(file(&host.runtime.workload(first).unwrap(), "/c").0, "one");
    host.runtime.finish(first, Outcome::Code(1));
    eventually("another instance", async || {
        let shown = deployment(&admin, "w").await;
        shown["status"] == "running" && instance(&shown) != first
    })
    .await;
    let next = instance(&deployment(&admin, "w").await);
    assert_eq!(file(&host.runtime.workload(next).unwrap(), "/c").0, "two");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_comes_in_one_reply_and_nothing_is_applied() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../api/testdata/rejected.json")).unwrap();
    let deployments: serde_json::Map<_, _> = cases
        .iter()
        .enumerate()
        .map(|(i, case)| {
            let mut one = json!({ "name": format!("d{i}"), "namespace": "ns", "image": "i:1" });
            one.as_object_mut().unwrap().extend(case["fields"].as_object().unwrap().clone());
            (format!("d{i}"), one)
        })
        .collect();
    let refused = admin.post("/deployments", &json!({ "deployments": deployments })).await;
    assert_eq!((refused.status, refused.code()), (422, "request.invalid"));
    let violations = refused.body["violations"].as_array().unwrap();
    for (i, case) in cases.iter().enumerate() {
        let path = format!("deployments.d{i}.{}", case["path"].as_str().unwrap());
        let found = violations.iter().any(|v| v["property_path"] == *path && v["code"] == case["code"]);
        assert!(found, "{}: {path} is not in {violations:#?}", case["name"]);
    }
    assert_eq!(admin.get("/namespaces/ns").await.status, 404);
    control.stop().await;
}
