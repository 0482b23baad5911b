//! `ring apply --wait` in a pipeline, while control nodes and answers are lost.

use std::path::{Path, PathBuf};

use ring_testkit::work::{Gate, IN_TIME, Runtime, manifest};
use ring_testkit::{Cluster, RingCli};
use serde_json::{Value, json};

use crate::lossy::Lossy;

/// `ring` as a pipeline has it: a token of its own in `RING_TOKEN`, every control node in `RING_HOST`.
fn pipeline(cluster: &Cluster, dir: &Path) -> RingCli {
    let scopes = ["-s", "deployments:read", "-s", "deployments:write", "-s", "namespaces:write"];
    let token = cluster.cli().ok(["token", "create", "ci"].into_iter().chain(scopes)).unwrap();
    assert!(token.starts_with("ring_pat_"), "{token}");
    let nobody = dir.join("nobody").display().to_string();
    cluster.cli().clone().env("RING_TOKEN", token).env("RING_CONFIG_DIR", nobody)
}

/// The manifest of one job in `migrate.yaml`; JSON is YAML.
fn migrate_yaml(dir: &Path, job: Value) -> PathBuf {
    let file = dir.join("migrate.yaml");
    // `$` stays as it is only when doubled: this goes through the command line's interpolation.
    std::fs::write(&file, manifest([job]).to_string().replace('$', "$$")).unwrap();
    file
}

/// Kills and restarts control nodes under `ring apply --wait` of a job that exits with `job_code`; what `ring` says then.
fn applied_while_control_nodes_die(job_code: u8) -> (Option<i32>, String) {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let file = migrate_yaml(dir.path(), gate.job("migrate", Runtime::Process, job_code));
    let arguments = ["apply", "-f", file.to_str().unwrap(), "--wait"];
    let ring = pipeline(&cluster, dir.path()).spawn("ring apply", &dir.path().join("log"), arguments).unwrap();
    gate.wait_started("migrate").unwrap();

    for _ in 0..2 {
        let leader = cluster.leader().unwrap();
        cluster.control(leader).kill9().unwrap();
        cluster.leader_after(leader).unwrap();
        assert!(ring.exited().unwrap().is_none(), "it waits on: {}", ring.tail());
        cluster.control(leader).start().unwrap();
        cluster.control(leader).wait_ready().unwrap();
    }
    // The third death is while the job ends.
    cluster.control(cluster.leader().unwrap()).kill9().unwrap();
    gate.open().unwrap();
    let status = ring.wait_exit(IN_TIME).unwrap();
    assert_eq!(gate.starts("migrate"), 1);
    (status.code(), ring.log().unwrap())
}

#[test]
fn a_job_that_succeeds_ends_the_pipeline_well_whichever_control_node_dies() {
    let (code, log) = applied_while_control_nodes_die(0);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_job_that_fails_ends_the_pipeline_badly_whichever_control_node_dies() {
    let (code, log) = applied_while_control_nodes_die(5);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("exit code 5"), "the job's own code is shown: {log}");
}

#[test]
fn an_apply_whose_reply_was_lost_creates_nothing_twice() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    gate.open().unwrap();
    let file = migrate_yaml(dir.path(), gate.job("migrate", Runtime::Process, 0));
    let lossy = Lossy::before(cluster.control(0).api());
    let hosts = format!("{},http://{}", lossy.url(), cluster.control(1).api());
    let ring = pipeline(&cluster, dir.path()).env("RING_HOST", hosts);
    ring.ok(["apply", "-f", file.to_str().unwrap(), "--wait"]).unwrap();

    let posts = lossy.lost().iter().filter(|line| line.starts_with("POST /deployments")).count();
    assert_eq!(posts, 1, "the request was done behind the proxy: {:?}", lossy.lost());
    let list = cluster.get_any("/deployments").unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&list[0]["status"], gate.starts("migrate")), (&json!("completed"), 1));
}
