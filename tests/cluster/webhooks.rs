//! Webhooks of a real cluster, whose leaders are killed between one event and the next.

use ring_testkit::cluster::Options;
use ring_testkit::work::{IN_TIME, Runtime, job};
use ring_testkit::{Cluster, wait};
use serde_json::Value;

use crate::receiver::Receiver;

/// Control nodes that may reach receivers on their own host.
pub(crate) fn cluster(dir: &tempfile::TempDir) -> Cluster {
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[server.webhooks]\nallow_local = true\n").unwrap();
    let options = Options::default().env("RING_CONFIG_FILE", config.display().to_string());
    Cluster::loopback_with(3, 1, &options).unwrap()
}

fn create(cluster: &Cluster, receiver: &Receiver, events: &str) -> String {
    let made = cluster.cli().ok(["webhook", "create", &receiver.url(), "-e", events]).unwrap();
    assert!(made.starts_with("ring_whs_") && made.trim().lines().count() == 1, "{made}");
    let all = cluster.get_any("/webhooks").unwrap();
    let found = all.as_array().unwrap().iter().find(|webhook| webhook["url"] == receiver.url()).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

#[test]
fn every_change_of_a_status_arrives_though_leaders_are_killed_and_one_receiver_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(&dir);
    let (taking, hanging) = (Receiver::taking(), Receiver::hanging());
    let (hook, hung) = (create(&cluster, &taking, "*"), create(&cluster, &hanging, "deployment.*"));
    let mut jobs = Vec::new();
    for round in 0..3 {
        for n in 0..4 {
            let name = format!("job-{round}-{n}");
            jobs.push(cluster.apply_one(job(&name, Runtime::Process, "sleep 0.3")).unwrap());
        }
        // What was told so far need not have been committed as told.
        let leader = cluster.leader().unwrap();
        cluster.control(leader).kill9().unwrap();
        jobs.push(cluster.apply_one(job(&format!("job-{round}-last"), Runtime::Process, "exit 3")).unwrap());
        cluster.control(leader).start().unwrap();
        cluster.control(leader).wait_ready().unwrap();
    }
    for id in &jobs {
        let done = cluster.wait_deployment(id, "its end", |d| d["status"] == "completed" || d["status"] == "failed").unwrap();
        let end = done["status"].as_str().unwrap();
        let told = wait::eventually(IN_TIME, "its end to be told", || {
            let told = taking.statuses(id);
            Ok((told.last().map(String::as_str) == Some(end)).then_some(told))
        });
        let told = told.unwrap();
        assert_eq!(told[0], "pending", "{told:?}");
    }
    let errors = taking.events().values().filter(|event| event["kind"] == "deployment.error").count();
    assert_eq!(errors, 3, "one for each job that failed");
    wait::eventually(IN_TIME, "the changes of the lead", || {
        let events = taking.events();
        let led: Vec<_> = events.values().filter(|event| event["kind"] == "cluster.leader_changed").collect();
        Ok((led.len() >= 3).then_some(()))
    })
    .unwrap();
    let webhook = |id: &str| cluster.get_any(&format!("/webhooks/{id}")).unwrap();
    wait::eventually(IN_TIME, "all to be settled", || Ok((webhook(&hook)["pending"] == 0).then_some(()))).unwrap();
    let (hook, hung) = (webhook(&hook), webhook(&hung));
    assert_eq!((&hook["dead"], &hook["dropped"]), (&Value::from(0), &Value::from(0)));
    assert!(hung["delivered"] == 0 && hung["pending"].as_u64() > Some(30), "{hung}");
    cluster.wait_same_state().unwrap();
}
