//! The clock of a control node jumps by minutes, forth and back, while the machine's own stays (libfaketime).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ring_testkit::cluster::Options;
use ring_testkit::lab::Lab;
use ring_testkit::work::{Gate, IN_TIME, Runtime, job, new_key};
use ring_testkit::{Cluster, command, report, wait};
use serde_json::{Value, json};

use crate::run::CONTROLS;

/// Where Debian has it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Far beyond the time after which a silent host counts as lost.
pub(crate) const JUMP: i64 = 300;

/// The file that says how far the clock of a node is off.
fn file(lab: &Lab, node: &str) -> PathBuf {
    lab.host(node).dir().join("clock")
}

fn jump(file: &Path, seconds: i64) {
    set(file, seconds).unwrap();
}

/// The clock of a host is off by so much from now on.
pub(crate) fn set_clock(lab: &Lab, node: &str, seconds: i64) -> Result<()> {
    set(&file(lab, node), seconds)
}

fn set(file: &Path, seconds: i64) -> Result<()> {
    // As a whole: the library may read it at any moment.
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}s\n"))?;
    Ok(fs::rename(new, file)?)
}

/// Can hosts have clocks of their own here? Says so when they cannot.
pub(crate) fn can_jump() -> bool {
    let there = Path::new(LIBRARY).exists();
    if !there {
        report::skipped("clock", "there is no libfaketime here (scripts/setup --tests installs it)");
    }
    there
}

/// Nodes with clocks of their own. Durations go on as they are: no suspended machine, another time of day.
pub(crate) fn own_clocks(lab: &Lab, options: Options, nodes: &[&str]) -> Result<Options> {
    nodes.iter().try_fold(options, |options, node| {
        set_clock(lab, node, 0)?;
        let file = file(lab, node).display().to_string();
        let options = options.node_env(node, "LD_PRELOAD", LIBRARY).node_env(node, "DONT_FAKE_MONOTONIC", "1");
        Ok(options.node_env(node, "FAKETIME_NO_CACHE", "1").node_env(node, "FAKETIME_TIMESTAMP_FILE", file))
    })
}

/// A cluster whose control nodes have clocks of their own.
fn start() -> Option<(Lab, Cluster)> {
    if !can_jump() {
        return None;
    }
    let lab = Lab::builder("clock").hosts(CONTROLS).hosts(["a1"]).start_or_skip()?;
    let options = own_clocks(&lab, Options::default(), &CONTROLS).unwrap();
    let cluster = Cluster::in_lab_with(&lab, &CONTROLS, &["a1"], &options).unwrap();
    Some((lab, cluster))
}

/// A job whose first attempt fails and whose second does not.
fn again(mark: &Path) -> Value {
    let mark = mark.display();
    let mut again = job("again", Runtime::Process, &format!("test -e {mark} && exit 0; touch {mark}; exit 1"));
    again["retries"] = 1.into();
    again
}

/// A time that the API shows, in seconds since 1970, and by how many it is off.
pub(crate) fn seconds(shown: &Value) -> Result<(i64, i64)> {
    let shown = shown.as_str().context("no time")?;
    let seconds: i64 = command::run(command::command("date", ["--date", shown, "+%s"]))?.ok()?.trim().parse()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as i64;
    Ok((seconds, seconds - now))
}

/// A time of the cluster, in seconds since 1970, from a namespace that is made, and by how many it is off.
pub(crate) fn dated(cluster: &Cluster, name: &str) -> Result<(i64, i64)> {
    let (body, key) = (json!({ "name": name }), new_key());
    let made = wait::eventually(IN_TIME, "a write", || {
        let answer = cluster.post(0, "/namespaces", &body, &key)?;
        ensure!(answer.status < 300, "status {}: {}", answer.status, answer.body);
        answer.json().map(Some)
    })?;
    seconds(&made["created_at"])
}

/// The same; a failure ends the test.
fn told(cluster: &Cluster, name: &str) -> (i64, i64) {
    dated(cluster, name).unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.tails()))
}

fn transfer(cluster: &Cluster, from: usize, to: usize) {
    let members = cluster.get_any("/cluster/members").unwrap();
    let name = cluster.control(to).name();
    let id = members.as_array().unwrap().iter().find(|member| member["name"] == name).unwrap()["id"].clone();
    let answer = cluster.post(from, "/cluster/transfer-leader", &json!({ "to": id }), &new_key()).unwrap();
    assert!(answer.status < 300, "{}", answer.body);
    assert_eq!(cluster.leader_after(from).unwrap(), to);
}

fn statuses(cluster: &Cluster) -> Vec<Value> {
    cluster.get_any("/nodes").unwrap().as_array().unwrap().iter().map(|node| node["status"].clone()).collect()
}

#[test]
fn a_clock_that_jumps_loses_no_host_and_no_job_and_time_never_goes_back() {
    let Some((lab, cluster)) = start() else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let waiting = cluster.apply_one(gate.job("waiting", Runtime::Process, 7)).unwrap();
    cluster.wait_status(&waiting, "running").unwrap();
    let leader = cluster.leader().unwrap();
    let (next, clock) = ((leader + 1) % 3, |index: usize| file(&lab, cluster.control(index).name()));
    assert!(told(&cluster, "before").1.abs() < 60);

    jump(&clock(leader), JUMP);
    let (first, ahead) = told(&cluster, "ahead");
    assert!(ahead > JUMP / 2, "the jump is not felt: {ahead} s");
    // The host was heard of minutes ago by that clock, and is not lost.
    let done = cluster.apply_one(job("ahead", Runtime::Process, "exit 3")).unwrap();
    assert_eq!(cluster.wait_final(&done).unwrap()["exit_status"]["code"], 3);
    cluster.wait_agents().unwrap();

    jump(&clock(leader), 0);
    let (second, _) = told(&cluster, "back");
    assert!(second >= first, "time went back from {first} to {second}");
    // It does not stand still for these minutes either: the second attempt comes after its pause.
    let retried = cluster.apply_one(again(&lab.dir().join("again"))).unwrap();
    assert_eq!(cluster.wait_final(&retried).unwrap()["exit_status"]["code"], 0);
    jump(&clock(next), -JUMP);
    transfer(&cluster, leader, next);
    let (third, _) = told(&cluster, "behind");
    assert!(third >= second, "time went back from {second} to {third}");
    let done = cluster.apply_one(job("behind", Runtime::Process, "exit 4")).unwrap();
    assert_eq!(cluster.wait_final(&done).unwrap()["exit_status"]["code"], 4);
    assert_eq!(statuses(&cluster), [json!("ready")]);

    // Restarted with a clock that is off, too.
    cluster.control(next).restart().unwrap();
    cluster.control(next).wait_ready().unwrap();
    jump(&clock(next), 0);
    gate.open().unwrap();
    let ended = cluster.wait_final(&waiting).unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("waiting")), (&json!(7), 1), "{ended}");
    cluster.wait_same_state().unwrap();
    report::line(&format!(
        "the leader's clock jumped by {JUMP} s and back, another's by -{JUMP} s: times {first}, {second}, {third}"
    ));
}
