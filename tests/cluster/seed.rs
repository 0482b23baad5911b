//! The page "Run a job", word for word: its manifests and its scripts.

use std::path::Path;

use ring_testkit::Cluster;
use ring_testkit::command::Outcome;
use ring_testkit::guide::{GUIDE, UNIQUE, VARIABLES};
use ring_testkit::wait;
use ring_testkit::work::{IN_TIME, Runtime, job, manifest};
use serde_json::{Value, json};

use crate::script::{FOLLOW, RERUN, WATCH, script};

/// `migrate.yaml` with the job the scripts name, on the runtime that is there.
fn migrate_yaml(dir: &Path, text: &str) {
    std::fs::write(dir.join("migrate.yaml"), manifest([job("migrate-v123", Runtime::Process, text)]).to_string()).unwrap();
}

#[test]
fn every_manifest_of_the_page_applies() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let ring = VARIABLES.iter().fold(cluster.cli().clone(), |ring, (name, value)| ring.env(name, *value));
    for (namespace, name) in [("production", "database-url"), ("data-jobs", "warehouse-url")] {
        ring.ok(["secret", "create", name, "-n", namespace, "-v", "postgres://db"]).unwrap();
    }
    let files = GUIDE.map(|manifest| manifest.path().display().to_string());
    for file in &files {
        ring.ok(["apply", "-f", file, "--dry-run"]).unwrap();
    }
    assert_eq!(cluster.get_any("/deployments").unwrap(), json!([]), "a dry run changes nothing");
    for file in &files {
        ring.ok(["apply", "-f", file, "--detach"]).unwrap();
    }
    let list = cluster.get_any("/deployments").unwrap();
    let mut names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["api", "backfill-orders-2026-04-15", "migrate", "migrate-v1-2-3", "migrate-v123", "test-42"]);
    let test = list.as_array().unwrap().iter().find(|one| one["name"] == "test-42").unwrap();
    assert_eq!((&test["image"], &test["namespace"]), (&json!("myapp:abc123"), &json!("ci")));
    // There is no Docker here, and it says so.
    let waiting = cluster.wait_deployment(test["id"].as_str().unwrap(), "a reason", |d| d["message"].is_string()).unwrap();
    assert!(waiting["message"].as_str().unwrap().contains("docker"), "{waiting}");
}

#[test]
fn the_page_needs_the_build_id() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let file = UNIQUE.path().display().to_string();
    let refused = cluster.cli().run(["apply", "-f", &file]).unwrap();
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("BUILD_ID") && refused.stderr.contains("COMMIT_SHA"), "{}", refused.stderr);
}

#[test]
fn the_polling_script_tells_how_the_job_ended_at_every_control_node() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for control in 0..3 {
        migrate_yaml(dir.path(), &format!("echo run {control}; sleep 1; exit {control}"));
        let Outcome { code, stdout, stderr, .. } = script(&cluster.cli_to(control), dir.path(), WATCH);
        if control == 0 {
            assert!(code == Some(0) && stdout.ends_with("migration ok\n"), "{code:?} {stdout}{stderr}");
        } else {
            let failed = format!("migration failed\nrun {control}\n");
            assert!(code == Some(1) && stdout.ends_with(&failed), "{code:?} {stdout}{stderr}");
        }
    }
}

#[test]
fn a_job_is_run_again_by_deleting_it_first() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    migrate_yaml(dir.path(), &format!("echo x >> {}; echo again", runs.display()));
    assert_eq!(script(&cluster.cli_to(0), dir.path(), WATCH).code, Some(0));
    for (control, count) in [(1, 2), (2, 3)] {
        script(&cluster.cli_to(control), dir.path(), RERUN).ok().unwrap();
        script(&cluster.cli_to(control), dir.path(), FOLLOW).ok().unwrap();
        let done = script(&cluster.cli_to(control), dir.path(), WATCH);
        assert!(done.success(), "{}{}", done.stdout, done.stderr);
        assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), count);
    }
}

#[test]
fn applying_an_unchanged_job_runs_nothing() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    migrate_yaml(dir.path(), &format!("echo x >> {}", runs.display()));
    for _ in 0..3 {
        assert_eq!(script(&cluster.cli_to(0), dir.path(), WATCH).code, Some(0));
    }
    assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 1);
}

#[test]
fn prune_removes_what_is_over() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let jobs = ["exit 0", "exit 3", "sleep 1000"].into_iter().zip(["done", "bad", "busy"]);
    let ids = cluster.apply(&manifest(jobs.map(|(text, name)| job(name, Runtime::Process, text)))).unwrap();
    let by_name = |name: &str| {
        let list = cluster.get_any("/deployments").unwrap();
        list.as_array().unwrap().iter().find(|one| one["name"] == name).map(|one| one["id"].as_str().unwrap().to_owned())
    };
    assert_eq!(ids.len(), 3);
    cluster.wait_status(&by_name("done").unwrap(), "completed").unwrap();
    cluster.wait_status(&by_name("bad").unwrap(), "failed").unwrap();
    cluster.wait_status(&by_name("busy").unwrap(), "running").unwrap();
    cluster.cli().ok(["namespace", "prune", "test"]).unwrap();
    let gone = |name: &str| wait::until(IN_TIME, name, || by_name(name).is_none()).unwrap();
    gone("done");
    gone("bad");
    let left: Value = cluster.get_any("/deployments").unwrap();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["name"]), (1, &json!("busy")));
}
