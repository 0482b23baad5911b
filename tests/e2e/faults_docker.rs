//! Docker daemons are restarted or killed under running jobs; output is followed from another host.

use ring_testkit::Cluster;
use ring_testkit::cluster::Options;
use ring_testkit::lab::{Docker, DockerOptions, Lab};
use ring_testkit::work::{Gate, IN_TIME, Runtime, job, manifest, on};
use serde_json::{Value, json};

use crate::three::{self, container, starts_in_docker};

/// One agent with a Docker daemon, a job waiting at its gate, and the container of it.
struct Waiting {
    gate: Gate,
    id: String,
    container: String,
    cluster: Cluster,
    lab: Lab,
}

impl Waiting {
    fn start(name: &str, live_restore: bool) -> Option<Self> {
        let options = DockerOptions { live_restore, ..DockerOptions::default() };
        let builder = Lab::builder(name).docker_hosts(["a1"]).docker_options(options);
        let (lab, cluster) = three::start(builder, &["a1"], &Options::default())?;
        let gate = Gate::new(&lab.dir().join("gate")).unwrap();
        let id = cluster.apply_one(gate.job("seven", Runtime::Docker, 7)).unwrap();
        cluster.wait_status(&id, "running").unwrap();
        let container = container(&lab, "a1", &id);
        Some(Self { gate, id, container, cluster, lab })
    }

    fn docker(&self) -> &Docker {
        self.lab.docker("a1")
    }

    /// Exit code as the daemon knows it.
    fn code_in_docker(&self) -> i64 {
        let printed = self.docker().ok(["inspect", "--format", "{{.State.ExitCode}}", &self.container]).unwrap();
        printed.parse().unwrap()
    }

    /// Waits for the end; it must be what the daemon says, after one start.
    fn assert_ends_as_docker_says(&self) -> Value {
        let ended = self.cluster.wait_final(&self.id).unwrap();
        assert_eq!(ended["exit_status"]["code"], json!(self.code_in_docker()), "{ended}");
        assert_eq!(self.gate.starts("seven"), 1);
        ended
    }
}

#[test]
fn a_job_outlives_a_restarted_daemon_with_live_restore() {
    let Some(waiting) = Waiting::start("live-restart", true) else { return };
    waiting.docker().restart().unwrap();
    waiting.gate.open().unwrap();
    assert_eq!(waiting.assert_ends_as_docker_says()["exit_status"]["code"], 7);
}

#[test]
fn a_job_that_ends_while_its_daemon_is_dead_keeps_its_code() {
    let Some(waiting) = Waiting::start("live-killed", true) else { return };
    waiting.docker().kill9().unwrap();
    waiting.gate.open().unwrap();
    waiting.gate.wait_ended("seven").unwrap();
    waiting.docker().up().unwrap();
    assert_eq!(waiting.assert_ends_as_docker_says()["exit_status"]["code"], 7);
}

#[test]
fn a_job_stopped_with_its_daemon_has_failed() {
    let Some(waiting) = Waiting::start("restart", false) else { return };
    waiting.docker().restart().unwrap();
    let ended = waiting.assert_ends_as_docker_says();
    assert_eq!((&ended["status"], &ended["exit_status"]["code"]), (&json!("failed"), &json!(137)), "{ended}");
}

#[test]
fn a_job_whose_daemon_was_killed_ends_as_the_daemon_says() {
    let Some(waiting) = Waiting::start("killed", false) else { return };
    waiting.docker().kill9().unwrap();
    waiting.docker().up().unwrap();
    // Without live restore the new daemon stops what the old one left.
    assert_eq!(waiting.assert_ends_as_docker_says()["status"], "failed");
}

#[test]
fn a_silent_daemon_delays_a_job_and_loses_nothing() {
    let Some(waiting) = Waiting::start("silent", false) else { return };
    waiting.docker().pause().unwrap();
    waiting.gate.open().unwrap();
    waiting.gate.wait_ended("seven").unwrap();
    waiting.docker().resume().unwrap();
    assert_eq!(waiting.assert_ends_as_docker_says()["exit_status"]["code"], 7);
    assert_eq!(starts_in_docker(&waiting.lab, &waiting.id), 1);
}

#[test]
fn output_is_followed_from_another_host_through_every_control_node() {
    let Some((lab, cluster)) = three::with_docker("follow") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let id = cluster.apply_one(on(gate.job("talker", Runtime::Docker, 0), "a1")).unwrap();
    let followers: Vec<_> = (0..3)
        .map(|index| {
            let log = lab.host("a2").dir().join(format!("follow-{index}.log"));
            let cli = cluster.cli_to(index).at(lab.host("a2").place());
            cli.spawn(&format!("follower {index}"), &log, ["deployment", "logs", &id, "--follow"]).unwrap()
        })
        .collect();
    for follower in &followers {
        follower.wait_log("started", IN_TIME).unwrap();
        assert!(follower.exited().unwrap().is_none(), "it follows: {}", follower.tail());
    }
    gate.open().unwrap();
    for follower in &followers {
        assert!(follower.wait_exit(IN_TIME).unwrap().success(), "{}", follower.tail());
        let lines: Vec<String> = follower.log().unwrap().lines().map(str::to_owned).collect();
        assert!(lines.len() == 2 && lines[0].ends_with("started") && lines[1].ends_with("ended"), "{lines:?}");
    }
}

#[test]
fn exit_codes_out_of_memory_and_kills_are_told_apart() {
    let Some((lab, cluster)) = three::with_docker("ends") else { return };
    let mut hungry = job("hungry", Runtime::Docker, "x=0123456789abcdef; while :; do x=$x$x; done");
    hungry["resources"] = json!({ "limits": { "memory": "32Mi" } });
    let coded = job("coded", Runtime::Docker, "echo out; echo err >&2; exit 3");
    let killed = on(job("killed", Runtime::Docker, "sleep 1000"), "a1");
    let ids = cluster.apply(&manifest([coded, hungry, killed])).unwrap();
    cluster.wait_status(&ids[2], "running").unwrap();
    lab.docker("a1").ok(["kill", &container(&lab, "a1", &ids[2])]).unwrap();

    let exit = |id: &String| cluster.wait_status(id, "failed").unwrap()["exit_status"].clone();
    let (coded, hungry, killed) = (exit(&ids[0]), exit(&ids[1]), exit(&ids[2]));
    assert_eq!((&coded["code"], &coded["signal"], &coded["oom_killed"]), (&json!(3), &Value::Null, &json!(false)));
    assert_eq!((&hungry["code"], &hungry["oom_killed"]), (&json!(137), &json!(true)), "{hungry}");
    assert_eq!((&killed["code"], &killed["oom_killed"]), (&json!(137), &json!(false)), "{killed}");
    for id in &ids {
        assert_eq!(starts_in_docker(&lab, id), 1);
    }
    let text = cluster.cli().ok(["deployment", "logs", &ids[0]]).unwrap();
    assert!(text.lines().count() == 2 && text.contains("out") && text.contains("err"), "{text}");
}
