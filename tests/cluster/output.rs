//! What a person sees of a cluster: the plan of an apply, and output followed across instances, versions and control nodes.

use std::collections::{BTreeMap, BTreeSet};

use ring_testkit::work::{IN_TIME, Runtime, manifest, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

/// Counts for good: `VERSION PID NUMBER`.
const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo \"$VERSION $$ $i\"; sleep 0.05; done";

fn web(version: &str) -> Value {
    let mut web = worker("web", Runtime::Process, COUNTS);
    web["replicas"] = 2.into();
    web["environment"] = json!({ "VERSION": version });
    web["health_checks"] = json!([{
        "type": "command", "command": "true", "interval": "200ms", "timeout": "5s", "on_failure": "alert",
        "min_healthy_time": "500ms",
    }]);
    web["stop_grace"] = "1s".into();
    web
}

/// What each process of a version counted, as the follower told it.
fn counted(log: &str, version: &str) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in log.lines() {
        let Some((margin, text)) = line.split_once(" | ") else { continue };
        assert!(margin.starts_with("web/") && (margin.contains(" a1") || margin.contains(" a2")), "{line}");
        if let [found_version, pid, number] = text.split(' ').collect::<Vec<_>>()[..]
            && found_version == version
        {
            found.entry(pid.to_owned()).or_default().push(number.parse().unwrap());
        }
    }
    found
}

#[test]
fn output_is_followed_through_a_lost_control_node_and_an_update_and_no_line_comes_twice() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    cluster.apply_one(web("v1")).unwrap();
    let follower = cluster.cli().spawn("follower", &dir.path().join("log"), ["deployment", "logs", "web", "--follow"]).unwrap();
    let far = |version: &str, at_least: usize| {
        let counts = counted(&follower.log().unwrap(), version);
        counts.len() == 2 && counts.values().all(|numbers| numbers.len() >= at_least)
    };
    wait::until(IN_TIME, "lines of both instances", || far("v1", 20)).unwrap();
    let first = cluster.cli().json(["deployment", "inspect", "web", "-o", "json"]).unwrap();
    // The first in RING_HOST is the one the follower reads from.
    cluster.control(0).kill9().unwrap();
    let before = counted(&follower.log().unwrap(), "v1").values().map(Vec::len).max().unwrap();
    wait::until(IN_TIME, "lines from another control node", || far("v1", before + 20)).unwrap();

    let second = cluster.apply_one(web("v2")).unwrap();
    assert_ne!(first["id"], json!(second));
    wait::until(IN_TIME, "lines of the new version", || far("v2", 20)).unwrap();
    cluster.wait_deployment(&second, "the end of the update", |d| d["conditions"] == json!([])).unwrap();
    cluster.cli().ok(["deployment", "delete", "web"]).unwrap();
    assert!(follower.wait_exit(IN_TIME).unwrap().success(), "{}", follower.tail());
    let log = follower.log().unwrap();
    for version in ["v1", "v2"] {
        for (pid, numbers) in counted(&log, version) {
            let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(numbers, expected, "{version} {pid}: each line once, in order");
        }
    }
}

#[test]
fn output_that_cannot_be_had_is_told_of() {
    let cluster = Cluster::loopback(1, 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let id = cluster.apply_one(web("v1")).unwrap();
    let web = cluster.wait_deployment(&id, "both run", |d| d["status"] == "running").unwrap();
    let on = |node: &str| {
        let instances = web["instances"].as_array().unwrap();
        instances.iter().find(|i| i["node"] == node).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let follower = cluster.cli().spawn("follower", &dir.path().join("log"), ["deployment", "logs", "web", "--follow"]).unwrap();
    let far = |at_least: usize| {
        let counts = counted_of_told(&follower.log().unwrap());
        counts.len() == 2 && counts.values().all(|numbers| numbers.len() >= at_least)
    };
    wait::until(IN_TIME, "lines of both instances", || far(20)).unwrap();
    cluster.agent(1).kill9().unwrap();
    let gap = |node: &str| format!("warning: no output of instance {} on node '{node}': ", on(node));
    follower.wait_log(&gap("a2"), IN_TIME).unwrap();

    let some = cluster.cli().run(["deployment", "logs", "web", "--tail", "3"]).unwrap();
    assert_eq!(some.code, Some(0), "{}", some.stderr);
    assert!(some.stderr.starts_with(&gap("a2")) && some.stderr.lines().count() == 1, "{}", some.stderr);
    assert_eq!(some.stdout.lines().count(), 3, "those of the other: {}", some.stdout);
    cluster.agent(0).kill9().unwrap();
    let none = cluster.cli().run(["deployment", "logs", "web"]).unwrap();
    assert_ne!(none.code, Some(0), "{}", none.stdout);
    assert!(none.stderr.contains("no output from node 'a1': ") && none.stderr.contains("from node 'a2': "), "{}", none.stderr);

    let before = counted_of_told(&follower.log().unwrap()).values().map(Vec::len).max().unwrap();
    (0..2).for_each(|agent| cluster.agent(agent).start().unwrap());
    wait::until(IN_TIME, "lines of both again", || far(before + 20)).unwrap();
    let log = follower.log().unwrap();
    assert_eq!(log.matches(&gap("a2")).count(), 1, "{log}");
    for (pid, numbers) in counted_of_told(&log) {
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{pid}: each line once, in order");
    }
    follower.kill9().unwrap();
}

/// What was counted, of a log that has warnings in it.
fn counted_of_told(log: &str) -> BTreeMap<String, Vec<u64>> {
    counted(&log.lines().filter(|line| !line.starts_with("warning:")).collect::<Vec<_>>().join("\n"), "v1")
}

#[test]
fn a_plan_names_the_nodes_that_then_take_the_instances() {
    let cluster = Cluster::loopback(1, 2).unwrap();
    let cli = cluster.cli();
    let dir = tempfile::tempdir().unwrap();
    let write = |version: &str| {
        let path = dir.path().join(format!("{version}.json"));
        std::fs::write(&path, manifest([web(version)]).to_string()).unwrap();
        path.display().to_string()
    };
    let (first, second) = (write("v1"), write("v2"));
    let plan = cli.json(["apply", "-f", &first, "--dry-run", "-o", "json"]).unwrap();
    let nodes = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|one| one["node"].as_str().unwrap().to_owned()).collect()
    };
    let planned = nodes(&plan["deployments"][0]["placement"]);
    assert_eq!(planned.len(), 2, "{plan}");
    assert_eq!(cluster.get_any("/deployments").unwrap(), json!([]));
    cli.ok(["apply", "-f", &first, "--wait"]).unwrap();
    let web = cli.json(["deployment", "inspect", "web", "-o", "json"]).unwrap();
    assert_eq!(nodes(&web["instances"]), planned);
    assert_eq!(cli.run(["diff", "-f", &first, "--exit-code"]).unwrap().code, Some(0));
    let diff = cli.run(["diff", "-f", &second, "--exit-code"]).unwrap();
    assert_eq!(diff.code, Some(1), "{}", diff.stderr);
    assert!(diff.stdout.contains("updated: one instance at a time\n  ~ environment.VERSION: v1 -> v2\n"), "{}", diff.stdout);

    let typo = cli.run(["deployment", "inspect", "wbe"]).unwrap();
    assert!(typo.code == Some(4) && typo.stderr.contains("deployment 'wbe' not found; did you mean 'web'?"), "{}", typo.stderr);
    let typo = cli.run(["deployment", "list", "--status", "runing"]).unwrap();
    assert!(typo.code == Some(1) && typo.stderr.contains("'running'"), "{}", typo.stderr);
}
