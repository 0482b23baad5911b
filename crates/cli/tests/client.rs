//! The client as a program against control nodes that answer as they are told.

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Answer, Cut, Home, Request, Stub, finish};

const ID: &str = "1a2b0000-0000-7000-8000-000000000001";

const JOB: &str = r#"
deployments:
  migrate:
    name: migrate
    namespace: production
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
"#;

fn deployment(status: &str, exit: &str) -> String {
    format!(
        r#"{{"id":"{ID}","created_at":"2026-04-12T13:20:00Z","updated_at":"2026-04-12T13:21:00Z","status":"{status}",
        "namespace":"production","name":"migrate","kind":"job","runtime":"docker","image":"myapp:v1.2.3","replicas":0,
        "desired_replicas":1,"exit_status":{exit}}}"#
    )
}

fn exit(code: i32) -> String {
    format!(
        r#"{{"code":{code},"signal":null,"oom_killed":false,"started_at":"2026-04-12T13:20:00Z",
        "finished_at":"2026-04-12T13:20:03.250Z","node":"host-1"}}"#
    )
}

fn applied(outcome: &str) -> Answer {
    Answer::Json(
        200,
        format!(
            r#"{{"deployments":[{{"label":"migrate","id":"{ID}","namespace":"production","name":"migrate",
            "outcome":"{outcome}","warnings":[]}}],"revision":7}}"#
        ),
    )
}

/// The address of a control node that is down.
fn nobody_there() -> String {
    format!("127.0.0.1:{}", ring_testkit::ports::free_one().expect("a port"))
}

fn problem(status: u16, code: &str, detail: &str) -> Answer {
    Answer::Problem(status, format!(r#"{{"title":"x","status":{status},"code":"{code}","detail":"{detail}"}}"#))
}

/// Answers for one job that goes through these states, one a look.
fn job_that(states: &'static [(&'static str, Option<i32>)]) -> impl Fn(&Request) -> Answer + Send + Sync {
    let looks = AtomicUsize::new(0);
    move |request: &Request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/deployments") => applied("created"),
        ("GET", path) if path.ends_with("/logs?tail=20") => {
            let line = |text: &str| format!(r#"{{"instance":"{ID}","node":"host-1","stream":"stderr","line":"{text}"}}"#);
            Answer::Json(200, format!("[{},{}]", line("migrating"), line("table is missing")))
        }
        ("GET", path) if path == format!("/deployments/{ID}") => {
            let look = looks.fetch_add(1, Ordering::SeqCst).min(states.len() - 1);
            let (status, code) = states[look];
            Answer::Json(200, deployment(status, &code.map_or("null".to_owned(), exit)))
        }
        _ => problem(404, "not_found", "no such page"),
    }
}

#[test]
fn health_checks_name_the_nodes_that_cannot_be_asked() {
    let other = "1a2b0000-0000-7000-8000-000000000002";
    let stub = Stub::start(move |request| {
        if request.path == format!("/deployments/{ID}") {
            return Answer::Json(200, deployment("running", "null"));
        }
        let missing = |instance: &str| {
            format!(
                r#"{{"id":"{instance}","deployment_id":"{ID}","instance":"{instance}","node":"host-2","check":null,"check_type":null,
                "status":"unreachable","message":"its node is not connected","created_at":null,"started_at":null,"finished_at":null}}"#
            )
        };
        Answer::Json(200, format!("[{},{}]", missing(ID), missing(other)))
    });
    let ran = Home::new().run(&stub.address, &["deployment", "health-checks", ID, "--latest", "--limit", "5", "-o", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let list: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["status"]), (2, &"unreachable".into()));
    assert!(ran.err.contains("host-2, which cannot be asked") && ran.err.contains("has no health checks"), "{}", ran.err);
    assert_eq!(stub.seen()[1].path, format!("/deployments/{ID}/health-checks?latest=true&limit=5"));
}

#[test]
fn a_list_is_a_json_array_that_scripts_read() {
    let stub = Stub::start(|_| Answer::Json(200, format!("[{}]", deployment("completed", &exit(0)))));
    let ran = Home::new().run(&stub.address, &["deployment", "list", "--type", "job", "-n", "production", "-o", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let list: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["status"], &list[0]["id"]), (&"migrate".into(), &"completed".into(), &ID.into()));
    let request = &stub.seen()[0];
    assert_eq!(request.path, "/deployments?namespace%5B%5D=production&kind=job");
    assert_eq!(request.headers["authorization"], "Bearer secret-token");
}

#[test]
fn apply_returns_once_the_job_is_created() {
    let stub = Stub::start(job_that(&[("pending", None), ("creating", None), ("running", None), ("completed", Some(0))]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, &*format!("deployment production/migrate created (id {ID})\n"), "")
    );
    let seen = stub.seen();
    assert_eq!(seen.iter().filter(|r| r.method == "GET").count(), 3, "it stops at running");
    assert!(seen[0].body.contains(r#""image":"myapp:v1.2.3""#));
}

#[test]
fn detach_does_not_look_at_all() {
    let stub = Stub::start(job_that(&[("pending", None)]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    assert_eq!(home.run(&stub.address, &["apply", "-f", &file, "--detach"]).code, 0);
    assert_eq!(stub.seen().len(), 1);
}

#[test]
fn wait_succeeds_with_the_job() {
    let stub = Stub::start(job_that(&[("creating", None), ("running", None), ("completed", Some(0))]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file, "--wait"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.err, "deployment production/migrate completed: exit code 0 after 3.2s on host-1\n");
}

#[test]
fn wait_fails_with_the_job_and_shows_its_code_and_its_last_lines() {
    let stub = Stub::start(job_that(&[("running", None), ("failed", Some(7))]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file, "--wait"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err);
}

#[test]
fn timeout_has_a_code_of_its_own() {
    let stub = Stub::start(job_that(&[("running", None)]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file, "--wait", "--timeout", "300ms"]);
    assert_eq!((ran.code, ran.err.as_str()), (124, "error: after 300ms not done: 'production/migrate'\n"));
    let ran = home.run(&stub.address, &["deployment", "wait", ID, "--for", "completed", "--timeout", "200ms"]);
    assert_eq!(ran.code, 124);
}

#[test]
fn ctrl_c_stops_the_waiting() {
    let stub = Stub::start(job_that(&[("running", None)]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let mut command = home.command(&stub.address, &["apply", "-f", &file, "--wait"]);
    let mut child = command.env("RING_TOKEN", "x").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while stub.seen().len() < 3 {
        assert!(std::time::Instant::now() < deadline, "it never waited");
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_lost_reply_is_asked_for_again_with_the_same_key() {
    let posts = AtomicUsize::new(0);
    let job = job_that(&[("running", None)]);
    let stub = Stub::start(move |request| match request.method.as_str() {
        "POST" if posts.fetch_add(1, Ordering::SeqCst) == 0 => Answer::Lost,
        _ => job(request),
    });
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let keys: Vec<_> = stub.seen().iter().filter(|r| r.method == "POST").map(|r| r.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn the_next_control_node_is_asked_when_one_is_down_or_has_no_leader() {
    let down = nobody_there();
    let leaderless = Stub::start(|_| problem(503, "cluster.no_leader", "an election is going on"));
    let good = Stub::start(|_| Answer::Json(200, "[]".into()));
    let hosts = format!("{down},{},{}", leaderless.address, good.address);
    let ran = Home::new().run(&hosts, &["deployment", "list", "-o", "json"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "[]\n"), "{}", ran.err);
    assert_eq!((leaderless.seen().len(), good.seen().len()), (1, 1));
}

#[test]
fn a_control_node_that_dies_during_the_wait_is_replaced_by_another() {
    let dying = AtomicUsize::new(0);
    let first = job_that(&[("running", None)]);
    let first = Stub::start(move |request| if dying.fetch_add(1, Ordering::SeqCst) < 3 { first(request) } else { Answer::Lost });
    let second = Stub::start(job_that(&[("running", None), ("completed", Some(0))]));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&format!("{},{}", first.address, second.address), &["apply", "-f", &file, "--wait"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(second.seen().iter().all(|request| request.method == "GET"), "it applies once");
}

#[test]
fn followed_logs_go_on_at_another_node_without_a_line_twice() {
    let line = |n: u32| format!("id: {n}\ndata: {{\"instance\":\"{ID}\",\"node\":\"host-1\",\"line\":\"line {n}\"}}\n\n");
    let (head, tail) = (line(1) + &line(2), line(3) + "event: end\n\n");
    let first = Stub::start(move |request| match request.path.as_str() {
        path if path.contains("/logs") => Answer::Events(head.clone(), Cut::Abrupt),
        _ => Answer::Json(200, deployment("running", "null")),
    });
    let second = Stub::start(move |request| {
        assert_eq!(request.headers["last-event-id"], "2");
        Answer::Events(tail.clone(), Cut::Orderly)
    });
    let ran = Home::new().run(&format!("{},{}", first.address, second.address), &["deployment", "logs", ID, "--follow"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "line 1\nline 2\nline 3\n"), "{}", ran.err);
}

#[test]
fn a_stream_without_an_end_mark_ends_when_nothing_more_comes() {
    let asked = AtomicUsize::new(0);
    let stub = Stub::start(move |request| match request.path.as_str() {
        path if path.contains("/logs") => {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            let line = format!("id: 1\ndata: {{\"instance\":\"{ID}\",\"line\":\"only\"}}\n\n");
            Answer::Events(if first { line } else { String::new() }, Cut::Orderly)
        }
        _ => Answer::Json(200, deployment("running", "null")),
    });
    let ran = Home::new().run(&stub.address, &["deployment", "logs", ID, "-f"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "only\n"), "{}", ran.err);
}

#[test]
fn each_kind_of_error_has_its_exit_code() {
    for (status, code, exit) in [
        (400, "request.malformed", 1),
        (401, "auth.missing", 2),
        (403, "auth.forbidden", 2),
        (404, "deployment.not_found", 4),
        (409, "deployment.conflict", 5),
    ] {
        let stub = Stub::start(move |_| problem(status, code, "this is why"));
        let ran = Home::new().run(&stub.address, &["namespace", "create", "x"]);
        assert_eq!(ran.code, exit, "{status}: {}", ran.err);
        assert!(ran.err.starts_with("error: this is why\n"), "{}", ran.err);
    }
    let down = nobody_there();
    let ran = Home::new().run(&down, &["node", "list"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.starts_with(&format!("error: cannot reach the API at http://{down} (")), "{}", ran.err);
}

#[test]
fn every_violation_of_the_server_is_shown() {
    let body = r#"{"title":"Invalid","status":422,"code":"request.invalid","detail":"2 violations","violations":[
        {"property_path":"deployments.a.ports","message":"taken","code":"x"},
        {"property_path":"deployments.b.name","message":"taken, too","code":"y"}]}"#;
    let stub = Stub::start(move |_| Answer::Problem(422, body.to_owned()));
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "error: 2 violations\n  deployments.a.ports: taken\n  deployments.b.name: taken, too\n");
}

#[test]
fn a_bad_manifest_is_not_sent() {
    let stub = Stub::start(|_| applied("created"));
    let home = Home::new();
    let text = "deployments:\n  t-${BUILD_ID}:\n    nme: t\n    image: x\n    replicas: lots\n    command: [echo, $LATER]\n";
    let file = home.file("bad.yaml", text);
    let ran = finish({
        let mut command = home.command(&stub.address, &["apply", "-f", "bad.yaml"]);
        command.env("RING_TOKEN", "x");
        command
    });
    assert_eq!((ran.code, stub.seen().len()), (1, 0));
    insta::assert_snapshot!(ran.err);
    let ran = home.run(&stub.address, &["apply", "-f", &file, "-o", "json"]);
    assert_eq!(ran.code, 1, "a wrong command line, too");
}

#[test]
fn variables_come_from_the_environment_and_the_env_file() {
    let stub = Stub::start(job_that(&[("running", None)]));
    let home = Home::new();
    home.file("vars.env", "TAG=from-file\nBUILD_ID=from-file\n");
    home.file(
        "ci.yaml",
        &JOB.replace("migrate:\n    name: migrate", "t-${BUILD_ID}:\n    name: t-${BUILD_ID}").replace("v1.2.3", "$TAG"),
    );
    let mut command = home.command(&stub.address, &["apply", "-f", "ci.yaml", "-e", "vars.env", "--detach"]);
    command.env("RING_TOKEN", "x").env("BUILD_ID", "17");
    let ran = finish(command);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let sent: serde_json::Value = serde_json::from_str(&stub.seen()[0].body).unwrap();
    assert_eq!(sent["deployments"]["t-17"]["name"], "t-17");
    assert_eq!(sent["deployments"]["t-17"]["image"], "myapp:from-file");
}

#[test]
fn login_keeps_the_token_for_its_owner_and_later_commands_use_it() {
    let stub = Stub::start(|request| match request.path.as_str() {
        "/login" => {
            assert!(request.body.contains(r#""password":"pa ss""#), "{}", request.body);
            let user = format!(r#"{{"id":"{ID}","username":"admin","role":"admin"}}"#);
            Answer::Json(200, format!(r#"{{"token":"session","expires_at":null,"user":{user}}}"#))
        }
        _ => Answer::Json(200, "[]".into()),
    });
    let home = Home::new();
    let mut child = home.command(&stub.address, &["login"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"pa ss\n").unwrap();
    assert!(child.wait().unwrap().success());
    let kept = home.0.path().join("credentials.toml");
    assert_eq!(std::fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = finish(home.command(&stub.address, &["user", "list", "-o", "json"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(stub.seen()[1].headers["authorization"], "Bearer session");
    assert_eq!(finish(home.command(&stub.address, &["context", "user-token"])).out, "session\n");
}

#[test]
fn without_a_token_it_says_how_to_get_one() {
    let home = Home::new();
    let ran = finish(home.command("127.0.0.1:1", &["deployment", "list"]));
    assert_eq!(ran.code, 2);
    assert_eq!(ran.err, "error: not logged in at 127.0.0.1:1\nhint: log in with: ring login, or set RING_TOKEN\n");
}

#[test]
fn a_token_is_alone_on_standard_output() {
    let stub = Stub::start(|_| {
        let token =
            format!(r#"{{"id":"{ID}","role":"agent","token":"ring_join_x","join_command":"ring cluster join h --token t"}}"#);
        Answer::Json(201, token.replace('}', r#","revision":3}"#))
    });
    let ran = Home::new().run(&stub.address, &["cluster", "token", "create", "--uses", "2", "--expires", "1h"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "ring_join_x\n"));
    assert!(ran.err.contains("on the new host: ring cluster join h --token t"), "{}", ran.err);
    assert_eq!(stub.seen()[0].body, r#"{"role":"agent","expires_in":"1h","uses":2}"#);
}

#[test]
fn objects_are_found_by_prefix_and_by_name() {
    let stub = Stub::start(|request| match request.path.as_str() {
        path if path.starts_with("/deployments?") || path == "/deployments" => {
            Answer::Json(200, format!("[{}]", deployment("failed", &exit(7))))
        }
        path if path == format!("/deployments/{ID}") && request.method == "DELETE" => {
            Answer::Json(200, r#"{"revision":9}"#.into())
        }
        path if path == format!("/deployments/{ID}") => Answer::Json(200, deployment("failed", &exit(7))),
        _ => problem(404, "not_found", "no such page"),
    });
    let home = Home::new();
    for typed in [ID, "1a2b0000", "production/migrate", "migrate"] {
        let ran = home.run(&stub.address, &["deployment", "delete", typed]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "deployment production/migrate deleted\n"), "{typed}: {}", ran.err);
    }
    let ran = home.run(&stub.address, &["deployment", "inspect", "production/other"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.starts_with("error: deployment 'production/other' not found\n"), "{}", ran.err);
}

#[test]
fn init_writes_a_configuration_once_and_never_replaces_the_key() {
    let home = Home::new();
    let data = home.0.path().join("data").display().to_string();
    let init = |extra: &[&str]| {
        let mut args = vec!["init", "--runtime", "process", "--port", "4040"];
        args.extend(extra);
        let mut command = home.command("", &args);
        command.env("RING_DATA_DIR", &data);
        finish(command)
    };
    let ran = init(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let key = std::fs::read_to_string(home.0.path().join("secret-key")).unwrap();
    assert!(std::fs::read_to_string(home.0.path().join("config.toml")).unwrap().contains("api.port = 4040"));
    assert_eq!(init(&[]).code, 5);
    assert_eq!(init(&["--force"]).code, 0);
    assert_eq!(std::fs::read_to_string(home.0.path().join("secret-key")).unwrap(), key);
}

#[test]
fn the_client_alone_says_that_it_is_no_node() {
    let home = Home::new();
    let ran = finish(home.command("", &["cluster", "init", "--advertise", "10.0.0.1"]));
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.starts_with("error: this build of ring is the client alone: it cannot run 'ring cluster init'\n"),
        "{}",
        ran.err
    );
}

#[test]
fn contexts_are_listed_and_switched_and_comments_stay() {
    let home = Home::new();
    home.file(
        "config.toml",
        "# mine\n[contexts.a]\ncurrent = true\nhost = \"x\"\n\n[contexts.b]\nhost = \"y,z\"\napi.port = 1\n",
    );
    let run = |args: &[&str]| finish(home.command("", args));
    assert_eq!(run(&["context", "current-context"]).out, "a\n");
    assert_eq!(run(&["context", "use", "b"]).code, 0);
    assert_eq!(run(&["context", "current-context"]).out, "b\n");
    assert_eq!(run(&["-c", "a", "context", "current-context"]).out, "a\n");
    assert!(std::fs::read_to_string(home.0.path().join("config.toml")).unwrap().starts_with("# mine\n"));
    insta::assert_snapshot!(run(&["context"]).out);
    assert_eq!(run(&["context", "use", "c"]).code, 4);
}

#[test]
fn completions_are_made_for_each_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = finish(home.command("", &["completions", shell]));
        assert!(ran.code == 0 && ran.out.contains("transfer-leader"), "{shell}");
    }
}

#[test]
fn a_context_before_the_command_and_an_instance_after_it_share_a_letter() {
    let stub = Stub::start(|request| match request.path.as_str() {
        path if path.contains("/logs") => Answer::Json(200, "[]".into()),
        _ => Answer::Json(200, deployment("running", "null")),
    });
    let home = Home::new();
    home.file("config.toml", "[contexts.a]\nhost = \"x\"\n");
    let ran = home.run(&stub.address, &["-c", "a", "deployment", "logs", ID, "-c", "abcd"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(stub.seen()[1].path, format!("/deployments/{ID}/logs?container=abcd"));
}
