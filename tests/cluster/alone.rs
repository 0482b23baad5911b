//! One host, with the commands a person types.

use std::path::Path;
use std::time::Duration;

use ring_testkit::work::{IN_TIME, Runtime, job, manifest};
use ring_testkit::{Cluster, RingCli, ports, wait};

fn free_port() -> String {
    ports::free_one().unwrap().to_string()
}

fn manifest_file(dir: &Path) -> String {
    let file = dir.join("job.yaml");
    std::fs::write(&file, manifest([job("hello", Runtime::Process, "echo hello from one host")]).to_string()).unwrap();
    file.display().to_string()
}

/// The password in what the first start printed.
fn printed_password(log: &str) -> String {
    let said = log.split_once("password of the account 'admin' is ").unwrap().1;
    said.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn init_start_login_apply() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ring = RingCli::new().unwrap().env("RING_CONFIG_DIR", path("config")).env("RING_DATA_DIR", path("data"));
    let port = free_port();
    ring.ok(["init", "--runtime", "process", "--port", &port]).unwrap();
    // The cluster port is fixed too, for other tests may run; a person leaves it out.
    let cluster = format!("127.0.0.1:{}", free_port());
    let start = ["server", "start", "--advertise", &cluster];
    let server = ring.spawn("server", &dir.path().join("server.log"), start).unwrap();
    server.wait_log("not shown again", IN_TIME).unwrap();
    let password = printed_password(&server.log().unwrap());

    let wrong = ring.run(["login", "-u", "admin", "-p", "wrong"]).unwrap();
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    ring.ok(["login", "-u", "admin", "-p", &password]).unwrap();
    let file = manifest_file(dir.path());
    ring.ok(["apply", "-f", &file, "--wait"]).unwrap();
    assert_eq!(ring.ok(["deployment", "logs", "test/hello"]).unwrap(), "hello from one host");
    let again = ring.ok(["apply", "-f", &file]).unwrap();
    assert!(again.contains("unchanged"), "{again}");

    server.kill9().unwrap();
    let server = ring.spawn("server", &dir.path().join("server.log"), start).unwrap();
    let list = ring.json(["deployment", "list", "-o", "json"]).unwrap();
    assert_eq!(list[0]["status"], "completed", "what was kept: {list}");
    assert!(!server.log().unwrap().contains("password"), "it is printed once");
}

#[test]
fn a_job_runs_in_the_process_that_also_serves() {
    let cluster = Cluster::alone().unwrap();
    let serves = || {
        let status = cluster.get_any("/cluster").unwrap();
        status["quorum"] == true && status["nodes"]["ready"] == 1
    };
    wait::holds(Duration::from_secs(8), "a cluster of one that nobody uses", serves).unwrap();
    let id = cluster.apply_one(job("one", Runtime::Process, "exit 4")).unwrap();
    assert_eq!(cluster.wait_status(&id, "failed").unwrap()["exit_status"]["code"], 4);
}
