//! Control nodes come back under other addresses.

use std::net::{Ipv4Addr, SocketAddr};

use ring_testkit::work::{Gate, IN_TIME, Runtime, new_key};
use ring_testkit::{Cluster, RingNode, ports, wait};
use serde_json::json;

fn moves(node: &RingNode) -> SocketAddr {
    node.move_to(ports::free_one().unwrap());
    node.cluster_address()
}

/// The record has every control node where it is now, and everybody can write.
fn knows_the_places(cluster: &Cluster) {
    let mut places: Vec<_> = cluster.controls().iter().map(|node| node.cluster_address().to_string()).collect();
    places.sort();
    wait::eventually(IN_TIME, "the new addresses", || {
        let members = cluster.get_any("/cluster/members")?;
        let mut known: Vec<_> = members.as_array().into_iter().flatten().filter_map(|one| one["address"].as_str()).collect();
        known.sort_unstable();
        Ok((known == places).then_some(()))
    })
    .unwrap();
    for (n, node) in cluster.controls().iter().enumerate() {
        let name = format!("from-{}-{}", node.cluster_address().port(), n);
        wait::eventually(IN_TIME, "a write", || {
            let answer = cluster.post(n, "/namespaces", &json!({ "name": name }), &new_key())?;
            Ok((answer.status < 300 || answer.status == 409).then_some(()))
        })
        .unwrap();
    }
    cluster.wait_same_state().unwrap();
}

#[test]
fn one_control_node_moves_and_then_another() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    for index in [0, 1] {
        let node = cluster.control(index);
        node.stop().unwrap();
        moves(node);
        node.start().unwrap();
        node.wait_ready().unwrap();
        knows_the_places(&cluster);
    }
    // What they know survives them.
    for node in cluster.controls() {
        node.kill9().unwrap();
    }
    for node in cluster.controls() {
        node.start().unwrap();
    }
    knows_the_places(&cluster);
}

#[test]
fn all_of_them_move_at_once_and_are_told_where_they_are() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::new(&dir.path().join("gate")).unwrap();
    let job = cluster.apply_one(gate.job("waiting", Runtime::Process, 7)).unwrap();
    cluster.wait_status(&job, "running").unwrap();
    cluster.agent(0).stop().unwrap();
    for node in cluster.controls() {
        node.stop().unwrap();
    }
    let places: Vec<_> = cluster.controls().iter().map(moves).collect();
    // One that is told nothing looks in vain, and says which it misses.
    cluster.control(0).start().unwrap();
    cluster.control(1).start_knowing(&places).unwrap();
    cluster.control(2).start_knowing(&places).unwrap();
    for node in &cluster.controls()[1..] {
        node.wait_ready().unwrap();
    }
    knows_the_places(&cluster);
    gate.open().unwrap();
    cluster.agent(0).start_knowing(&places).unwrap();
    let ended = cluster.wait_final(&job).unwrap();
    assert_eq!((&ended["exit_status"]["code"], gate.starts("waiting")), (&json!(7), 1), "{ended}");
    // From now on nobody has to be told.
    cluster.agent(0).restart().unwrap();
    for node in cluster.controls() {
        node.restart().unwrap();
    }
    knows_the_places(&cluster);
    cluster.wait_agents().unwrap();
}

#[test]
fn a_wrong_place_does_no_harm() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let strangers = Cluster::loopback(1, 0).unwrap();
    for node in cluster.controls() {
        node.stop().unwrap();
    }
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_one().unwrap()));
    let places = [nobody, strangers.control(0).cluster_address(), cluster.control(0).cluster_address()];
    for node in cluster.controls() {
        node.start_knowing(&places).unwrap();
    }
    knows_the_places(&cluster);
}
