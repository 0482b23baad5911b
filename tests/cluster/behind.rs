//! A control node whose copy of the state is behind refuses nothing that the cluster has.

use ring_testkit::Cluster;
use ring_testkit::work::new_key;
use serde_json::json;

/// Each is a race of the request with the copy's catching up.
const ROUNDS: usize = 20;

#[test]
fn what_was_acknowledged_by_one_is_found_for_a_change_through_another_that_is_behind() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let leader = cluster.leader().unwrap();
    let other = (leader + 1) % 3;
    for round in 0..ROUNDS {
        // For less than the time after which it knows itself that it is behind.
        cluster.control(other).pause().unwrap();
        let body = json!({ "namespace": "test", "name": format!("c{round}"), "data": { "v": "1" } });
        let made = cluster.post(leader, "/configs", &body, &new_key()).unwrap();
        assert_eq!(made.status, 200, "{}", made.body);
        let id = made.json().unwrap()["id"].as_str().unwrap().to_owned();
        let changed = std::thread::scope(|scope| {
            let request = cluster.control(other).http("PUT", &format!("/configs/{id}")).bearer(cluster.token()).json(&body);
            let waiting = scope.spawn(|| request.send());
            // The request is in its queue by then, or comes a moment later: both may happen.
            std::thread::sleep(std::time::Duration::from_millis(30));
            cluster.control(other).resume().unwrap();
            waiting.join().unwrap().unwrap()
        });
        assert_eq!(changed.status, 200, "round {round}: {}", changed.body);
    }
}
