//! Rotation of the cluster's certificate authority on three control nodes and agents, over a job that runs, with the leader killed.

use std::fs;
use std::path::{Path, PathBuf};

use ring_testkit::flags::Role;
use ring_testkit::work::{Gate, IN_TIME, Runtime};
use ring_testkit::{Cluster, RingNode, wait};

fn status(cluster: &Cluster) -> anyhow::Result<serde_json::Value> {
    cluster.get_any("/cluster")
}

fn identity(node: &RingNode) -> PathBuf {
    node.data_dir().join("identity")
}

fn authorities(node: &RingNode) -> usize {
    fs::read_to_string(identity(node).join("ca.crt")).map_or(0, |text| text.matches("BEGIN CERTIFICATE").count())
}

/// What a host keeps of who it is, to come back with it later.
fn keep(node: &RingNode, to: &Path) {
    for file in ["ca.crt", "host.crt", "host.key"] {
        fs::copy(identity(node).join(file), to.join(file)).unwrap();
    }
}

fn restore(node: &RingNode, from: &Path) {
    for file in ["ca.crt", "host.crt"] {
        fs::copy(from.join(file), identity(node).join(file)).unwrap();
    }
}

fn over(cluster: &Cluster, before: &serde_json::Value) {
    wait::eventually(IN_TIME, "the old authority to be dropped", || {
        let now = status(cluster)?;
        anyhow::ensure!(now.get("authority_rotation").is_none(), "it is at {}", now["authority_rotation"]);
        Ok((now["authority"] != *before).then_some(()))
    })
    .unwrap();
}

#[test]
fn the_authority_is_rotated_over_a_running_job_while_the_leader_dies() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let id = cluster.apply_one(gate.job("j", Runtime::Process, 3)).unwrap();
    gate.wait_started("j").unwrap();
    let old = dir.path().join("old");
    fs::create_dir(&old).unwrap();
    keep(cluster.agent(1), &old);
    let before = status(&cluster).unwrap()["authority"].clone();
    let token = cluster.join_token(Role::Agent).unwrap();

    // One that is away holds the rotation: everybody else learns of the new authority, and the old one still signs.
    cluster.agent(1).stop().unwrap();
    let begun = cluster.cli().ok(["cluster", "ca", "rotate", "--detach"]).unwrap();
    assert!(begun.starts_with("hosts learn the new authority"), "{begun}");
    wait::eventually(IN_TIME, "the others to trust both", || {
        let now = status(&cluster)?;
        Ok((now["authority_rotation"]["missing"] == serde_json::json!(["a2"])).then_some(()))
    })
    .unwrap();
    let shown = cluster.cli().ok(["cluster", "status"]).unwrap();
    assert!(shown.contains("rotation      hosts learn the new authority; it waits for a2"), "{shown}");
    assert_eq!(status(&cluster).unwrap()["authority"], before);
    for node in cluster.controls().iter().chain([cluster.agent(0)]) {
        assert_eq!(authorities(node), 2, "{}", node.name());
    }
    let again = cluster.cli().run(["cluster", "ca", "rotate"]).unwrap();
    assert!(again.code == Some(5) && again.stderr.contains("is under way"), "{}", again.stderr);

    // The leader dies in the middle; the one that was away comes back, and the next leader goes on.
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    cluster.leader_after(leader).unwrap();
    cluster.agent(1).start().unwrap();
    cluster.control(leader).start().unwrap();
    over(&cluster, &before);
    for node in cluster.controls().iter().chain(cluster.agents()) {
        wait::until(IN_TIME, "every host to trust the new one alone", || authorities(node) == 1).unwrap();
    }
    assert_eq!((gate.starts("j"), cluster.deployment(&id).unwrap()["status"].as_str()), (1, Some("running")));

    // Everything starts again from what it kept.
    for node in cluster.controls().iter().chain(cluster.agents()) {
        node.restart().unwrap();
    }
    cluster.control(0).wait_ready().unwrap();
    cluster.wait_voters().unwrap();
    gate.open().unwrap();
    let ended = cluster.wait_final(&id).unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("j")), (&serde_json::json!(3), 1), "{ended}");
    cluster.wait_agents().unwrap();

    // A certificate of the old authority opens nothing, and a join token that pins it admits nobody.
    cluster.agent(1).stop().unwrap();
    restore(cluster.agent(1), &old);
    cluster.agent(1).start().unwrap();
    cluster.agent(1).wait_log("no session with a control node", IN_TIME).unwrap();
    cluster.control(0).wait_log("refused a connection from", IN_TIME).unwrap_or_else(|_| panic!("{}", cluster.tails()));
    let addresses = cluster.control(0).cluster_address().to_string();
    let late = cluster.cli().clone().env("RING_DATA_DIR", dir.path().join("late").display().to_string());
    let refused = late.run(["cluster", "join", &addresses, "--token", token.as_str(), "--role", "agent"]).unwrap();
    assert!(refused.code != Some(0) && refused.stderr.contains("the authority the join token names"), "{}", refused.stderr);
}

#[test]
fn hosts_that_do_not_come_back_are_left_behind_by_force() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let before = status(&cluster).unwrap()["authority"].clone();
    cluster.agent(0).stop().unwrap();
    let waited = cluster.cli().run(["cluster", "ca", "rotate", "--timeout", "2s"]).unwrap();
    assert!(waited.code == Some(124) && waited.stderr.contains("it waits for a1"), "{}", waited.stderr);
    for phase in ["renew", ""] {
        let forced = cluster.cli().run(["cluster", "ca", "rotate", "--force", "--detach"]).unwrap();
        assert_eq!(forced.code, Some(0), "{}", forced.stderr);
        if !phase.is_empty() {
            assert_eq!(status(&cluster).unwrap()["authority_rotation"]["phase"], phase);
        }
    }
    over(&cluster, &before);
    cluster.agent(0).start().unwrap();
    cluster.agent(0).wait_log("no session with a control node", IN_TIME).unwrap();
    let refused = cluster.cli().run(["cluster", "ca", "rotate", "--force"]).unwrap();
    assert!(
        refused.code == Some(5) && refused.stderr.contains("no rotation of the authority is under way"),
        "{}",
        refused.stderr
    );
}
