//! The disk under control nodes loses power, fails its syncs, or is slow.

use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring_testkit::cluster::Options;
use ring_testkit::history::{self, Deed};
use ring_testkit::lab::{AilingDisk, Lab};
use ring_testkit::work::{IN_TIME, new_key};
use ring_testkit::{Cluster, report, wait};
use serde_json::json;

use crate::clients::{self, Registers};
use crate::load::{EndsLoad, Load};
use crate::run::CONTROLS;

/// Power losses of one run.
const LOSSES: usize = 6;

/// Three control nodes, each on a disk of its own that fails on demand.
fn start(name: &str) -> Option<(Lab, Vec<AilingDisk>, Cluster)> {
    let lab = Lab::builder(name).hosts(CONTROLS).start_or_skip()?;
    let disks: Vec<_> = CONTROLS.iter().map(|host| lab.ailing_disk(host, "ailing").unwrap()).collect();
    let place = |options: Options, (host, disk): (&&str, &AilingDisk)| options.data_dir(host, disk.path());
    let options = CONTROLS.iter().zip(&disks).fold(Options::default(), place);
    let cluster = Cluster::in_lab_with(&lab, &CONTROLS, &[], &options).unwrap();
    Some((lab, disks, cluster))
}

/// Waits until a write through a control node is acknowledged.
fn takes_a_write(cluster: &Cluster, control: usize, name: &str) {
    let key = new_key();
    wait::eventually(IN_TIME, "a write", || {
        let answer = cluster.post(control, "/namespaces", &json!({ "name": name }), &key)?;
        anyhow::ensure!(answer.status < 300, "status {}: {}", answer.status, answer.body);
        Ok(Some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.tails()));
}

fn written(load: &Load<'_>) -> usize {
    load.events().iter().filter(|event| matches!(event.deed, Deed::Write { revision: Some(_), .. })).count()
}

/// All of them at once, again and again under load: what was acknowledged was on the disks of most.
#[test]
fn a_power_loss_of_all_control_nodes_takes_nothing_that_was_acknowledged() {
    let Some((_lab, disks, cluster)) = start("power") else { return };
    let seed = crate::run::seed();
    report::line(&format!("power losses of seed {seed}: repeat them with RING_FAULT_SEED={seed}"));
    let (mut rng, load, registers) = (StdRng::seed_from_u64(seed), Load::on(&cluster), Registers::default());
    let (mut bytes, mut names, mut torn) = (0, 0, 0);
    thread::scope(|scope| {
        let (load, registers) = (&load, &registers);
        let _ends = EndsLoad(load);
        for client in 0..4 {
            scope.spawn(move || registers.client(load, client, seed + client as u64));
        }
        for _ in 0..LOSSES {
            let before = written(load);
            wait::until(IN_TIME, "some writes", || written(load) > before + 10).unwrap();
            for node in cluster.controls() {
                node.kill9().unwrap();
            }
            for disk in &disks {
                let tears = rng.random_range(0..2) == 0;
                let lost = disk.lose_power(tears.then_some(&mut rng));
                (bytes, names, torn) = (bytes + lost.bytes, names + lost.names, torn + lost.torn);
            }
            for node in cluster.controls() {
                node.start().unwrap();
            }
            for node in cluster.controls() {
                node.wait_ready().unwrap();
            }
        }
        load.finish(true);
    });
    assert!(bytes > 0 && torn > 0, "the power losses took nothing: {bytes} bytes, {names} names, {torn} torn files");
    for control in 0..CONTROLS.len() {
        registers.read_all(&load, control);
    }
    cluster.wait_same_state().unwrap();
    assert_eq!(load.problems(), Vec::<String>::new(), "seed {seed}");
    let judged = history::judge(&load.events()).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    let windows = clients::judge(&load.events()).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    let syncs: u64 = disks.iter().map(AilingDisk::syncs).sum();
    report::line(&format!(
        "{LOSSES} power losses of three control nodes took {bytes} bytes and {names} names that were not synced, {torn} files \
         were torn; {syncs} syncs; {judged:?}, registers with one order: {windows}"
    ));
}

/// The node ends, says why, and the others go on; later it catches up.
fn failing_sync(name: &str, leads: bool) {
    let Some((_lab, disks, cluster)) = start(name) else { return };
    let leader = cluster.leader().unwrap();
    let one = if leads { leader } else { (leader + 1) % 3 };
    let (node, other) = (cluster.control(one), (one + 1) % 3);
    disks[one].fail_syncs(true);
    let mut writes = 0;
    let ended = wait::eventually(IN_TIME, "the node whose disk fails to end", || {
        writes += 1;
        // Through another node: what is acknowledged is on the disks of the two that work.
        let _ = cluster.post(other, "/namespaces", &json!({ "name": format!("n{writes}") }), &new_key());
        node.exited()
    });
    let ended = ended.unwrap_or_else(|error| panic!("{error:#}\n{}", node.tail()));
    assert!(!ended.success() && disks[one].failed() > 0, "{ended}");
    let said = node.tail();
    assert!(said.contains("cannot sync") && said.contains("Input/output error"), "what is wrong, and where? {said}");
    takes_a_write(&cluster, other, "goes-on");
    disks[one].fail_syncs(false);
    node.start().unwrap();
    node.wait_ready().unwrap();
    takes_a_write(&cluster, one, "is-back");
    cluster.wait_same_state().unwrap();
}

#[test]
fn a_follower_whose_syncs_fail_ends_and_catches_up_later() {
    failing_sync("sync-follower", false);
}

#[test]
fn a_leader_whose_syncs_fail_ends_and_catches_up_later() {
    failing_sync("sync-leader", true);
}

#[test]
fn nothing_is_acknowledged_that_no_disk_has() {
    let Some((_lab, disks, cluster)) = start("sync-none") else { return };
    takes_a_write(&cluster, 0, "before");
    // The two others are needed for every write from now on, and cannot keep any.
    let leader = cluster.leader().unwrap();
    for (index, disk) in disks.iter().enumerate() {
        disk.fail_syncs(index != leader);
    }
    for n in 0..5 {
        let answer = cluster.post(leader, "/namespaces", &json!({ "name": format!("n{n}") }), &new_key());
        assert!(answer.as_ref().is_ok_and(|answer| answer.status >= 500) || answer.is_err(), "{answer:?}");
    }
    for (index, disk) in disks.iter().enumerate() {
        disk.fail_syncs(false);
        if index != leader {
            assert!(!cluster.control(index).wait_exit(IN_TIME).unwrap().success());
            cluster.control(index).start().unwrap();
        }
    }
    for control in 0..CONTROLS.len() {
        takes_a_write(&cluster, control, &format!("after-{control}"));
    }
    cluster.wait_same_state().unwrap();
}

#[test]
fn a_slow_disk_slows_nobody_but_its_node() {
    let Some((_lab, disks, cluster)) = start("slow-disk") else { return };
    let leader = cluster.leader().unwrap();
    let slow = (leader + 1) % 3;
    disks[slow].slow_syncs(Duration::from_millis(700));
    for n in 0..10 {
        takes_a_write(&cluster, leader, &format!("n{n}"));
    }
    wait::until(IN_TIME, "a slow sync", || disks[slow].delayed() > 0).unwrap();
    assert_eq!(cluster.leader().unwrap(), leader, "a follower's disk changes no leader");
    disks[slow].slow_syncs(Duration::ZERO);
    takes_a_write(&cluster, slow, "after");
    // The same under the leader: it may lose the lead, and nothing else.
    disks[leader].slow_syncs(Duration::from_millis(700));
    for n in 0..3 {
        takes_a_write(&cluster, (leader + 2) % 3, &format!("m{n}"));
    }
    disks[leader].slow_syncs(Duration::ZERO);
    for node in cluster.controls() {
        node.wait_ready().unwrap();
    }
    cluster.wait_same_state().unwrap();
    for control in 0..CONTROLS.len() {
        let names = cluster.get_from(control, "/namespaces").unwrap().body;
        assert!((0..10).all(|n| names.contains(&format!("\"n{n}\""))), "{names}");
    }
}
