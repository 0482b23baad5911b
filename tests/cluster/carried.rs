//! Secrets, configs and volumes, as people use them: the client against real control nodes and agents.

use ring_testkit::Cluster;
use ring_testkit::work::{Runtime, job, manifest, worker};
use serde_json::{Value, json};

/// The deployment of that name, as the list shows it.
fn named(cluster: &Cluster, name: &str) -> Value {
    let list = cluster.get_any(&format!("/deployments?name={name}")).unwrap();
    list[0].clone()
}

#[test]
fn secrets_configs_and_volumes_are_made_found_in_every_way_and_deleted() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ring = cluster.cli().clone().in_dir(dir.path());
    std::fs::write(dir.path().join("value"), "from a file\n").unwrap();
    let made = ring.ok(["secret", "create", "by-value", "-n", "test", "-v", "-hush-"]).unwrap();
    assert!(made.starts_with("secret test/by-value created (id "), "{made}");
    assert!(ring.ok(["secret", "create", "by-value", "-n", "test", "-v", "other"]).unwrap().contains("changed"));
    ring.ok(["secret", "create", "by-file", "-n", "test", "--value-file", "value"]).unwrap();
    let mut piped = ring.command(["secret", "create", "by-pipe", "-n", "test"]);
    piped.stdin(std::fs::File::open(dir.path().join("value")).unwrap());
    assert!(piped.output().unwrap().status.success());

    let script = "test \"$A\" = other && test \"$B\" = 'from a file\n' && test \"$C\" = 'from a file'";
    let mut reads = job("reads", Runtime::Process, script);
    reads["environment"] =
        json!({ "A": { "secretRef": "by-value" }, "B": { "secretRef": "by-file" }, "C": { "secretRef": "by-pipe" } });
    cluster.wait_status(&cluster.apply_one(reads).unwrap(), "completed").unwrap();

    let listed = ring.json(["secret", "list", "-n", "test", "-o", "json"]).unwrap();
    assert!(listed.as_array().unwrap().len() == 3 && !listed.to_string().contains("hush"), "{listed}");
    let used = ring.run(["secret", "delete", "test/by-value"]).unwrap();
    assert!(used.code == Some(5) && used.stderr.contains("used by deployment 'reads'"), "{}", used.stderr);
    assert_eq!(ring.ok(["secret", "delete", "-f", "test/by-value"]).unwrap(), "secret test/by-value deleted");
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(listed[0]["name"], "by-file");
    assert_eq!(ring.ok(["secret", "delete", "--force", &id[..8]]).unwrap(), "secret test/by-file deleted");
    assert_eq!(ring.run(["secret", "delete", "test/by-file"]).unwrap().code, Some(4));

    let made = ring.ok(["volume", "create", "data", "-n", "test", "--node", "a1", "-l", "team=a"]).unwrap();
    assert!(made.starts_with("volume test/data created (id "), "{made}");
    let share = ["volume", "create", "films", "-n", "test", "--driver", "nfs", "--source", "files:/films"];
    ring.ok(share).unwrap();
    assert_eq!(ring.run(share).unwrap().code, Some(5));
    let list = ring.ok(["volume", "list"]).unwrap();
    assert!(list.contains("data") && list.contains("a1") && list.contains("files:/films"), "{list}");
    let shown = ring.json(["volume", "inspect", "test/data", "-o", "json"]).unwrap();
    assert_eq!((&shown["node"], &shown["labels"]["team"]), (&json!("a1"), &json!("a")));
    let gone = ring.run(["volume", "delete", &shown["id"].as_str().unwrap()[..8]]).unwrap();
    assert_eq!((gone.stdout.trim(), gone.stderr.trim()), ("volume test/data deleted", "its data stays on a1"));
    let namespace = ring.run(["namespace", "delete", "test"]).unwrap();
    let said = "namespace 'test' still has 1 deployment, 1 secret, 1 volume; delete those first";
    assert!(namespace.code == Some(5) && namespace.stderr.contains(said), "{}", namespace.stderr);
}

#[test]
fn a_manifest_brings_its_configs_and_they_are_changed_with_it() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ring = cluster.cli().clone().in_dir(dir.path()).env("LEVEL", "debug");
    let sub = dir.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    std::fs::write(sub.join("site.conf"), "proxy $host $LEVEL\n").unwrap();
    let text = |more: &str| {
        format!(
            "configs:\n  c:\n    namespace: test\n    name: settings\n    data:\n      app: level=$LEVEL\n    files:\n      \
             site: site.conf\n{more}deployments: {{}}\n"
        )
    };
    let inspect = || ring.json(["config", "inspect", "test/settings", "-o", "json"]).unwrap()["data"].clone();
    std::fs::write(sub.join("m.yaml"), text("")).unwrap();
    ring.ok(["apply", "-f", "sub/m.yaml"]).unwrap();
    assert_eq!(inspect(), json!({ "app": "level=debug", "site": "proxy $host $LEVEL\n" }));
    std::fs::write(sub.join("m.yaml"), text("    interpolate: true\n")).unwrap();
    ring.ok(["apply", "-f", "sub/m.yaml"]).unwrap();
    assert_eq!(inspect(), json!({ "app": "level=debug", "site": "proxy $host debug\n" }));
    std::fs::write(sub.join("m.yaml"), text("    interpolate: false\n")).unwrap();
    ring.ok(["apply", "-f", "sub/m.yaml"]).unwrap();
    assert_eq!(inspect(), json!({ "app": "level=$LEVEL", "site": "proxy $host $LEVEL\n" }));
    assert_eq!(ring.json(["config", "list", "-n", "test", "-o", "json"]).unwrap().as_array().unwrap().len(), 1);
    assert_eq!(ring.ok(["config", "delete", "test/settings"]).unwrap(), "config test/settings deleted");
    assert_eq!(ring.run(["config", "inspect", "test/settings"]).unwrap().code, Some(4));
}

#[test]
fn what_is_missing_is_said_at_once_heals_and_never_blocks_a_delete() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ring = cluster.cli().clone().in_dir(dir.path());
    let mut waits = worker("waits", Runtime::Process, "exec sleep 1000");
    waits["environment"] = json!({ "KEY": { "secretRef": "gone" } });
    let file = dir.path().join("waits.json");
    std::fs::write(&file, manifest([waits]).to_string()).unwrap();
    let applied = ring.run(["apply", "-f", "waits.json"]).unwrap();
    assert_eq!(applied.code, Some(0));
    let said = "secret 'gone' does not exist in namespace 'test'";
    assert!(applied.stderr.contains(said) && applied.stderr.contains("ring secret create gone -n test"), "{}", applied.stderr);
    let id = named(&cluster, "waits")["id"].as_str().unwrap().to_owned();
    assert_eq!(cluster.deployment(&id).unwrap()["status"], "config_error");
    ring.ok(["deployment", "delete", "test/waits"]).unwrap();
    ring_testkit::wait::until(ring_testkit::work::IN_TIME, "the record to go", || named(&cluster, "waits").is_null()).unwrap();

    ring.ok(["apply", "-f", "waits.json"]).unwrap();
    ring.ok(["secret", "create", "gone", "-n", "test", "-v", "x"]).unwrap();
    let id = named(&cluster, "waits")["id"].as_str().unwrap().to_owned();
    cluster.wait_status(&id, "running").unwrap();
    ring.ok(["secret", "delete", "-f", "test/gone"]).unwrap();
    ring.ok(["deployment", "delete", "test/waits"]).unwrap();
    ring_testkit::wait::until(ring_testkit::work::IN_TIME, "the record to go", || named(&cluster, "waits").is_null()).unwrap();
}

#[test]
fn a_volume_is_on_one_node_whoever_leads() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let ring = cluster.cli().clone();
    ring.ok(["volume", "create", "left", "-n", "test", "--node", "a1"]).unwrap();
    ring.ok(["volume", "create", "right", "-n", "test", "--node", "a2"]).unwrap();
    let mount = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({ "type": "volume", "source": name, "destination": format!("/tmp/{name}") })).collect()
    };
    let mut both = job("both", Runtime::Process, "exit 0");
    both["volumes"] = mount(&["left", "right"]);
    let id = cluster.apply_one(both).unwrap();
    let waiting = cluster.wait_deployment(&id, "a reason", |d| d["message"].is_string()).unwrap();
    let message = waiting["message"].as_str().unwrap();
    for said in ["volume left is on a1, which rules out 1 node", "volume right is on a2, which rules out 1 node"] {
        assert!(message.contains(said), "{message}");
    }
    let leader = cluster.leader().unwrap();
    cluster.control(leader).kill9().unwrap();
    ring_testkit::wait::until(ring_testkit::work::IN_TIME, "another leader", || {
        cluster.leader().is_ok_and(|next| next != leader)
    })
    .unwrap();
    let shown = cluster.get_any("/volumes").unwrap();
    let places: Vec<_> = shown.as_array().unwrap().iter().map(|v| (v["name"].clone(), v["node"].clone())).collect();
    assert_eq!(places, [(json!("left"), json!("a1")), (json!("right"), json!("a2"))]);
    assert_eq!(cluster.deployment(&id).unwrap()["status"], "pending");
}
