//! What an apply would do, shown by the client as a program.

mod support;

use support::{Answer, Home, Stub};

const JOB: &str =
    "deployments:\n  migrate:\n    name: migrate\n    namespace: production\n    kind: job\n    image: 'myapp:v2'\n";

fn plan(outcome: &str, how: &str, changes: &str) -> Answer {
    let text = format!(
        r#"{{"namespaces":[{{"name":"production","outcome":"unchanged"}}],"configs":[],"deployments":[{{"label":"migrate",
        "namespace":"production","name":"migrate","kind":"job","outcome":"{outcome}","how":{how},"current_id":null,
        "changes":{changes},"placement":[{{"slot":0,"node":"host-1","reason":null}}],"waits_for":null,
        "warnings":["secret 'db' does not exist in namespace 'production' yet"]}}],"revision":7}}"#
    );
    Answer::Json(200, text)
}

fn changed() -> Answer {
    plan("replaced", "\"replace\"", r#"[{"path":"image","from":"myapp:v1","to":"myapp:v2"}]"#)
}

#[test]
fn a_dry_run_shows_what_the_server_would_do_and_applies_nothing() {
    let stub = Stub::start(|_| changed());
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["apply", "-f", &file, "--dry-run", "--force"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = "! job production/migrate replaced: the old one ends before the new one begins\n  \
                    ~ image: myapp:v1 -> myapp:v2\n    new instance on host-1\n";
    assert_eq!(ran.out, expected);
    assert!(ran.err.contains("warning: migrate: secret 'db' does not exist in namespace 'production' yet\n"), "{}", ran.err);
    assert!(ran.err.contains("deployments: 1 replaced (dry run: nothing was changed)"), "{}", ran.err);
    let paths: Vec<_> = stub.seen().into_iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    assert_eq!(paths, ["POST /deployments?dry_run=true&force=true"]);
    let ran = home.run(&stub.address, &["apply", "-f", &file, "--dry-run", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["deployments"][0]["changes"][0]["to"], "myapp:v2");
}

#[test]
fn a_manifest_is_checked_before_a_dry_run_asks_and_offline_alone() {
    let stub = Stub::start(|_| changed());
    let home = Home::new();
    let bad = home.file("bad.yaml", &JOB.replace("image:", "imag:"));
    let ran = home.run(&stub.address, &["apply", "-f", &bad, "--dry-run"]);
    assert_eq!((ran.code, stub.seen().len()), (1, 0), "{}", ran.err);
    let good = home.file("job.yaml", JOB);
    let ran = home.run("127.0.0.1:1", &["apply", "-f", &good, "--dry-run", "--offline"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "deployment production/migrate valid (not sent)\n"));
    assert_eq!(home.run("127.0.0.1:1", &["apply", "-f", &good, "--dry-run"]).code, 3, "it does not pass for checked");
    assert_eq!(home.run("127.0.0.1:1", &["apply", "-f", &good, "--offline"]).code, 1, "it is for dry runs");
}

#[test]
fn a_diff_says_with_its_exit_code_whether_something_would_change_when_asked_to() {
    let stub = Stub::start(|_| changed());
    let home = Home::new();
    let file = home.file("job.yaml", JOB);
    let ran = home.run(&stub.address, &["diff", "-f", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("  ~ image: myapp:v1 -> myapp:v2\n") && !ran.out.contains('\u{1b}'), "{}", ran.out);
    assert_eq!(home.run(&stub.address, &["diff", "-f", &file, "--exit-code"]).code, 1);

    let same = Stub::start(|_| plan("unchanged", "null", "[]"));
    let ran = home.run(&same.address, &["diff", "-f", &file, "--exit-code"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.ends_with("nothing would change\n"), "{}", ran.err);
}
