//! Accounts and tokens over a cluster: a password that is lost, a first password from a file, a token's secret that is replaced.

use std::path::Path;

use ring_testkit::cluster::Options;
use ring_testkit::command::Outcome;
use ring_testkit::http::Response;
use ring_testkit::work::{IN_TIME, new_key};
use ring_testkit::{Cluster, RingCli, RingNode, wait};
use serde_json::{Value, json};

/// Exit codes.
const DENIED: i32 = 2;
const UNREACHABLE: i32 = 3;
const NOT_FOUND: i32 = 4;

fn login(node: &RingNode, username: &str, password: &str) -> Response {
    node.http("POST", "/login").json(&json!({ "username": username, "password": password })).send().unwrap()
}

fn status(node: &RingNode, token: &str) -> u16 {
    node.http("GET", "/users/me").bearer(token).send().unwrap().status
}

/// `ring user reset-password` on the host of a node, with nothing but its data directory.
fn reset(node: &RingNode, more: &[&str]) -> Outcome {
    let line = [&["user", "reset-password"][..], more].concat();
    node.cli().run(line).unwrap()
}

fn file(dir: &Path, content: &str) -> String {
    let path = dir.join("password");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Each password is hashed in 19 MiB; a control node that has just begun, and hashed its first one, has less in all.
#[test]
fn logins_leave_no_memory_behind() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let node = cluster.control(0);
    for _ in 0..8 {
        assert_eq!(login(node, "admin", "wrong").status, 401);
    }
    let kept = node.memory().unwrap().own;
    assert!(kept < 19 << 20, "{kept} bytes are kept");
}

#[test]
fn a_lost_password_is_replaced_on_a_control_nodes_own_host() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let follower = cluster.control((cluster.leader().unwrap() + 1) % 3);
    let made = cluster.cli().ok(["token", "create", "ci", "-s", "admin"]).unwrap();

    let done = reset(follower, &["admin"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let password = done.stdout.trim();
    assert!(password.len() >= 20 && !done.stderr.contains(password), "alone on standard output: {done:?}");
    assert!(done.stderr.contains("its sessions and tokens have ended"), "{}", done.stderr);
    for node in cluster.controls() {
        assert_eq!((status(node, cluster.token()), status(node, &made)), (401, 401), "at {}", node.name());
    }
    let answer = login(cluster.control(0), "admin", password);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = answer.json().unwrap()["token"].as_str().unwrap().to_owned();

    let audit = follower.http("GET", "/cluster/audit?action=user.reset_password").bearer(&token).send().unwrap().json().unwrap();
    assert_eq!((audit.as_array().unwrap().len(), &audit[0]["user"]), (1, &json!(format!("host {}", follower.name()))));
    assert_eq!((&audit[0]["objects"][0]["name"], &audit[0]["outcome"]), (&json!("admin"), &json!("allowed")), "{audit}");
    assert!(!audit.to_string().contains(password));

    let dir = tempfile::tempdir().unwrap();
    let given = reset(cluster.control(0), &["admin", "--password-file", &file(dir.path(), "a new one\n")]);
    assert_eq!((given.code, given.stdout.as_str()), (Some(0), ""), "{}", given.stderr);
    assert_eq!(login(cluster.control(1), "admin", password).status, 401);
    assert_eq!(login(cluster.control(1), "admin", "a new one").status, 200);
}

#[test]
fn who_has_no_control_nodes_directory_resets_nothing() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let control = cluster.control(0);
    let told = |outcome: &Outcome, code: i32, text: &str| {
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(text), "{}", outcome.stderr);
    };
    told(&reset(cluster.agent(0), &["admin"]), 1, "is the data directory of an agent");
    told(&reset(control, &["nobody"]), NOT_FOUND, "error: user 'nobody' not found");
    let empty = tempfile::tempdir().unwrap();
    told(&reset(control, &["admin", "--data-dir", empty.path().to_str().unwrap()]), 1, "belongs to no cluster yet");
    let none = file(empty.path(), "\n");
    told(&reset(control, &["admin", "--password-file", &none]), 1, "the password file is empty");
    assert_eq!(status(control, cluster.token()), 200, "nobody's password has changed");
    control.stop().unwrap();
    let down = reset(control, &["admin"]);
    told(&down, UNREACHABLE, "no control node could be asked");
    assert!(down.stderr.contains("hint: start the control node first"), "{}", down.stderr);
}

#[test]
fn the_first_password_comes_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let ring = RingCli::new().unwrap().env("RING_CONFIG_DIR", dir.path().display().to_string());
    let start = |more: &[&str]| {
        let line = ["cluster", "init", "--advertise", "127.0.0.1", "--data-dir", data.to_str().unwrap()];
        ring.run([&line[..], more].concat()).unwrap()
    };
    let empty = file(dir.path(), "\n");
    for (given, told) in [
        (empty.as_str(), format!("{empty}: the password file is empty: write the password into it")),
        ("/nowhere/password", "cannot read /nowhere/password: No such file or directory".to_owned()),
    ] {
        let refused = start(&["--admin-password-file", given]);
        let said = format!("error: the password of 'admin': {told}");
        assert_eq!((refused.code, refused.stderr.contains(&said)), (Some(1), true), "{}", refused.stderr);
        assert!(!data.exists(), "nothing is made before the password is known");
    }
    let twice = ring.clone().env("RING_ADMIN_PASSWORD", "x").env("RING_ADMIN_PASSWORD_FILE", empty.as_str());
    let refused = twice.run(["server", "start", "--data-dir", data.to_str().unwrap()]).unwrap();
    assert!(refused.stderr.contains("error: the password of 'admin' is given twice"), "{}", refused.stderr);
    assert!(!data.exists());

    let options = Options::default().env("RING_ADMIN_PASSWORD", "").env("RING_ADMIN_PASSWORD_FILE", file(dir.path(), LAB));
    let cluster = Cluster::loopback_with(1, 0, &options).unwrap();
    assert_eq!(status(cluster.control(0), cluster.token()), 200);
    assert_eq!(login(cluster.control(0), "admin", "anything else").status, 401);
}

/// The password a test cluster logs in with, in a file of one line.
const LAB: &str = "test-password-of-the-lab\n";

#[test]
fn a_rotated_token_is_over_at_every_control_node_at_once() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let create = ["token", "create", "ci", "-s", "deployments:read", "-n", "shop", "-e", "30d"];
    let mut secret = cluster.cli().ok(create).unwrap();
    let shown = |what: &str| {
        let tokens = cluster.cli().json(["token", "list", "-o", "json"]).unwrap();
        tokens.as_array().unwrap().iter().find(|token| token["name"] == "ci").map(|token| token[what].clone()).unwrap()
    };
    let kept = ["id", "scopes", "namespaces", "expires_at", "created_at"].map(shown);
    for round in 0..6 {
        let rotated = cluster.cli_to(round % 3).run(["token", "rotate", "ci"]).unwrap();
        assert_eq!(rotated.code, Some(0), "{}", rotated.stderr);
        let new = rotated.stdout.trim().to_owned();
        assert!(new.starts_with("ring_pat_") && new != secret && !rotated.stderr.contains(&new), "{rotated:?}");
        for node in cluster.controls() {
            assert_eq!((status(node, &secret), status(node, &new)), (401, 200), "round {round} at {}", node.name());
        }
        secret = new;
    }
    assert_eq!(["id", "scopes", "namespaces", "expires_at", "created_at"].map(shown), kept);
    // A control node that stops tells what it has gathered.
    assert_eq!(shown("last_used_at"), Value::Null);
    let leader = cluster.leader().unwrap();
    cluster.control((leader + 1) % 3).stop().unwrap();
    wait::until(IN_TIME, "the last use", || shown("last_used_at").is_string()).unwrap();
    let list = cluster.cli_to(leader).ok(["token", "list"]).unwrap();
    assert!(list.lines().next().unwrap().ends_with("Last used") && !list.contains("never"), "{list}");
    let gone = cluster.cli_to(leader).run(["token", "rotate", "nobody"]).unwrap();
    assert_eq!((gone.code, gone.stderr.contains("token 'nobody' not found")), (Some(NOT_FOUND), true), "{}", gone.stderr);
    let ci = cluster.cli_to(leader).env("RING_TOKEN", &secret).run(["token", "rotate", "ci"]).unwrap();
    assert_eq!(ci.code, Some(DENIED), "{}", ci.stderr);
    let replay = new_key();
    let path = format!("/tokens/{}/rotate", kept[0].as_str().unwrap());
    let twice = [0, 1].map(|_| cluster.post(leader, &path, &json!({}), &replay).unwrap().body);
    assert_eq!(twice[0], twice[1], "a repeated request gets the same secret again");
}
