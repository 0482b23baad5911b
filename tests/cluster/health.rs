//! Health checks of real processes: what the cluster is told, and what is had through every control node.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

/// A server on loopback that answers every request with a status, until it is dropped.
struct Server {
    port: u16,
    status: Arc<AtomicU16>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// On this port, or on a free one.
    fn start(port: u16, status: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (status, over) = (Arc::new(AtomicU16::new(status)), Arc::<AtomicBool>::default());
        let (answered, ended) = (Arc::clone(&status), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                answer(stream, answered.load(Ordering::SeqCst));
            }
        });
        Self { port, status, over, thread: Some(thread) }
    }

    fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A probe of type tcp says nothing; one of type http reads the status.
fn answer(mut stream: TcpStream, status: u16) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut request = [0; 1024];
    if stream.read(&mut request).is_ok_and(|read| read > 0) {
        let _ = write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}

/// A worker whose server the test plays: readiness by http, and a connection that is only watched.
fn web(http: u16, tcp: u16) -> Value {
    let mut web = worker("web", Runtime::Process, "exec sleep 100000");
    let check = json!({ "interval": "200ms", "timeout": "5s", "threshold": 2, "on_failure": "alert" });
    let with = |more: Value| {
        let mut all = check.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    web["health_checks"] = json!([
        with(
            json!({ "type": "http", "url": format!("http://localhost:{http}/ready"), "readiness": true, "min_healthy_time": "500ms" })
        ),
        with(json!({ "type": "tcp", "port": tcp })),
    ]);
    web
}

fn events(cluster: &Cluster, id: &str, kind: &str) -> Vec<String> {
    let events = cluster.get_any(&format!("/deployments/{id}/events")).unwrap();
    let of_kind = events.as_array().unwrap().iter().filter(|event| event["kind"] == kind);
    of_kind.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn latest(cluster: &Cluster, control: usize, id: &str) -> Vec<Value> {
    let reply = cluster.get_from(control, &format!("/deployments/{id}/health-checks?latest=true")).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json().unwrap().as_array().unwrap().clone()
}

fn wait_instance(cluster: &Cluster, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = cluster.wait_deployment(id, what, |deployment| wanted(&deployment["instances"][0])).unwrap();
    found["instances"][0].clone()
}

#[test]
fn a_server_that_breaks_and_heals_is_seen_through_every_control_node() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let (http, tcp) = (Server::start(0, 503), Server::start(0, 200));
    let id = cluster.apply_one(web(http.port, tcp.port)).unwrap();
    // It runs, and is not ready: what it answers says so.
    let failing = wait_instance(&cluster, &id, "readiness that fails", |one| one["failing_checks"][0]["check"] == 0);
    assert_eq!((&failing["status"], &failing["ready"]), (&json!("running"), &json!(false)), "{failing}");
    assert_eq!(failing["failing_checks"][0]["message"], "HTTP 503");
    http.answer_with(204);
    let ready = wait_instance(&cluster, &id, "readiness", |one| one["ready"] == true);
    assert_eq!(ready["failing_checks"], json!([]));
    for control in 0..3 {
        let found = latest(&cluster, control, &id);
        let seen: Vec<_> = found.iter().map(|one| (one["check"].as_u64().unwrap(), one["message"].as_str().unwrap())).collect();
        assert!(seen.contains(&(0, "HTTP 204")) && seen.contains(&(1, "connected")) && seen.len() == 2, "c{control}: {found:?}");
        let table = cluster.cli_to(control).ok(["deployment", "health-checks", "test/web", "--latest"]).unwrap();
        assert!(table.contains("HTTP 204") && table.contains("success"), "{table}");
        assert_eq!(
            cluster.cli_to(control).json(["deployment", "inspect", &id, "-o", "json"]).unwrap()["instances"][0]["ready"],
            true
        );
    }
    let (port, running) = (tcp.port, ready["id"].clone());
    drop(tcp);
    let broken = wait_instance(&cluster, &id, "a failing check", |one| one["failing_checks"][0]["check"] == 1);
    assert_eq!(broken["failing_checks"][0]["message"], format!("port {port}: connection refused"));
    assert_eq!(
        (&broken["ready"], &broken["id"]),
        (&json!(true), &running),
        "the other check decides, and alert restarts nothing"
    );
    let _tcp = Server::start(port, 200);
    wait_instance(&cluster, &id, "no failing check", |one| one["failing_checks"] == json!([]));
    assert_eq!(events(&cluster, &id, "health_check_failed").len(), 2);
    assert_eq!(events(&cluster, &id, "health_check_recovered").len(), 2);
    assert_eq!(events(&cluster, &id, "instance_ready").len(), 1);
}

#[test]
fn readiness_holds_over_restarts_of_the_agent_and_of_the_leader() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let (http, tcp) = (Server::start(0, 200), Server::start(0, 200));
    let id = cluster.apply_one(web(http.port, tcp.port)).unwrap();
    let ready = wait_instance(&cluster, &id, "readiness", |one| one["ready"] == true);
    cluster.agent(0).kill9().unwrap();
    cluster.agent(0).start().unwrap();
    let probed = |count: usize| {
        wait::eventually(IN_TIME, "probes of the new run", || {
            let reply = cluster.get_any(&format!("/deployments/{id}/health-checks"))?;
            Ok((reply.as_array().is_some_and(|all| all.iter().filter(|one| one["status"] == "success").count() >= count))
                .then_some(()))
        })
        .unwrap();
    };
    probed(6);
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    cluster.control(leader).start().unwrap();
    cluster.control(leader).wait_ready().unwrap();
    probed(12);
    let still = wait_instance(&cluster, &id, "the instance", |one| one["id"].is_string());
    assert_eq!((&still["ready"], &still["id"]), (&json!(true), &ready["id"]), "{still}");
    assert_eq!(events(&cluster, &id, "instance_ready").len(), 1, "it was ready all the time");
    // And what changes then is told to the new leader.
    http.answer_with(500);
    wait_instance(&cluster, &id, "readiness that is lost", |one| one["ready"] == false);
    cluster.agent(0).stop().unwrap();
    let named = wait::eventually(IN_TIME, "the node that cannot be asked", || {
        let reply = cluster.get_any(&format!("/deployments/{id}/health-checks"))?;
        Ok((reply[0]["status"] == "unreachable").then(|| reply[0].clone()))
    })
    .unwrap();
    assert_eq!((&named["instance"], &named["node"]), (&ready["id"], &json!("a1")), "{named}");
    let told = cluster.cli().run(["deployment", "health-checks", &id]).unwrap();
    assert!(told.code == Some(0) && told.stderr.contains("a1, which cannot be asked"), "{}", told.stderr);
}
