//! Jobs, updates and scaling in micro-VMs, from the manifest to the VMM. In the VMM's place is the stand-in, whose guest is a process
//! of the host with the real init; images come from the host's Docker daemon.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ring_testkit::cluster::Options;
use ring_testkit::lab::{IMAGE, Lab};
use ring_testkit::work::{IN_TIME, NAMESPACE, manifest};
use ring_testkit::{Cluster, Docker, cli, report, wait};
use serde_json::{Value, json};

use crate::three;

/// What is measured takes some seconds, and several measures count.
const SCALED: Duration = Duration::from_mins(3);

const AGENTS: [&str; 2] = ["a1", "a2"];

/// The files of the test image: what the stand-in's guests see in the place of the image's disk.
fn root(docker: &Docker, dir: &Path) {
    let container = docker.ok(["create", IMAGE, "true"]).unwrap();
    docker.ok(["cp", &format!("{container}:/."), &dir.display().to_string()]).unwrap();
    docker.ok(["rm", &container]).unwrap();
}

/// Two agents with Docker and micro-VMs. None where that cannot be.
fn start(name: &str) -> Option<(Lab, Cluster)> {
    if !Path::new("/dev/kvm").exists() {
        report::skipped(name, "there is no /dev/kvm here, which the runtime asks for");
        return None;
    }
    let lab = Lab::builder(name).docker_hosts(AGENTS).hosts(three::CONTROLS).start_or_skip()?;
    let dir = lab.dir().join("vmm");
    fs::create_dir(&dir).unwrap();
    root(lab.docker("a1"), &dir.join("root"));
    fs::write(dir.join("vmlinux"), "a kernel nobody boots").unwrap();
    let standin = cli::binary().unwrap().with_file_name("ring-vm-standin");
    let script = format!("#!/bin/sh\nexec {} --standin-root {} \"$@\"\n", standin.display(), dir.join("root").display());
    let vmm = dir.join("cloud-hypervisor");
    fs::write(&vmm, script).unwrap();
    fs::set_permissions(&vmm, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[server.runtime.cloud_hypervisor]\nenabled = true\nbinary_path = \"{}\"\nkernel_path = \"{}\"\nnetwork.enabled = false\n",
        vmm.display(),
        dir.join("vmlinux").display()
    );
    let options = Options::default().config(&config).env("RING_AUTOSCALE_PAUSE", "1s");
    let cluster = Cluster::in_lab_with(&lab, &three::CONTROLS, &AGENTS, &options).unwrap();
    Some((lab, cluster))
}

fn in_a_vm(kind: &str, name: &str, script: &str) -> Value {
    json!({
        "name": name,
        "namespace": NAMESPACE,
        "runtime": "cloud-hypervisor",
        "kind": kind,
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "config": { "image_pull_policy": "IfNotPresent" },
        "resources": { "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "cpu": "1", "memory": "128Mi" } },
    })
}

/// VMMs of the hosts of a lab.
fn vmms(lab: &Lab) -> usize {
    let lab = lab.dir().display().to_string();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains("ring-vm-standin") && line.contains(&lab)).count()
}

fn serves(cluster: &Cluster, id: &str, replicas: u64) -> Value {
    cluster
        .wait_deployment(id, "all replicas", |one| one["ready_replicas"] == replicas && one["conditions"] == json!([]))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.tails()))
}

#[test]
fn a_job_in_a_micro_vm_keeps_its_code_while_its_agent_is_killed() {
    let Some((lab, cluster)) = start("vm-job") else { return };
    let job = in_a_vm("job", "migrate", "echo begun; sleep 6; echo done; exit 7");
    let id = cluster.apply(&manifest([job])).unwrap().remove(0);
    let runs = cluster.wait_deployment(&id, "the job to run", |one| one["instances"][0]["status"] == "running").unwrap();
    let host = runs["instances"][0]["node"].as_str().unwrap().to_owned();
    let agent = cluster.agents().iter().find(|agent| agent.name() == host).unwrap();
    agent.kill9().unwrap();
    agent.start().unwrap();
    let ended = cluster.wait_final(&id).unwrap();
    assert_eq!((&ended["status"], &ended["exit_status"]["code"]), (&json!("failed"), &json!(7)), "{ended}");
    assert_eq!(ended["restart_count"], 0, "{ended}");
    let logs = cluster.cli().ok(["deployment", "logs", &id]).unwrap();
    assert_eq!((logs.matches("begun").count(), logs.matches("done").count()), (1, 1), "{logs}");
    wait::until(IN_TIME, "the VMM to be gone", || vmms(&lab) == 0).unwrap();
}

#[test]
fn a_worker_in_micro_vms_is_updated_without_a_gap_and_scaled_by_its_load() {
    let Some((lab, cluster)) = start("vm-worker") else { return };
    let web = |version: &str| {
        let mut web = in_a_vm("worker", "web", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
        web["replicas"] = 2.into();
        web["environment"] = json!({ "VERSION": version });
        web["stop_grace"] = "2s".into();
        web["health_checks"] = json!([{
            "type": "command", "command": "test -n \"$VERSION\"", "interval": "500ms", "timeout": "5s", "on_failure": "alert",
            "readiness": true, "min_healthy_time": "500ms",
        }]);
        web
    };
    let old = cluster.apply_one(web("1")).unwrap();
    let both = serves(&cluster, &old, 2);
    let hosts: BTreeSet<_> = both["instances"].as_array().unwrap().iter().map(|one| one["node"].to_string()).collect();
    assert_eq!(hosts.len(), 2, "spread over the hosts");
    let new = cluster.apply_one(web("2")).unwrap();
    let mut fewest = u64::MAX;
    wait::eventually(IN_TIME, "the update to be over", || {
        let Ok(all) = cluster.get_any("/deployments?name=web") else { return Ok(None) };
        let all = all.as_array().unwrap();
        fewest = fewest.min(all.iter().filter_map(|one| one["ready_replicas"].as_u64()).sum());
        Ok((all.len() == 1 && all[0]["rollout"] == "completed").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.tails()));
    assert_eq!(fewest, 2, "as many served as before");
    serves(&cluster, &new, 2);
    wait::until(IN_TIME, "the VMMs of the old version to be gone", || vmms(&lab) == 2).unwrap();
    cluster.cli().ok(["deployment", "delete", &new]).unwrap();

    // Each is busy in its first half minute: more and more of them, then one.
    let busy =
        "end=$(($(date +%s) + 30)); while [ $(date +%s) -lt $end ]; do :; done; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let mut busy = in_a_vm("worker", "busy", busy);
    busy["autoscale"] = json!({ "min": 1, "max": 3, "target_cpu": 50 });
    busy["stop_grace"] = "2s".into();
    let id = cluster.apply_one(busy).unwrap();
    for wanted in [3_u64, 1] {
        wait::eventually(SCALED, &format!("{wanted} replicas"), || {
            let now = cluster.deployment(&id)?;
            Ok((now["desired_replicas"] == wanted && now["replicas"] == wanted).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}\n{}", cluster.deployment(&id).unwrap(), cluster.tails()));
    }
    wait::until(IN_TIME, "one VMM to be left", || vmms(&lab) == 1).unwrap();
    cluster.cli().ok(["deployment", "delete", &id]).unwrap();
    wait::until(IN_TIME, "the last VMM to be gone", || vmms(&lab) == 0).unwrap();
}
