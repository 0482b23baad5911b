//! Rotation of the data key on three control nodes, while people and jobs use secrets and the leader is killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use ring_testkit::work::{IN_TIME, Runtime, job, new_key, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::webhooks;

/// Enough for several batches.
const SECRETS: usize = 350;

fn put(cluster: &Cluster, control: usize, name: &str, value: &str) {
    let body = json!({ "namespace": "test", "name": name, "value": value });
    let key = new_key();
    wait::eventually(IN_TIME, "the secret to be taken", || {
        let answer = cluster.post(control, "/secrets", &body, &key)?;
        anyhow::ensure!(answer.status == 200, "status {}: {}", answer.status, answer.body);
        Ok(Some(()))
    })
    .unwrap();
}

fn rotation(cluster: &Cluster) -> anyhow::Result<Value> {
    cluster.get_any("/secrets/rotate-key")
}

fn done(cluster: &Cluster, key: u64) {
    wait::eventually(IN_TIME, "the rotation to be over", || {
        let now = rotation(cluster)?;
        Ok((now["key"] == key && now["done"] == true).then_some(()))
    })
    .unwrap();
}

/// A job that ends well when each of these secrets has its value.
fn checks(name: &str, values: &BTreeMap<String, String>) -> Value {
    let variables: Vec<_> = values.iter().enumerate().map(|(n, (secret, value))| (format!("V{n}"), secret, value)).collect();
    let script: Vec<_> = variables.iter().map(|(variable, _, value)| format!("test \"${variable}\" = {value}")).collect();
    let mut checks = job(name, Runtime::Process, &script.join(" && "));
    checks["environment"] = variables.iter().map(|(v, secret, _)| (v.clone(), json!({ "secretRef": secret }))).collect();
    checks
}

#[test]
fn the_data_key_is_rotated_while_everything_runs_and_the_leader_dies() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    for n in 0..SECRETS {
        put(&cluster, n % 3, &format!("s{n}"), &format!("value-{n}"));
    }
    let mut serves = worker("serves", Runtime::Process, "test \"$KEEP\" = value-0 && exec sleep 1000");
    serves["environment"] = json!({ "KEEP": { "secretRef": "s0" } });
    let serves = cluster.apply_one(serves).unwrap();
    let before = cluster.wait_status(&serves, "running").unwrap()["instances"][0]["id"].clone();
    assert_eq!(rotation(&cluster).unwrap()["key"], 1);

    let leader = cluster.leader().unwrap();
    let (over, mut written) = (AtomicBool::new(false), BTreeMap::new());
    std::thread::scope(|scope| {
        // Somebody goes on writing secrets through a control node that lives.
        let writer = scope.spawn(|| {
            let mut written = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                let n = written.len();
                let (name, value) = (format!("s{}", n % 20), format!("new-{n}"));
                put(&cluster, (leader + 1) % 3, &name, &value);
                written.insert(name, value);
            }
            written
        });
        let begun = cluster.cli().ok(["secret", "rotate-key", "--detach"]).unwrap();
        assert!(begun.starts_with("data key 2"), "{begun}");
        // In the middle: some are sealed anew, others are not, whenever it is caught there; a leader that was faster is no fault.
        let _ = wait::until(IN_TIME, "the rotation to get going", || {
            rotation(&cluster).is_ok_and(|now| now["left"].as_u64().is_some_and(|left| left < SECRETS as u64))
        });
        cluster.control(leader).kill9().unwrap();
        cluster.leader_after(leader).unwrap();
        done(&cluster, 2);
        over.store(true, Ordering::Relaxed);
        written = writer.join().unwrap();
    });
    cluster.control(leader).start().unwrap();
    cluster.control(leader).wait_ready().unwrap();
    cluster.wait_same_state().unwrap();

    // Whatever was written last has its value, what nobody touched has its own, and what ran went on.
    let mut expected: BTreeMap<_, _> = (20..60).map(|n| (format!("s{n}"), format!("value-{n}"))).collect();
    expected.extend(written);
    let id = cluster.apply_one(checks("after", &expected)).unwrap();
    let after = cluster.wait_final(&id).unwrap();
    assert_eq!(after["status"], "completed", "{after}");
    assert_eq!(cluster.wait_status(&serves, "running").unwrap()["instances"][0]["id"], before);
}

#[test]
fn registry_passwords_and_what_signs_deliveries_are_rotated_too() {
    const SECRET: &str = "the receiver knows it too";
    let dir = tempfile::tempdir().unwrap();
    let cluster = webhooks::cluster(&dir);
    let receiver = Receiver::taking();
    cluster.cli().ok(["webhook", "create", &receiver.url(), "-e", "node.*", "-s", SECRET]).unwrap();
    let id = cluster.get_any("/webhooks").unwrap()[0]["id"].as_str().unwrap().to_owned();
    // An instance is not started when the password of its registry does not open, whatever runs it.
    let mut pulls = worker("pulls", Runtime::Process, "exec sleep 1000");
    pulls["config"] = json!({ "username": "ann", "password": "let me in" });
    let mut pulls = cluster.apply_one(pulls).unwrap();
    cluster.wait_status(&pulls, "running").unwrap();

    // The second one opens what the first one wrote, which another leader ended.
    for key in [2, 3] {
        let begun = cluster.cli().ok(["secret", "rotate-key", "--detach"]).unwrap();
        assert!(begun.starts_with(&format!("data key {key}")), "{begun}");
        let leader = cluster.leader().unwrap();
        if key == 2 {
            cluster.control(leader).kill9().unwrap();
            cluster.leader_after(leader).unwrap();
        }
        done(&cluster, key);
        assert_eq!(rotation(&cluster).unwrap()["unreadable"], json!([]));
        let before = receiver.signed_with(SECRET);
        cluster.cli().ok(["webhook", "test", &id]).unwrap();
        wait::until(IN_TIME, "the test to arrive", || receiver.signed_with(SECRET) > before).unwrap();
        // Another record, with the password as it is sealed now.
        cluster.cli().ok(["deployment", "restart", &pulls]).unwrap();
        pulls =
            cluster.cli().json(["deployment", "inspect", "test/pulls", "-o", "json"]).unwrap()["id"].as_str().unwrap().to_owned();
        cluster.wait_deployment(&pulls, "its place to be taken", |d| d["rollout"] == "completed").unwrap();
        if key == 2 {
            cluster.control(leader).start().unwrap();
            cluster.control(leader).wait_ready().unwrap();
        }
    }
    wait::eventually(IN_TIME, "all to be settled", || {
        let hook = cluster.get_any(&format!("/webhooks/{id}"))?;
        Ok((hook["pending"] == 0).then_some(()))
    })
    .unwrap();
    receiver.signed_with(SECRET);
    cluster.wait_same_state().unwrap();
}

#[test]
fn the_command_waits_for_the_end_and_says_how_it_is() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let ring = cluster.cli();
    ring.ok(["secret", "create", "one", "-n", "test", "-v", "1"]).unwrap();
    let shown = ring.ok(["secret", "rotate-key", "--status"]).unwrap();
    assert!(shown.starts_with("data key 1 seals everything (made "), "{shown}");
    let rotated = ring.ok(["secret", "rotate-key"]).unwrap();
    assert!(rotated.starts_with("data key 2 seals everything (made "), "{rotated}");
    assert_eq!(rotation(&cluster).unwrap()["left"], 0);
    let record = ring.json(["cluster", "audit", "--action", "data-key.rotate", "-o", "json"]).unwrap();
    let line = &record.as_array().unwrap()[0];
    assert_eq!((&line["user"], &line["action"]), (&json!("admin"), &json!("data-key.rotate")), "{line}");
    // Only one that is bound to no namespace may: a rotation concerns all of them.
    let bound = ring.ok(["token", "create", "ci", "-s", "secrets:write", "-n", "test"]).unwrap();
    let refused = ring.clone().env("RING_TOKEN", bound.trim()).run(["secret", "rotate-key"]).unwrap();
    assert!(refused.code == Some(2) && refused.stderr.contains("bound to namespaces"), "{}", refused.stderr);
}
