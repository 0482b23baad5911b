//! Names that are nobody's, and many names at once; output of a deployment that another takes the place of.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Answer, Cut, Home, Request, Stub};

const ID: &str = "1a2b0000-0000-7000-8000-000000000001";
const NEXT: &str = "1a2b0000-0000-7000-8000-000000000002";

fn missing() -> Answer {
    Answer::Problem(404, r#"{"title":"x","status":404,"code":"object.not_found","detail":"not found"}"#.to_owned())
}

fn deployment(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","created_at":"2026-04-12T13:20:00Z","updated_at":"2026-04-12T13:21:00Z","status":"running",
        "namespace":"production","name":"web","kind":"worker","runtime":"docker","image":"myapp:v1","replicas":1,
        "desired_replicas":1}}"#
    )
}

fn secret(id: &str, name: &str) -> String {
    let time = "2026-04-12T13:20:00Z";
    format!(r#"{{"id":"{id}","namespace":"production","name":"{name}","created_at":"{time}","updated_at":"{time}","version":3}}"#)
}

/// One namespace, two secrets, one deployment.
fn answer(request: &Request) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/namespaces") => Answer::Json(200, r#"[{"name":"production","created_at":"2026-04-12T13:20:00Z"}]"#.to_owned()),
        ("GET", "/secrets") => Answer::Json(200, format!("[{},{}]", secret(ID, "url"), secret(NEXT, "key"))),
        ("DELETE", path) if path.starts_with("/secrets/") => Answer::Json(200, r#"{"revision":9}"#.to_owned()),
        ("GET", path) if path.starts_with("/deployments?") && (path.contains("prodution") || path.contains("name=wbe")) => {
            Answer::Json(200, "[]".to_owned())
        }
        ("GET", path) if path.starts_with("/deployments?") || path == "/deployments" => {
            Answer::Json(200, format!("[{}]", deployment(ID)))
        }
        _ => missing(),
    }
}

#[test]
fn what_is_nobodys_name_brings_the_nearest() {
    let stub = Stub::start(answer);
    let home = Home::new();
    for (args, told) in [
        (vec!["deployment", "inspect", "wbe"], "error: deployment 'wbe' not found; did you mean 'web'?\n"),
        (
            vec!["deployment", "inspect", "prodution/web"],
            "error: deployment 'prodution/web' not found; did you mean 'production/web'?\n",
        ),
        (vec!["secret", "delete", "ulr"], "error: secret 'ulr' not found; did you mean 'url'?\n"),
        (vec!["namespace", "prune", "producton"], "error: namespace 'producton' not found; did you mean 'production'?\n"),
        (vec!["namespace", "delete", "staging"], "error: namespace 'staging' not found\n"),
    ] {
        let ran = home.run(&stub.address, &args);
        assert_eq!(ran.code, 4, "{args:?}: {}", ran.err);
        assert!(ran.err.starts_with(told), "{args:?}: {}", ran.err);
    }
    let ran = home.run(&stub.address, &["deployment", "list", "-n", "prodution", "-o", "json"]);
    let warning = "warning: namespace 'prodution' does not exist; did you mean 'production'?\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "[]\n", warning), "an empty list is no failure");
    let ran = home.run(&stub.address, &["deployment", "list", "--status", "runing"]);
    assert!(ran.code == 1 && ran.err.contains("a similar value exists: 'running'"), "{}", ran.err);
}

#[test]
fn many_are_deleted_and_one_that_fails_keeps_none_of_the_others() {
    let stub = Stub::start(answer);
    let home = Home::new();
    let ran = home.run(&stub.address, &["secret", "delete", "url", "nothing", "production/key"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert_eq!(ran.out, "secret production/url deleted\nsecret production/key deleted\n");
    assert!(ran.err.starts_with("error: 1 of 3 failed\n  secret 'nothing' not found\n"), "{}", ran.err);
}

#[test]
fn output_goes_on_with_what_took_the_place_of_a_deployment_that_is_gone() {
    let line = |number: u32, instance: &str| {
        format!("id: {number}\ndata: {{\"instance\":\"{instance}\",\"node\":\"host-1\",\"line\":\"line {number}\"}}\n\n")
    };
    let asked = AtomicUsize::new(0);
    let stub = Stub::start(move |request| match request.path.as_str() {
        path if path == format!("/deployments/{ID}/logs?follow=true") => match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Events(line(1, ID), Cut::Abrupt),
            _ => missing(),
        },
        path if path == format!("/deployments/{NEXT}/logs?follow=true") => {
            assert_eq!(request.headers["last-event-id"], "1");
            Answer::Events(line(2, NEXT) + "event: end\ndata: end\n\n", Cut::Orderly)
        }
        path if path == format!("/deployments/{ID}") => Answer::Json(200, deployment(ID)),
        path if path == format!("/deployments/{NEXT}") => Answer::Json(200, deployment(NEXT)),
        path if path.starts_with("/deployments?") => Answer::Json(200, format!("[{}]", deployment(NEXT))),
        _ => missing(),
    });
    let ran = Home::new().run(&stub.address, &["deployment", "logs", ID, "--follow"]);
    // The first is bare: nobody knew of another then.
    assert_eq!((ran.code, ran.out.as_str()), (0, "line 1\nweb/0002 host-1 | line 2\n"), "{}", ran.err);
}
