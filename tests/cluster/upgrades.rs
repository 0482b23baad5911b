//! Releases of two kinds in one cluster: it is upgraded node by node while it works, and does not go back behind its level.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ring_state::LEVEL;
use ring_testkit::cluster::Options;
use ring_testkit::flags::Role;
use ring_testkit::work::{Gate, IN_TIME, Runtime, manifest, new_key, on, worker};
use ring_testkit::{Cluster, previous_release, report, wait};
use serde_json::{Value, json};

/// An old release that is not to be a part of the cluster any more says so within this time.
const ENDS: Duration = Duration::from_secs(30);
const SERVES: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// The binary of the release before this one, or None, said loudly.
fn previous() -> Option<PathBuf> {
    let found = previous_release();
    if found.is_none() {
        report::skipped("upgrades", "there is no binary of the release before: scripts/previous builds it");
    }
    found
}

fn of(binary: &Path) -> Options {
    Options::default().binary(binary).config("[server.agent]\ndrain_on_stop = \"2s\"\n")
}

/// Writes that were acknowledged: key and value. Who holds it keeps others from being made.
type Written = Mutex<Vec<(String, String)>>;

/// Makes configs through one control node after another until told to end.
fn write_on(cluster: &Cluster, stop: &AtomicBool, written: &Written) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (name, value) = (format!("c-{number}"), format!("v{number}"));
        let body = json!({ "namespace": "default", "name": name, "data": { "v": value } });
        let key = format!("write-{number}");
        let mut written = written.lock().unwrap();
        for control in (0..3).cycle().skip(number % 3).take(60) {
            let request = cluster.control(control).http("POST", "/configs").bearer(cluster.token());
            let request = request.header("Idempotency-Key", &key).timeout(Duration::from_secs(5)).json(&body);
            if request.send().is_ok_and(|answer| answer.status == 201 || answer.status == 200) {
                written.push((name.clone(), value.clone()));
                break;
            }
        }
    }
}

fn level(cluster: &Cluster, control: usize) -> (u64, Vec<String>) {
    let status = cluster.status_of(control).unwrap();
    let lagging = status["lagging"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned());
    (status["level"].as_u64().unwrap_or(1), lagging.collect())
}

/// Stops a control node and starts it with another binary; None: the present one. Then all have the same state.
fn replace(cluster: &Cluster, written: &Written, control: usize, binary: Option<&Path>) {
    cluster.control(control).stop().unwrap();
    cluster.control(control).use_binary(binary);
    cluster.control(control).start().unwrap();
    cluster.control(control).wait_ready().unwrap();
    cluster.wait_voters().unwrap();
    let quiet = written.lock().unwrap();
    cluster.wait_same_state().unwrap();
    drop(quiet);
}

fn node(cluster: &Cluster, name: &str) -> Value {
    serde_json::from_str(&cluster.cli().ok(["node", "inspect", name, "-o", "json"]).unwrap()).unwrap()
}

#[test]
fn a_cluster_is_upgraded_node_by_node_while_it_works() {
    let Some(old) = previous() else { return };
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let cluster = Cluster::loopback_with(3, 2, &of(&old)).unwrap();
    let job = cluster.apply_one(on(gate.job("j", Runtime::Process, 7), "a1")).unwrap();
    gate.wait_started("j").unwrap();
    let id = cluster.apply_one(on(worker("w", Runtime::Process, SERVES), "a2")).unwrap();
    cluster.wait_status(&id, "running").unwrap();

    let (stop, written) = (AtomicBool::new(false), Written::default());
    thread::scope(|scope| {
        scope.spawn(|| write_on(&cluster, &stop, &written));
        let upgraded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| upgrade(&cluster, &written, &old)));
        stop.store(true, Ordering::Relaxed);
        upgraded.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    cluster.wait_same_state().unwrap();
    let written = written.into_inner().unwrap();
    assert!(written.len() > 20, "only {} writes were acknowledged meanwhile", written.len());
    let configs = cluster.get_any("/configs?namespace[]=default").unwrap();
    for (name, value) in &written {
        let kept = configs.as_array().unwrap().iter().find(|config| config["name"] == **name);
        assert_eq!(kept.map(|config| &config["data"]["v"]), Some(&json!(value)), "{name} was acknowledged");
    }

    // Agents: what runs goes on under the new one, and its exit status is told.
    upgraded(&cluster, 0);
    gate.open().unwrap();
    let ended = cluster.wait_status(&job, "failed").unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("j")), (&json!(7), 1));
    assert_eq!(cluster.deployment(&id).unwrap()["restart_count"], 0);
    at_the_level(&cluster, &old);
}

/// Stops an agent and starts it with the present binary.
fn upgraded(cluster: &Cluster, agent: usize) {
    let agent = cluster.agent(agent);
    agent.stop().unwrap();
    agent.use_binary(None);
    agent.start().unwrap();
    cluster.wait_agents().unwrap();
}

/// One control node after the other, and one of them back once.
fn upgrade(cluster: &Cluster, written: &Written, old: &Path) {
    replace(cluster, written, 0, None);
    assert_eq!(level(cluster, 0), (1, vec!["c2".to_owned(), "c3".to_owned()]));
    let told = cluster.cli_to(0).ok(["cluster", "status"]).unwrap();
    assert!(told.contains(&format!("1, until c2, c3 can speak {LEVEL}")), "{told}");
    replace(cluster, written, 0, Some(old));
    replace(cluster, written, 0, None);
    replace(cluster, written, 1, None);
    assert_eq!(level(cluster, 1), (1, vec!["c3".to_owned()]));
    upgraded(cluster, 1);
    let mut alone = worker("alone", Runtime::Process, SERVES);
    alone["stop_on_disconnect"] = json!("30s");
    let early = cluster.post(0, "/deployments", &manifest([alone.clone()]), &new_key()).unwrap();
    assert!(early.status == 409 && early.body.contains("level 2"), "{} {}", early.status, early.body);
    replace(cluster, written, 2, None);
    wait::until(IN_TIME, "the level of the new release everywhere", || {
        (0..3).all(|control| level(cluster, control) == (u64::from(LEVEL.0), Vec::new()))
    })
    .unwrap();
    // Only one of the agents knows how, and could not say so before.
    let id = cluster.apply_one(alone).unwrap();
    let running = cluster.wait_status(&id, "running").unwrap();
    assert_eq!(running["instances"][0]["node"], "a2", "{running}");
}

/// What the new level brings works, and the release before is kept out.
fn at_the_level(cluster: &Cluster, old: &Path) {
    cluster.agent(1).stop().unwrap();
    assert_eq!(node(cluster, "a2")["drain"]["until_return"], json!(true));
    cluster.agent(1).start().unwrap();
    cluster.wait_agents().unwrap();
    wait::until(IN_TIME, "the host to take work again", || node(cluster, "a2")["schedulable"] == json!(true)).unwrap();

    let digest = cluster.wait_same_state().unwrap();
    cluster.control(0).stop().unwrap();
    cluster.control(0).use_binary(Some(old));
    cluster.control(0).start().unwrap();
    let ended = cluster.control(0).wait_exit(ENDS).unwrap();
    assert!(!ended.success(), "the release before went on in a cluster it does not understand");
    cluster.control(0).use_binary(None);
    cluster.control(0).start().unwrap();
    cluster.control(0).wait_ready().unwrap();
    cluster.wait_voters().unwrap();
    assert_ne!(cluster.wait_same_state().unwrap(), "", "before it was {digest}");
}

#[test]
fn a_host_of_the_release_before_is_not_admitted() {
    let Some(old) = previous() else { return };
    let cluster = Cluster::loopback(1, 0).unwrap();
    let token = cluster.join_token(Role::Control).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = cluster.control(0).cluster_address().to_string();
    let cli = ring_testkit::RingCli::new().unwrap().binary(&old);
    let cli = cli.env("RING_DATA_DIR", dir.path().display().to_string()).env("RING_CONFIG_DIR", dir.path().display().to_string());
    let line = ["cluster", "join", &address, "--token", &token, "--role", "control", "--advertise", "127.0.0.1:1"];
    let refused = cli.run(line).unwrap();
    assert!(!refused.success() && refused.stderr.contains(&format!("at level {LEVEL}")), "{}", refused.stderr);
    assert_eq!(cluster.get_any("/cluster/members").unwrap().as_array().unwrap().len(), 1);
}
