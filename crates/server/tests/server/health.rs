//! Health checks through every control node: what is replicated, what is asked for, and what is said when nobody can be asked.

use ring_runtime::{FakeExec, FakeScript};
use ring_server::JoinRole;
use serde_json::{Value, json};

use crate::host::{Host, deployment};
use crate::support::{Api, Control, eventually};

fn worker(replicas: u32) -> Value {
    json!({ "deployments": { "w": {
        "name": "w", "namespace": "ns", "runtime": "process", "kind": "worker", "command": ["serve"], "replicas": replicas,
        "placement": { "max_per_node": 1 },
        "health_checks": [{ "type": "command", "command": "well?", "interval": "100ms", "timeout": "20s", "threshold": 2,
            "on_failure": "alert", "readiness": true, "min_healthy_time": "100ms" }],
    } } })
}

fn exits(code: i32) -> FakeScript {
    FakeScript { exec: FakeExec::Exits(code, "said".to_owned()), ..FakeScript::default() }
}

async fn checks(api: &Api, query: &str) -> Vec<Value> {
    let id = deployment(api, "w").await["id"].as_str().unwrap().to_owned();
    api.get(&format!("/deployments/{id}/health-checks{query}")).await.expect(200).as_array().unwrap().clone()
}

async fn kinds(api: &Api) -> Vec<String> {
    let id = deployment(api, "w").await["id"].as_str().unwrap().to_owned();
    let events = api.get(&format!("/deployments/{id}/events")).await.expect(200);
    events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_replicated_and_its_history_is_had_through_any_control_node() {
    let first = Control::first().await;
    let token = first.token(JoinRole::Control);
    let second = Control::joined("c2", &token, &[first.cluster]).await;
    let (here, elsewhere) = (first.admin().await, second.admin().await);
    let host = Host::join("a1", &first).await;
    host.runtime.script_default(exits(0));
    let reply = here.post("/deployments", &worker(1)).await.expect(200);
    assert_eq!(reply["deployments"][0]["warnings"], json!([]), "health checks are run");
    let instance = async |api: &Api| deployment(api, "w").await["instances"][0].clone();
    eventually("ready", async || instance(&elsewhere).await["ready"] == true).await;
    assert!(kinds(&elsewhere).await.iter().any(|kind| kind == "instance_ready"));
    for api in [&here, &elsewhere] {
        let latest = checks(api, "?latest=true").await;
        let [one] = latest.as_slice() else { panic!("{latest:?}") };
        assert_eq!((&one["status"], &one["node"], &one["check"]), (&json!("success"), &json!("a1"), &json!(0)), "{one}");
        assert_eq!((&one["check_type"], &one["message"]), (&json!("command"), &json!("exit code 0: said")), "{one}");
        assert_eq!(one["instance"], instance(api).await["id"]);
        assert!(one["started_at"].is_string() && one["finished_at"].is_string(), "{one}");
    }
    host.runtime.script_default(exits(3));
    eventually("a failing check", async || instance(&elsewhere).await["failing_checks"][0]["message"] == "exit code 3").await;
    let failing = instance(&here).await;
    assert_eq!((&failing["ready"], &failing["status"]), (&json!(false), &json!("running")), "{failing}");
    assert_eq!(failing["failing_checks"][0]["check_type"], "command");
    let id = deployment(&here, "w").await["id"].as_str().unwrap().to_owned();
    assert_eq!(here.get(&format!("/deployments/{id}/instances")).await.expect(200)[0]["ready"], false);
    let limited = checks(&elsewhere, "?limit=2").await;
    assert_eq!((limited.len(), &limited[0]["status"]), (2, &json!("failed")));
    assert!(limited[0]["started_at"].as_str() >= limited[1]["started_at"].as_str(), "the newest first: {limited:?}");
    host.runtime.script_default(exits(0));
    eventually("ready again", async || instance(&elsewhere).await["ready"] == true).await;
    let told = kinds(&here).await;
    for kind in ["health_check_failed", "health_check_recovered"] {
        assert!(told.iter().any(|told| told == kind), "{kind} is not in {told:?}");
    }
    assert_eq!(host.runtime.starts(failing["id"].as_str().unwrap().parse().unwrap()), 1, "alert leaves it running");
    assert_eq!(here.get(&format!("/deployments/{id}/health-checks?limit=x")).await.expect(400)["code"], "request.query");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_node_cannot_be_asked_is_named() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let (near, far) = (Host::join("a1", &control).await, Host::join("a2", &control).await);
    for host in [&near, &far] {
        host.runtime.script_default(exits(0));
    }
    admin.post("/deployments", &worker(2)).await.expect(200);
    eventually("both are ready", async || {
        let found = deployment(&admin, "w").await;
        let instances = found["instances"].as_array().unwrap();
        instances.len() == 2 && instances.iter().all(|one| one["ready"] == true)
    })
    .await;
    let instances = deployment(&admin, "w").await["instances"].clone();
    let on = |node: &str| instances.as_array().unwrap().iter().find(|one| one["node"] == node).unwrap()["id"].clone();
    far.stop.cancel();
    eventually("the session is over", async || {
        checks(&admin, "?latest=true").await.iter().any(|one| one["status"] == "unreachable")
    })
    .await;
    let found = checks(&admin, "?limit=1").await;
    let [missing, known] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&missing["instance"], &missing["node"], &missing["started_at"]), (&on("a2"), &json!("a2"), &Value::Null));
    assert_eq!(missing["message"], "its node is not connected");
    assert_eq!((&known["instance"], &known["status"]), (&on("a1"), &json!("success")));
    control.stop().await;
}
