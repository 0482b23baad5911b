//! What the API promises whoever writes to it.

use ring_testkit::Cluster;
use ring_testkit::command::Outcome;
use ring_testkit::work::{Runtime, job, manifest, new_key};
use serde_json::{Value, json};

/// Ten mistakes beside a deployment that has none.
fn ten_mistakes() -> Value {
    let mut bad = job("bad", Runtime::Process, "exit 0");
    bad["runtime"] = "dokcer".into();
    bad["replicas"] = "many".into();
    bad["environment"] = json!({ "1A": "x" });
    bad["ports"] = json!([{ "published": 80, "target": 70000 }]);
    bad["resources"] = json!({ "limits": { "cpu": "lots" } });
    bad["health_checks"] = json!([{ "type": "https", "url": "x" }]);
    bad["timeout"] = "10".into();
    bad["comand"] = json!(["sh"]);
    bad["stop_grace"] = "soon".into();
    manifest([job("good", Runtime::Process, "exit 0"), bad])
}

#[test]
fn ten_mistakes_are_ten_violations_and_nothing_is_applied() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let answer = cluster.post(0, "/deployments", &ten_mistakes(), &new_key()).unwrap();
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.json().unwrap();
    let violations = problem["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 10, "{problem:#}");
    for violation in violations {
        assert!(violation["property_path"].as_str().unwrap().starts_with("deployments.bad."), "{violation}");
        assert!(violation["code"].as_str().unwrap().starts_with("deployment."), "{violation}");
        assert!(!violation["message"].as_str().unwrap().is_empty(), "{violation}");
    }
    assert_eq!(cluster.get_any("/deployments").unwrap(), json!([]));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.json");
    std::fs::write(&file, ten_mistakes().to_string()).unwrap();
    let Outcome { code, stderr, .. } = cluster.cli().run(["apply", "-f", file.to_str().unwrap()]).unwrap();
    assert_eq!(code, Some(1));
    for violation in violations {
        let path = violation["property_path"].as_str().unwrap();
        assert!(stderr.contains(path), "{path} is not in {stderr}");
    }
    assert_eq!(cluster.get_any("/deployments").unwrap(), json!([]));
}

#[test]
fn the_same_request_at_two_control_nodes_is_done_once() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let (body, key) = (manifest([job("once", Runtime::Process, "exit 0")]), new_key());
    let answers = [0, 1, 2, 0].map(|control| cluster.post(control, "/deployments", &body, &key).unwrap());
    for answer in &answers {
        assert!(answer.status < 300, "{} {}", answer.status, answer.body);
        assert_eq!(answer.body, answers[0].body, "a repeated request has the first answer");
    }
    let list = cluster.get_any("/deployments").unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    cluster.wait_status(list[0]["id"].as_str().unwrap(), "completed").unwrap();
}

#[test]
fn every_control_node_answers_and_shows_the_cluster() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let leader = cluster.control(cluster.leader().unwrap()).name().to_owned();
    for control in 0..3 {
        let cli = cluster.cli_to(control);
        let status = cli.ok(["cluster", "status"]).unwrap();
        assert!(status.contains("quorum") && status.contains(&leader) && status.contains("1 of 1 ready"), "{status}");
        let members = cli.json(["cluster", "members", "-o", "json"]).unwrap();
        let names: Vec<&str> = members.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(names, ["c1", "c2", "c3"]);
        assert!(members.as_array().unwrap().iter().all(|one| one["role"] == "voter"), "{members}");
        let nodes = cli.json(["node", "list", "-o", "json"]).unwrap();
        assert_eq!((&nodes[0]["name"], &nodes[0]["status"]), (&json!("a1"), &json!("ready")), "{nodes}");
        let node = cli.json(["node", "inspect", "a1", "-o", "json"]).unwrap();
        assert_eq!(node["id"], nodes[0]["id"]);
        assert!(node["capacity"]["cpu"] != Value::Null, "{node}");
    }
    let unknown = cluster.cli().run(["node", "inspect", "nobody"]).unwrap();
    assert_eq!((unknown.code, unknown.stderr.contains("node 'nobody' not found")), (Some(4), true), "{}", unknown.stderr);
}
