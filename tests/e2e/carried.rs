//! What deployments carry, on hosts with Docker: configs and secrets as files, secrets as variables, volumes with their data.

use ring_testkit::cluster::Options;
use ring_testkit::lab::Lab;
use ring_testkit::work::{IN_TIME, Runtime, job, manifest, on, worker};
use ring_testkit::{Cluster, wait};
use serde_json::{Value, json};

use crate::three::{self, container};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cluster/manifests/carries.yaml");

/// Runs a script in the container of a deployment.
fn inside(lab: &Lab, host: &str, deployment: &str, script: &str) -> String {
    lab.docker(host).ok(["exec", &container(lab, host, deployment), "sh", "-c", script]).unwrap()
}

fn named(cluster: &Cluster, name: &str) -> Value {
    cluster.get_any(&format!("/deployments?name={name}")).unwrap()[0].clone()
}

fn running(cluster: &Cluster, name: &str) -> (String, String) {
    let id = named(cluster, name)["id"].as_str().unwrap().to_owned();
    let shown = cluster.wait_status(&id, "running").unwrap();
    let node = shown["instances"][0]["node"].as_str().unwrap().to_owned();
    (id, node)
}

/// Waits until the record of a deployment is gone, and with it everything of it on its host.
fn gone(cluster: &Cluster, id: &str) {
    let path = format!("/deployments/{id}");
    let no_record = || cluster.get_from(0, &path).is_ok_and(|answer| answer.status == 404);
    wait::until(IN_TIME, "the record to go", no_record).unwrap();
}

#[test]
fn a_database_has_its_settings_its_secrets_and_its_data_wherever_it_is_replaced() {
    let Some((lab, cluster)) = three::with_docker("carries") else { return };
    let ring = cluster.cli().clone();
    let applied = ring.run(["apply", "-f", MANIFEST]).unwrap();
    assert_eq!(applied.code, Some(0));
    assert!(applied.stderr.contains("secret 'db-password' does not exist"), "{}", applied.stderr);
    assert_eq!(named(&cluster, "db")["status"], "config_error");
    ring.ok(["secret", "create", "db-password", "-n", "production", "-v", "hush-hush"]).unwrap();
    ring.ok(["secret", "create", "db-tls-key", "-n", "production", "-v", "-----KEY-----"]).unwrap();

    let (id, node) = running(&cluster, "db");
    let settings = "max_connections = 50\nlog_level = info\nPrices are shown as $amount, whatever $amount is here.";
    assert_eq!(inside(&lab, &node, &id, "cat /etc/db/db.conf /etc/db/motd"), settings);
    assert_eq!(inside(&lab, &node, &id, "cat /run/db/tls.key; echo \" $DB_PASSWORD\""), "-----KEY----- hush-hush");
    assert_eq!(inside(&lab, &node, &id, "echo x > /run/db/tls.key || echo refused").lines().last(), Some("refused"));
    let mounted = inside(&lab, &node, &id, "grep ' /run/db/tls.key ' /proc/mounts");
    assert!(mounted.contains(" tmpfs "), "a secret is on no disk: {mounted}");

    // Replaced twice, and it stays with its data.
    inside(&lab, &node, &id, "echo precious > /data/kept");
    let mut newest = id;
    for _ in 0..2 {
        ring.ok(["apply", "-f", MANIFEST, "--force"]).unwrap();
        let (next, place) = running(&cluster, "db");
        assert_eq!(place, node, "its data is there");
        assert_eq!(inside(&lab, &place, &next, "cat /data/kept"), "precious");
        newest = next;
    }
    let volume = ring.json(["volume", "inspect", "production/db-data", "-o", "json"]).unwrap();
    assert_eq!((&volume["node"], &volume["used_by"]), (&json!(node), &json!(["db"])));

    // What it names goes; it can still be deleted, and its data stays.
    ring.ok(["secret", "delete", "-f", "production/db-password"]).unwrap();
    ring.ok(["config", "delete", "-f", "production/db-settings"]).unwrap();
    ring.ok(["deployment", "delete", "production/db"]).unwrap();
    gone(&cluster, &newest);
    let kept = ["run", "--rm", "--volume", "ring_production_db-data:/data", ring_testkit::lab::IMAGE, "cat", "/data/kept"];
    assert_eq!(lab.docker(&node).ok(kept).unwrap(), "precious");
    ring.ok(["volume", "delete", "production/db-data"]).unwrap();
    assert_eq!(lab.docker(&node).ok(kept).unwrap(), "precious", "the record goes, the data does not");
}

#[test]
fn an_anonymous_volume_goes_with_its_instance() {
    let Some((lab, cluster)) = three::with_docker("anonymous") else { return };
    let mut scratch = worker("scratch", Runtime::Docker, "echo x > /scratch/x; exec sleep 1000");
    scratch["volumes"] = json!([{ "type": "volume", "destination": "/scratch" }]);
    scratch["stop_grace"] = "1s".into();
    cluster.apply(&manifest([scratch])).unwrap();
    let (_, node) = running(&cluster, "scratch");
    let volumes = || lab.docker(&node).ok(["volume", "ls", "--quiet"]);
    assert_eq!(volumes().unwrap().lines().count(), 1);
    cluster.cli().ok(["deployment", "delete", "test/scratch"]).unwrap();
    wait::eventually(IN_TIME, "the volume to go", || Ok(volumes()?.is_empty().then_some(()))).unwrap();
    assert_eq!(cluster.get_any("/volumes").unwrap(), json!([]));
}

#[test]
fn a_process_has_its_files_and_its_data_on_the_host_that_holds_it() {
    let builder = Lab::builder("carries-process").hosts(["a1", "a2"]);
    let Some((lab, cluster)) = three::start(builder, &["a1", "a2"], &Options::default()) else { return };
    let dir = lab.dir().join("seen");
    std::fs::create_dir(&dir).unwrap();
    let at = |name: &str| dir.join(name).display().to_string();
    std::fs::create_dir(dir.join("data")).unwrap();
    for name in ["conf", "key"] {
        std::fs::write(dir.join(name), "of the host").unwrap();
    }
    cluster.cli().ok(["secret", "create", "key", "-n", "test", "-v", "hush-hush"]).unwrap();
    let carrying = |name: &str, script: &str| {
        let mut one = job(name, Runtime::Process, script);
        one["volumes"] = json!([
            { "type": "volume", "source": "data", "destination": at("data") },
            { "type": "config", "source": "settings", "key": "conf", "destination": at("conf") },
            { "type": "secret", "source": "key", "destination": at("key") },
        ]);
        one
    };
    let write = format!("cat {conf} {key}; echo precious > {data}/kept", conf = at("conf"), key = at("key"), data = at("data"));
    let mut first = manifest([on(carrying("write", &write), "a2")]);
    let settings = json!({ "namespace": "test", "name": "settings", "data": { "conf": "a = 1\n" } });
    first["configs"] = json!({ "settings": settings });
    let id = cluster.apply(&first).unwrap().remove(0);
    cluster.wait_status(&id, "completed").unwrap();
    assert_eq!(cluster.cli().ok(["deployment", "logs", &id]).unwrap(), "a = 1\nhush-hush");
    for n in 0..3 {
        let read = carrying(&format!("read{n}"), &format!("cat {}/kept", at("data")));
        let done = cluster.wait_final(&cluster.apply_one(read).unwrap()).unwrap();
        assert_eq!((&done["status"], &done["exit_status"]["node"]), (&json!("completed"), &json!("a2")), "{done}");
        assert_eq!(cluster.cli().ok(["deployment", "logs", done["id"].as_str().unwrap()]).unwrap(), "precious");
    }
    assert_eq!(std::fs::read_to_string(dir.join("key")).unwrap(), "of the host", "only the instance sees it");
    assert!(!dir.join("data/kept").exists());
}
