//! Health checks of containers: Docker's own, and the agent's at their addresses.

use std::fs;
use std::path::PathBuf;

use ring_testkit::lab::Lab;
use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

use crate::three::{self, container};

/// A web server on each of two hosts, whose readiness command looks for a file in a directory of its host.
fn web(lab: &Lab) -> (Value, [PathBuf; 2]) {
    let dir = lab.dir().join("well");
    let files = ["a1", "a2"].map(|host| dir.join(host));
    fs::create_dir_all(&dir).unwrap();
    let script = format!("hostname > /tmp/index.html; ln -s {}/$NODE /tmp/well; exec httpd -f -p 8080 -h /tmp", dir.display());
    let mut web = worker("web", Runtime::Docker, &script);
    web["volumes"] = json!([{ "type": "bind", "source": dir, "destination": dir, "permission": "ro" }]);
    web["health_checks"] = json!([
        { "type": "command", "command": "echo looking; test -e /tmp/well", "interval": "1s", "timeout": "1s", "threshold": 2,
          "on_failure": "alert", "readiness": true, "min_healthy_time": "1s" },
        { "type": "http", "url": "http://localhost:8080/", "interval": "500ms", "timeout": "10s", "threshold": 2, "on_failure": "alert" },
    ]);
    (web, files)
}

fn on(web: &Value, host: &str) -> Value {
    let mut web = ring_testkit::work::on(web.clone(), host);
    web["name"] = format!("web-{host}").into();
    web["environment"] = json!({ "NODE": host });
    web
}

fn wait_instance(cluster: &Cluster, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = cluster.wait_deployment(id, what, |deployment| wanted(&deployment["instances"][0])).unwrap();
    found["instances"][0].clone()
}

/// When the newest probe of a check began, with its status and message.
fn last(cluster: &Cluster, control: usize, id: &str, check: u32) -> Option<(String, String, String)> {
    let reply = cluster.get_from(control, &format!("/deployments/{id}/health-checks?latest=true")).unwrap().json().unwrap();
    let one = reply.as_array().unwrap().iter().find(|one| one["check"] == check)?.clone();
    let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
    Some((text("started_at"), text("status"), text("message")))
}

#[test]
fn a_readiness_command_is_dockers_own_check_and_a_hung_docker_holds_up_nothing_else() {
    let Some((lab, cluster)) = three::with_docker("health") else { return };
    let (web, [well_1, well_2]) = web(&lab);
    let ids = ["a1", "a2"].map(|host| cluster.apply_one(on(&web, host)).unwrap());
    for id in &ids {
        let failing = wait_instance(&cluster, id, "readiness that fails", |one| one["failing_checks"][0]["check"] == 0);
        assert_eq!((&failing["status"], &failing["ready"]), (&json!("running"), &json!(false)), "{failing}");
        assert_eq!(failing["failing_checks"][0]["message"], "exit code 1");
    }
    for well in [&well_1, &well_2] {
        fs::write(well, "").unwrap();
    }
    for (id, host) in ids.iter().zip(["a1", "a2"]) {
        wait_instance(&cluster, id, "readiness", |one| one["ready"] == true && one["failing_checks"] == json!([]));
        let name = container(&lab, host, id);
        let says = |format: &str| lab.docker(host).ok(["inspect", "--format", format, &name]).unwrap();
        assert_eq!(says("{{.State.Health.Status}}"), "healthy");
        assert_eq!(says("{{index .Config.Healthcheck.Test 0}} {{.Config.Healthcheck.Retries}}"), "CMD-SHELL 2");
    }
    for control in 0..3 {
        let (_, status, message) = last(&cluster, control, &ids[1], 0).unwrap();
        assert_eq!((status.as_str(), message.as_str()), ("success", "exit code 0: looking"));
        let (_, status, message) = last(&cluster, control, &ids[1], 1).unwrap();
        assert_eq!((status.as_str(), message.as_str()), ("success", "HTTP 200"), "at the container's address");
    }

    lab.docker("a1").pause().unwrap();
    fs::remove_file(&well_2).unwrap();
    wait_instance(&cluster, &ids[1], "readiness that is lost", |one| one["ready"] == false);
    let (before, _, _) = last(&cluster, 0, &ids[0], 1).unwrap();
    wait::until(IN_TIME, "probes beside a Docker that hangs", || {
        last(&cluster, 1, &ids[0], 1).is_some_and(|(at, status, _)| at > before && status == "success")
    })
    .unwrap();
    wait::until(IN_TIME, "Docker's silence in the history", || {
        last(&cluster, 2, &ids[0], 0)
            .is_some_and(|(_, status, message)| status == "timeout" && message.contains("did not answer"))
    })
    .unwrap();
    lab.docker("a1").resume().unwrap();
    fs::write(&well_2, "").unwrap();
    wait_instance(&cluster, &ids[1], "readiness again", |one| one["ready"] == true);
    let beside = wait_instance(&cluster, &ids[0], "the instance", |one| one["id"].is_string());
    assert_eq!((&beside["ready"], &beside["failing_checks"]), (&json!(true), &json!([])), "a hung Docker is no fault of it");
}
