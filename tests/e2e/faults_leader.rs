//! The leader dies or is cut off.

use ring_testkit::wait;
use ring_testkit::work::{Gate, IN_TIME, Runtime, manifest, new_key};
use serde_json::{Value, json};

use crate::three::{self, others, seen_by, starts_in_docker};

#[test]
fn every_job_ends_once_with_its_code_when_the_leader_is_killed() {
    let Some((lab, cluster)) = three::with_docker("leader-killed") else { return };
    let gate = Gate::new(&lab.dir().join("gate")).unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("job-{number:02}")).collect();
    let jobs = names.iter().zip(0..).map(|(name, code)| gate.job(name, Runtime::Docker, code));
    let ids = cluster.apply(&manifest(jobs)).unwrap();
    for id in &ids {
        cluster.wait_status(id, "running").unwrap();
    }

    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    gate.open().unwrap();
    for (id, code) in ids.iter().zip(0..) {
        let ended = cluster.wait_final(id).unwrap();
        let status = if code == 0 { "completed" } else { "failed" };
        assert_eq!((&ended["status"], &ended["exit_status"]["code"]), (&json!(status), &json!(code)), "{ended}");
    }
    for (id, name) in ids.iter().zip(&names) {
        assert_eq!((gate.starts(name), starts_in_docker(&lab, id)), (1, 1), "starts of {name}");
    }
    let lists: Vec<Value> = others(&cluster, leader).into_iter().map(|index| seen_by(&cluster, index, "/deployments")).collect();
    assert_eq!(lists[0].as_array().unwrap().len(), 20);
    assert_eq!(lists[0], lists[1]);

    cluster.control(leader).start().unwrap();
    cluster.control(leader).wait_ready().unwrap();
    cluster.wait_same_state().unwrap();
    assert_eq!(seen_by(&cluster, leader, "/deployments"), lists[0], "the one that was dead has the same list");
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_the_majority_goes_on() {
    let Some((lab, cluster)) = three::with_processes("leader-cut") else { return };
    let leader = cluster.leader().unwrap();
    let others = others(&cluster, leader);
    let name = |index: usize| cluster.control(index).name();
    lab.partition(&[name(leader)], &[name(others[0]), name(others[1])]).unwrap();

    // At once, while it still believes that it leads.
    let answer = cluster.post(leader, "/namespaces", &json!({ "name": "lost" }), &new_key()).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let key = new_key();
    wait::eventually(IN_TIME, "the majority to take a write", || {
        let answer = cluster.post(others[0], "/namespaces", &json!({ "name": "kept" }), &key)?;
        Ok((answer.status < 300).then_some(()))
    })
    .unwrap();
    assert_eq!(cluster.get_from(leader, "/namespaces").unwrap().status, 503, "it cannot know what the majority did");
    assert_eq!(cluster.get_from(leader, "/namespaces?consistency=stale").unwrap().status, 200);

    lab.heal().unwrap();
    cluster.wait_same_state().unwrap();
    for index in 0..3 {
        let namespaces = seen_by(&cluster, index, "/namespaces");
        let names: Vec<_> = namespaces.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        assert!(names.contains(&"kept") && !names.contains(&"lost"), "{} has {names:?}", name(index));
    }
}
