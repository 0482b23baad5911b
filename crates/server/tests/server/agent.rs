//! An agent with a scripted runtime, on a cluster of three: work, secrets, output.

use crate::host::{Host, deployment, instance};
use crate::support::{Control, eventually, job};
use ring_runtime::{FakeCall, FakeScript, FakeStart, LogSource};
use ring_server::JoinRole;
use ring_types::Outcome;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_and_its_code_is_told() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let host = Host::join("a1", &control).await;
    host.runtime.script_default(FakeScript { start: FakeStart::Ends(Outcome::Code(7)), ..FakeScript::default() });
    admin.post("/deployments", &job("ns", "j")).await.expect(200);
    eventually("failed", async || deployment(&admin, "j").await["status"] == "failed").await;
    let done = deployment(&admin, "j").await;
    assert_eq!(done["exit_status"]["code"], 7);
    assert_eq!(done["exit_status"]["node"], "a1");
    assert_eq!(host.runtime.starts(instance(&done)), 1);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_secret_is_missing_says_so_and_runs_when_it_is_there() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let host = Host::join("a1", &control).await;
    host.runtime.script_default(FakeScript { start: FakeStart::Ends(Outcome::Code(0)), ..FakeScript::default() });
    let mut manifest = job("ns", "j");
    manifest["deployments"]["j"]["environment"] = json!({ "DB": { "secretRef": "gone" } });
    admin.post("/deployments", &manifest).await.expect(200);
    eventually("the fault is named", async || deployment(&admin, "j").await["status"] == "config_error").await;
    let named = deployment(&admin, "j").await["message"].to_string();
    assert!(named.contains("secret 'gone' does not exist"), "{named}");
    admin.post("/secrets", &json!({ "namespace": "ns", "name": "gone", "value": "v" })).await.expect(200);
    eventually("completed", async || deployment(&admin, "j").await["status"] == "completed").await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_read_and_followed_through_a_control_node_without_the_session() {
    let first = Control::first().await;
    let token = first.token(JoinRole::Control);
    let second = Control::joined("c2", &token, &[first.cluster]).await;
    let admin = first.admin().await;
    let host = Host::join("a1", &first).await;
    admin.post("/deployments", &job("ns", "j")).await.expect(200);
    eventually("running", async || deployment(&admin, "j").await["status"] == "running").await;
    let running = deployment(&admin, "j").await;
    let (id, instance) = (running["id"].as_str().unwrap().to_owned(), instance(&running));
    host.runtime.print(instance, LogSource::Stdout, "one");
    host.runtime.print(instance, LogSource::Stderr, "two");

    let elsewhere = second.admin().await;
    let lines = elsewhere.get(&format!("/deployments/{id}/logs")).await.expect(200);
    let seen: Vec<_> =
        lines.as_array().unwrap().iter().map(|l| (l["line"].as_str().unwrap(), l["stream"].as_str().unwrap())).collect();
    assert_eq!(seen, [("one", "stdout"), ("two", "stderr")]);
    let last = elsewhere.get(&format!("/deployments/{id}/logs?tail=1")).await.expect(200);
    assert_eq!((last.as_array().unwrap().len(), last[0]["line"].as_str()), (1, Some("two")));

    let follower = {
        let path = format!("/deployments/{id}/logs?follow=true");
        tokio::spawn(async move { elsewhere.stream(&path, &[]).await })
    };
    host.runtime.called(|call| matches!(call, FakeCall::Logs(i) if *i == instance)).await;
    host.runtime.print(instance, LogSource::Stdout, "three");
    host.runtime.finish(instance, Outcome::Code(0));
    let text = follower.await.unwrap();
    let lines: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    let lines: Vec<Value> = lines.iter().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let words: Vec<_> = lines.iter().map(|l| l["line"].as_str().unwrap()).collect();
    assert_eq!(words, ["one", "two", "three"], "{text}");
    assert!(text.contains("event: end"), "{text}");

    // A reader whose control node died goes on after the last line it saw.
    let id_of_two = text.lines().filter_map(|l| l.strip_prefix("id: ")).nth(1).unwrap().to_owned();
    let rest = admin.stream(&format!("/deployments/{id}/logs?follow=true"), &[("last-event-id", &id_of_two)]).await;
    assert!(rest.contains("three") && !rest.contains("\"two\""), "{rest}");
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_finds_another_control_node_and_loses_nothing() {
    let first = Control::first().await;
    let token = first.token(JoinRole::Control);
    let second = Control::joined("c2", &token, &[first.cluster]).await;
    let third = Control::joined("c3", &token, &[first.cluster]).await;
    let admin = first.admin().await;
    let host = Host::join("a1", &first).await;
    admin.post("/deployments", &job("ns", "j")).await.expect(200);
    eventually("running", async || deployment(&admin, "j").await["status"] == "running").await;
    eventually("three voters", async || {
        let members = admin.get("/cluster/members").await.expect(200);
        members.as_array().unwrap().iter().all(|m| m["role"] == "voter") && members.as_array().unwrap().len() == 3
    })
    .await;
    let instance = instance(&deployment(&admin, "j").await);
    let elsewhere = second.admin().await;
    first.stop().await;
    host.runtime.finish(instance, Outcome::Code(3));
    eventually("failed", async || {
        let found = elsewhere.get("/deployments?name=j").await;
        found.status == 200 && found.body[0]["status"] == "failed"
    })
    .await;
    assert_eq!(deployment(&elsewhere, "j").await["exit_status"]["code"], 3);
    assert_eq!(host.runtime.starts(instance), 1);
    third.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_ends_with_the_token_that_asked_for_it() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let host = Host::join("a1", &control).await;
    admin.post("/deployments", &job("ns", "j")).await.expect(200);
    eventually("running", async || deployment(&admin, "j").await["status"] == "running").await;
    let running = deployment(&admin, "j").await;
    let (id, instance) = (running["id"].as_str().unwrap().to_owned(), instance(&running));
    host.runtime.print(instance, LogSource::Stdout, "one");
    let token = json!({ "name": "reads", "scopes": ["deployments:read"] });
    let token = admin.post("/tokens", &token).await.expect(200);
    let reader = admin.with_token(token["token"].as_str().unwrap());
    let following = ["logs", "events"].map(|what| {
        let (reader, path) = (reader.clone(), format!("/deployments/{id}/{what}?follow=true"));
        tokio::spawn(async move { reader.stream(&path, &[]).await })
    });
    host.runtime.called(|call| matches!(call, FakeCall::Logs(i) if *i == instance)).await;
    admin.delete(&format!("/tokens/{}", token["id"].as_str().unwrap())).await.expect(200);
    for stream in following {
        let text = tokio::time::timeout(std::time::Duration::from_secs(30), stream).await.unwrap().unwrap();
        assert!(!text.contains("event: end"), "it is not at its end: {text}");
    }
    assert_eq!(reader.get(&format!("/deployments/{id}/logs?follow=true")).await.status, 401);
    control.stop().await;
}
