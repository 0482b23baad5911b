//! What the cluster has removed ends by itself, says why, and is not started again by its unit.

use ring_testkit::cluster::Options;
use ring_testkit::wait;
use ring_testkit::work::{IN_TIME, new_key};
use ring_testkit::{Cluster, RingNode};
use serde_json::json;

/// Exit code of a node its cluster has removed.
const REMOVED: i32 = 6;

/// The node ends with the code, and its log says why and what to do.
fn ends_removed(node: &RingNode, says: &str) {
    let status = node.wait_exit(IN_TIME).unwrap_or_else(|error| panic!("{error:#}\n{}", node.tail()));
    assert_eq!(status.code(), Some(REMOVED), "{}", node.tail());
    for text in [says, "what runs on this host goes on", "hint: to use this host again, join it with a new token"] {
        node.wait_log(text, IN_TIME).unwrap();
    }
}

fn writes(cluster: &Cluster, control: usize, name: &str) {
    wait::eventually(IN_TIME, "a write", || {
        let answer = cluster.post(control, "/namespaces", &json!({ "name": name }), &new_key())?;
        Ok((answer.status < 300).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_removed_control_node_ends_and_stays_ended() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    let gone = cluster.control((leader + 1) % 3);
    cluster.cli_to(leader).ok(["cluster", "remove", gone.name()]).unwrap();
    ends_removed(gone, &format!("('{}') was removed from its cluster", gone.name()));
    writes(&cluster, leader, "after");
    gone.start().unwrap();
    ends_removed(gone, "was removed from its cluster");
}

#[test]
fn one_that_was_removed_while_it_was_down_is_told_by_the_others() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    let gone = cluster.control((leader + 1) % 3);
    gone.kill9().unwrap();
    cluster.cli_to(leader).ok(["cluster", "remove", gone.name()]).unwrap();
    gone.start().unwrap();
    ends_removed(gone, "says so): it ends");
    gone.wait_log("was removed from its cluster (the control node at 127.0.0.1:", IN_TIME).unwrap();
}

#[test]
fn a_leader_can_leave() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.cli_to(leader).ok(["cluster", "leave"]).unwrap();
    ends_removed(cluster.control(leader), "was removed from its cluster");
    writes(&cluster, (leader + 1) % 3, "after");
}

#[test]
fn silence_of_the_others_removes_nobody() {
    let options = Options::default().env("RUST_LOG", "info,openraft=error,ring_server=debug");
    let cluster = Cluster::loopback_with(3, 0, &options).unwrap();
    let [dead, frozen, left] = [0, 1, 2].map(|index| cluster.control(index));
    let pid = left.pid();
    dead.kill9().unwrap();
    frozen.pause().unwrap();
    for other in [dead, frozen] {
        let asked = format!("{} does not say whether this is a member", other.cluster_address());
        left.wait_log(&asked, IN_TIME).unwrap();
    }
    dead.start().unwrap();
    frozen.resume().unwrap();
    left.wait_ready().unwrap();
    writes(&cluster, 2, "after");
    assert_eq!((left.exited().unwrap(), left.pid()), (None, pid), "{}", left.tail());
}

#[test]
fn who_is_dead_for_too_long_is_removed_where_the_operator_wants_it() {
    let options = Options::default().config("[server.members]\nremove_dead_after = \"10s\"\n");
    let cluster = Cluster::loopback_with(3, 0, &options).unwrap();
    let leader = cluster.leader().unwrap();
    let [dead, other] = [1, 2].map(|n| (leader + n) % 3);
    cluster.control(dead).kill9().unwrap();
    let name = cluster.control(dead).name().to_owned();
    wait::eventually(IN_TIME, "two members", || {
        let members = cluster.cli_to(leader).json(["cluster", "members", "-o", "json"])?;
        Ok((members.as_array().map(Vec::len) == Some(2)).then_some(()))
    })
    .unwrap();
    let audit = cluster.cli_to(other).json(["cluster", "audit", "-o", "json"]).unwrap();
    let line = audit.as_array().unwrap().iter().find(|line| line["action"] == "member.delete").unwrap();
    assert!(line.to_string().contains("server.members.remove_dead_after") && line.to_string().contains(&name), "{line}");
    // The two that are left have no more to lose: without the other nothing can be written, and nobody is removed.
    writes(&cluster, leader, "after");
    cluster.control(other).kill9().unwrap();
    cluster.control(leader).wait_log("controller=\"removal\"", IN_TIME).unwrap();
    cluster.control(other).start().unwrap();
    writes(&cluster, other, "again");
    assert_eq!(cluster.get_any("/cluster/members").unwrap().as_array().unwrap().len(), 2);
    cluster.control(dead).start().unwrap();
    ends_removed(cluster.control(dead), "says so): it ends");
}

#[test]
fn a_removal_after_which_nothing_could_be_written_is_refused() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    let [dead, alive] = [1, 2].map(|n| cluster.control((leader + n) % 3));
    dead.kill9().unwrap();
    let says = cluster.cli_to(leader).run(["cluster", "remove", alive.name()]).unwrap();
    assert_ne!(says.code, Some(0), "{says:?}");
    assert!(says.stderr.contains("no majority of them answers") && says.stderr.contains(dead.name()), "{says:?}");
    let removed = cluster.cli_to(leader).run(["cluster", "remove", dead.name()]).unwrap();
    assert!(removed.stderr.contains("warning: 2 control nodes vote"), "{removed:?}");
    writes(&cluster, leader, "after");
}

#[test]
fn a_removed_agent_ends_and_stays_ended() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let agent = cluster.agent(0);
    let id = cluster.get_any("/nodes").unwrap()[0]["id"].as_str().unwrap().to_owned();
    let answer = cluster.control(0).http("DELETE", &format!("/nodes/{id}")).bearer(cluster.token()).send().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    ends_removed(agent, "this node was removed from the cluster");
    agent.start().unwrap();
    ends_removed(agent, "this node was removed from the cluster");
    assert_eq!(cluster.get_any("/nodes").unwrap(), json!([]));
}

#[test]
fn an_agent_without_a_control_node_goes_on_asking() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let agent = cluster.agent(0);
    cluster.control(0).kill9().unwrap();
    agent.wait_log("no session with a control node", IN_TIME).unwrap();
    cluster.control(0).start().unwrap();
    cluster.wait_agents().unwrap();
    assert_eq!(agent.exited().unwrap(), None);
}

#[test]
fn units_start_no_removed_node_again() {
    for unit in
        [include_str!("../../cluster/systemd/ring-server.service"), include_str!("../../cluster/systemd/ring-agent.service")]
    {
        assert!(unit.lines().any(|line| line == format!("RestartPreventExitStatus={REMOVED}")), "{unit}");
    }
}
