//! Commands in instances through the API: what is refused, what goes through, what ends them.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use ring_api::client::{ClientError, ExecReceiver, ExecSession};
use ring_api::exec::{Control, Frame, TerminalSize};
use ring_api::query::ExecQuery;
use ring_runtime::{FakeCall, FakeExec, FakeScript};
use ring_server::JoinRole;
use ring_types::{DeploymentId, InstanceId};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::host::{Host, deployment, instance};
use crate::support::{Api, Control as ControlNode, eventually};

/// What one test works with: an instance that runs.
struct Scene {
    control: ControlNode,
    admin: Api,
    host: Host,
    id: DeploymentId,
    instance: InstanceId,
}

fn does(exec: FakeExec) -> FakeScript {
    FakeScript { exec, ..FakeScript::default() }
}

fn worker(replicas: u32) -> Value {
    json!({ "deployments": { "w": {
        "name": "w", "namespace": "ns", "runtime": "process", "kind": "worker", "command": ["serve"], "replicas": replicas,
    } } })
}

async fn scene(exec: FakeExec) -> Scene {
    let control = ControlNode::first().await;
    let admin = control.admin().await;
    let host = Host::join("a1", &control).await;
    host.runtime.script_default(does(exec));
    admin.post("/deployments", &worker(1)).await.expect(200);
    let found = running(&admin).await;
    let (id, instance) = (found["id"].as_str().unwrap().parse().unwrap(), instance(&found));
    Scene { control, admin, host, id, instance }
}

async fn running(api: &Api) -> Value {
    eventually("running", async || deployment(api, "w").await["status"] == "running").await;
    deployment(api, "w").await
}

fn query() -> ExecQuery {
    ExecQuery { command: vec!["it".to_owned()], stdin: true, window: Some(8), ..ExecQuery::default() }
}

/// Begins a command, whose first word is that it has begun.
async fn begin(api: &Api, id: DeploymentId) -> ExecSession {
    let mut session = api.client().exec(id, &query()).await.unwrap();
    let first = session.receiver.next().await.unwrap();
    assert!(matches!(first, Frame::Control(Control::Started(_))), "{first:?}");
    session
}

/// The code of the error a command ends with.
async fn broken(receiver: &mut ExecReceiver) -> String {
    loop {
        match receiver.next().await.unwrap() {
            Frame::Control(Control::Error(problem)) => return problem.code,
            Frame::Control(Control::ExitCode(code)) => panic!("it exited with {code}"),
            _ => {}
        }
    }
}

async fn dropped(host: &Host, instance: InstanceId) {
    host.runtime.called(|call| *call == FakeCall::ExecDropped(instance)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_against_it_is_said_before_the_upgrade() {
    let Scene { control, admin, host, id, instance } = scene(FakeExec::Unsupported).await;
    let refused = async |api: &Api, path: &str| {
        let answer = api.get(path).await;
        (answer.status, answer.code().to_owned())
    };
    let of = |status: u16, code: &str| (status, code.to_owned());
    let exec = format!("/deployments/{id}/exec");
    let run = format!("{exec}?command=it");
    let other = "00000000-0000-7000-8000-000000000000";
    assert_eq!(refused(&admin, &exec).await, of(400, "request.query"));
    assert_eq!(refused(&admin, &format!("{run}&tty=perhaps")).await, of(400, "request.query"));
    assert_eq!(refused(&admin, &format!("/deployments/{other}/exec?command=it")).await, of(404, "deployment.not_found"));
    assert_eq!(refused(&admin, &format!("{run}&container={other}")).await, of(404, "instance.not_found"));
    assert_eq!(refused(&admin, &run).await, of(426, "request.upgrade"));
    assert_eq!(refused(&control.anonymous(), &run).await, of(401, "auth.required"));
    let callers = [
        ("reads", json!(["deployments:read"]), json!([]), of(403, "auth.forbidden")),
        ("elsewhere", json!(["deployments:write"]), json!(["other"]), of(404, "deployment.not_found")),
    ];
    for (name, scopes, namespaces, told) in callers {
        let token = json!({ "name": name, "scopes": scopes, "namespaces": namespaces });
        let token = admin.post("/tokens", &token).await.expect(200);
        let caller = admin.with_token(token["token"].as_str().unwrap());
        assert_eq!(refused(&caller, &run).await, told, "{name}");
    }
    let told = async |query: &ExecQuery| match admin.client().exec(id, query).await.err().unwrap() {
        ClientError::Problem(problem) => (problem.code, problem.detail),
        other => panic!("{other}"),
    };
    let (code, detail) = told(&query()).await;
    assert!(code == "exec.refused" && detail.contains("node 'a1'") && detail.contains("not told what commands do"), "{detail}");
    host.stop.cancel();
    eventually("its node is out of contact", async || told(&query()).await.0 == "node.unreachable").await;
    let stopped = json!({ "deployments": { "j": { "name": "j", "namespace": "ns", "runtime": "process", "kind": "job", "command": ["x"] } } });
    admin.post("/deployments", &stopped).await.expect(200);
    let waiting = deployment(&admin, "j").await["id"].as_str().unwrap().to_owned();
    assert_eq!(refused(&admin, &format!("/deployments/{waiting}/exec?command=it")).await, of(409, "instance.not_running"));
    assert!(!host.runtime.calls().contains(&FakeCall::ExecDropped(instance)));
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_talked_to_through_a_control_node_without_the_session() {
    let Scene { control: first, host, id, instance, .. } = scene(FakeExec::Echoes).await;
    let second = ControlNode::joined("c2", &first.token(JoinRole::Control), &[first.cluster]).await;
    let elsewhere = second.admin().await;
    let ExecSession { mut receiver, mut sender } = begin(&elsewhere, id).await;
    // More than all windows together, so that each has to be told of what was taken.
    let pieces: Vec<Bytes> = (0..200_u32).map(|n| n.to_string().repeat(1_000).into()).collect();
    let expected: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
    let (may, mut free) = tokio::sync::mpsc::unbounded_channel();
    let (to, mut acks) = tokio::sync::mpsc::unbounded_channel();
    may.send(32_u32).unwrap();
    let sending = async {
        let (mut left, mut rest) = (0, pieces.into_iter());
        let mut next = rest.next();
        loop {
            tokio::select! {
                Some(messages) = free.recv() => left += messages,
                Some(messages) = acks.recv() => sender.send(Frame::Control(Control::Taken(messages))).await.unwrap(),
                () = std::future::ready(()), if left > 0 && next.is_some() => {
                    sender.send(Frame::Stdin(next.take().unwrap())).await.unwrap();
                    (left, next) = (left - 1, rest.next());
                    if next.is_none() {
                        sender.send(Frame::Control(Control::Resize(TerminalSize { rows: 3, columns: 9 }))).await.unwrap();
                    }
                }
            }
        }
    };
    let receiving = async {
        let (mut echoed, mut sized) = (Vec::new(), false);
        while !(sized && echoed.len() == expected.len()) {
            match receiver.next().await.unwrap() {
                Frame::Stdout(bytes) => {
                    if &bytes[..] == b"3 9\n" {
                        sized = true;
                    } else {
                        echoed.extend_from_slice(&bytes);
                    }
                    to.send(1).unwrap();
                }
                Frame::Control(Control::Taken(messages)) => may.send(messages).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        echoed
    };
    let echoed = tokio::select! { echoed = receiving => echoed, () = sending => unreachable!() };
    assert!(echoed == expected, "{} bytes came back of {}", echoed.len(), expected.len());
    drop((receiver, sender));
    dropped(&host, instance).await;
    second.stop().await;
    first.stop().await;
}

/// A client that speaks the protocol by hand.
async fn by_hand(scene: &Scene, query: &str) -> WebSocketStream<tokio::net::TcpStream> {
    let address = scene.control.api;
    let mut request =
        format!("ws://{address}/deployments/{}/exec?command=it&stdin&{query}", scene.id).into_client_request().unwrap();
    let token = format!("Bearer {}", scene.admin.token());
    request.headers_mut().insert("authorization", token.parse().unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert!(response.headers().contains_key("ring-served-by"));
    let first = heard(&mut socket).await;
    assert!(matches!(first, Frame::Control(Control::Started(_))), "{first:?}");
    socket
}

async fn heard(socket: &mut WebSocketStream<tokio::net::TcpStream>) -> Frame {
    loop {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            return Frame::decode(bytes).unwrap();
        }
    }
}

async fn say(socket: &mut WebSocketStream<tokio::net::TcpStream>, frame: Frame) {
    socket.send(Message::Binary(frame.encode())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_beyond_the_window_a_client_set() {
    let scene = scene(FakeExec::Writes(600_000)).await;
    let mut socket = by_hand(&scene, "window=2").await;
    let mut written = Vec::new();
    let mut next = async |socket: &mut _| match heard(socket).await {
        Frame::Stdout(bytes) => {
            written.extend_from_slice(&bytes);
            None
        }
        Frame::Control(Control::ExitCode(code)) => Some(code),
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        next(&mut socket).await;
    }
    // Two pings: in that time much could have come.
    for _ in 0..2 {
        let message = socket.next().await.unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    let code = loop {
        say(&mut socket, Frame::Control(Control::Taken(1))).await;
        if let Some(code) = next(&mut socket).await {
            break code;
        }
    };
    let expected: Vec<u8> = (0..600_000).map(|at| b'0' + (at % 10) as u8).collect();
    assert_eq!(code, 0);
    assert!(written == expected, "{} bytes came", written.len());
    let last = socket.next().await.unwrap().unwrap();
    assert!(matches!(&last, Message::Close(Some(frame)) if frame.code == 1000.into()), "{last:?}");
    scene.control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_protocol_ends_the_command() {
    let scene = scene(FakeExec::Hangs).await;
    let piece = || Message::Binary(Frame::Stdin(vec![b'x'; 1_000].into()).encode());
    let control = |control| Message::Binary(Frame::Control(control).encode());
    let wrong: [(&str, Vec<Message>, &str); 6] = [
        ("more input than it takes", (0..33).map(|_| piece()).collect(), "more input than"),
        ("a text", vec![Message::Text("ls".into())], "not binary"),
        ("a long piece", vec![Message::Binary(vec![0; 20_000].into())], "19999 bytes"),
        ("a count of what was not sent", vec![control(Control::Taken(9))], "more output taken"),
        ("what a server says", vec![control(Control::ExitCode(0))], "only a server"),
        ("no channel", vec![Message::Binary(vec![9].into())], "channel 9"),
    ];
    for (what, messages, why) in wrong {
        let mut socket = by_hand(&scene, "window=8").await;
        for message in messages {
            socket.send(message).await.unwrap();
        }
        let last = heard(&mut socket).await;
        let Frame::Control(Control::Error(problem)) = last else { panic!("{what}: {last:?}") };
        assert!(problem.code == "exec.protocol" && problem.detail.contains(why), "{what}: {problem:?}");
    }
    let ended = || scene.host.runtime.calls().iter().filter(|call| **call == FakeCall::ExecDropped(scene.instance)).count();
    eventually("all are ended", async || ended() == 6).await;
    scene.control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_silent_or_gone_ends_its_command() {
    let scene = scene(FakeExec::Hangs).await;
    drop(by_hand(&scene, "").await);
    dropped(&scene.host, scene.instance).await;
    // This one keeps its connection and reads nothing: no ping is answered.
    let _silent = by_hand(&scene, "").await;
    let ended = || scene.host.runtime.calls().iter().filter(|call| **call == FakeCall::ExecDropped(scene.instance)).count();
    eventually("the silent one is ended", async || ended() == 2).await;
    scene.control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_the_token_that_began_it() {
    let Scene { control, admin, host, id, instance } = scene(FakeExec::Hangs).await;
    let scopes = json!(["deployments:write"]);
    let token = admin.post("/tokens", &json!({ "name": "ci", "scopes": scopes })).await.expect(200);
    let mut session = begin(&admin.with_token(token["token"].as_str().unwrap()), id).await;
    admin.delete(&format!("/tokens/{}", token["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(broken(&mut session.receiver).await, "auth.required");
    dropped(&host, instance).await;
    let short = json!({ "name": "short", "scopes": scopes, "expires_in": "2s" });
    let token = admin.post("/tokens", &short).await.expect(200);
    let mut session = begin(&admin.with_token(token["token"].as_str().unwrap()), id).await;
    assert_eq!(broken(&mut session.receiver).await, "auth.required", "it has expired");
    let user = json!({ "username": "o", "password": "p", "role": "operator" });
    let user = admin.post("/users", &user).await.expect(200);
    let mut session = begin(&control.anonymous().login("o", "p").await, id).await;
    admin.delete(&format!("/users/{}", user["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(broken(&mut session.receiver).await, "auth.required", "its account is gone");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_its_deployment_its_agent_and_its_control_node() {
    let Scene { control, admin, host, id, .. } = scene(FakeExec::Hangs).await;
    let mut session = begin(&admin, id).await;
    admin.delete(&format!("/deployments/{id}")).await.expect(200);
    assert_eq!(broken(&mut session.receiver).await, "deployment.not_found");
    admin.post("/deployments", &worker(1)).await.expect(200);
    let again = running(&admin).await["id"].as_str().unwrap().parse().unwrap();
    let mut session = begin(&admin, again).await;
    host.stop.cancel();
    assert_eq!(broken(&mut session.receiver).await, "exec.interrupted", "the session of its agent ended");
    let other = Host::join("a2", &control).await;
    other.runtime.script_default(does(FakeExec::Hangs));
    let mut job = worker(1);
    job["deployments"]["w"]["name"] = "v".into();
    job["deployments"]["w"]["placement"] = json!({ "nodes": ["a2"] });
    admin.post("/deployments", &job).await.expect(200);
    eventually("running", async || deployment(&admin, "v").await["status"] == "running").await;
    let id = deployment(&admin, "v").await["id"].as_str().unwrap().parse().unwrap();
    let mut session = begin(&admin, id).await;
    let stopping = tokio::spawn(control.stop());
    assert_eq!(broken(&mut session.receiver).await, "server.stopping");
    drop(session);
    tokio::time::timeout(Duration::from_secs(30), stopping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_instances_one_is_chosen_and_said() {
    let control = ControlNode::first().await;
    let admin = control.admin().await;
    let host = Host::join("a1", &control).await;
    host.runtime.script_default(does(FakeExec::Exits(0, String::new())));
    admin.post("/deployments", &worker(2)).await.expect(200);
    eventually("both run", async || {
        let found = deployment(&admin, "w").await;
        found["instances"].as_array().unwrap().iter().filter(|one| one["status"] == "running").count() == 2
    })
    .await;
    let found = deployment(&admin, "w").await;
    let id: DeploymentId = found["id"].as_str().unwrap().parse().unwrap();
    let begun = async |container: Option<String>| {
        let mut session = admin.client().exec(id, &ExecQuery { container, ..query() }).await.unwrap();
        match session.receiver.next().await.unwrap() {
            Frame::Control(Control::Started(started)) => started,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(begun(None).await.others, 1);
    for one in found["instances"].as_array().unwrap() {
        let named = one["id"].as_str().unwrap();
        let started = begun(Some(named.to_owned())).await;
        assert_eq!((started.instance.to_string().as_str(), started.node.as_str(), started.others), (named, "a1", 0));
        let deed = format!("asked to run it in {named}");
        let lines = admin.get("/namespaces/ns/audit?action=deployment.exec").await.expect(200);
        let told = |line: &Value| line["objects"][0]["outcome"] == deed.as_str() && line["user"] == "admin";
        assert!(lines.as_array().unwrap().iter().any(told), "it is recorded before it begins: {lines}");
    }
    control.stop().await;
}
