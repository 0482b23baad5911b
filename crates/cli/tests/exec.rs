//! `ring deployment exec` as a program against control nodes that do not run the command.

mod support;

use support::{Answer, Home, Request, Stub};

const ID: &str = "1a2b0000-0000-7000-8000-000000000001";

fn deployment() -> Answer {
    let deployment = format!(
        r#"{{"id":"{ID}","created_at":"2026-04-12T13:20:00Z","updated_at":"2026-04-12T13:21:00Z","status":"running",
        "namespace":"production","name":"web","kind":"worker","runtime":"docker","image":"web:1","replicas":1,
        "desired_replicas":1,"exit_status":null}}"#
    );
    Answer::Json(200, deployment)
}

fn problem(status: u16, code: &str) -> Answer {
    Answer::Problem(status, format!(r#"{{"title":"x","status":{status},"code":"{code}","detail":"the node says no"}}"#))
}

/// What came of a command, and how often it was asked for.
fn ask(answer: impl Fn() -> Answer + Send + Sync + 'static) -> (support::Ran, Vec<Request>) {
    let is_exec = |request: &Request| request.path.contains("/exec?");
    let stub = Stub::start(move |request| if is_exec(request) { answer() } else { deployment() });
    let ran = Home::new().run(&stub.address, &["deployment", "exec", ID, "-c", "1a2b", "--", "rm", "a b"]);
    (ran, stub.seen().into_iter().filter(is_exec).collect())
}

#[test]
fn a_command_is_asked_for_as_a_websocket() {
    let (ran, asked) = ask(|| problem(409, "instance.not_running"));
    assert_eq!((ran.code, ran.out.as_str()), (5, ""), "{}", ran.err);
    assert!(ran.err.starts_with("error: the node says no"), "{}", ran.err);
    let [request] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(request.path, format!("/deployments/{ID}/exec?command=rm&command=a+b&container=1a2b&window=32"));
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "ring.exec.v1"),
        ("authorization", "Bearer secret-token"),
    ] {
        assert_eq!(request.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn a_command_that_may_have_run_is_not_asked_for_again() {
    let (ran, asked) = ask(|| problem(503, "exec.interrupted"));
    assert_eq!((ran.code, asked.len()), (3, 1), "{}", ran.err);
    for status in [502, 504] {
        let (ran, asked) = ask(move || Answer::Json(status, String::new()));
        assert_eq!((ran.code, asked.len()), (3, 1), "{status}: {}", ran.err);
    }
    let (ran, asked) = ask(|| Answer::Lost);
    assert_eq!((ran.code, asked.len()), (3, 1), "{}", ran.err);
    assert!(ran.err.contains("error: lost the connection to http://") && ran.err.contains("hint: "), "{}", ran.err);
}

#[test]
fn a_node_that_is_out_of_contact_for_a_moment_is_waited_for() {
    let (ran, asked) = ask(|| problem(503, "node.unreachable"));
    assert!(ran.code == 3 && asked.len() > 1, "{} times: {}", asked.len(), ran.err);
}

#[test]
fn something_else_than_ring_is_no_command() {
    let (ran, asked) = ask(|| Answer::Json(200, "{}".to_owned()));
    assert_eq!((ran.code, asked.len()), (1, 1), "{}", ran.err);
    assert!(ran.err.contains("is not understood") && ran.err.contains("ring.exec.v1"), "{}", ran.err);
}
