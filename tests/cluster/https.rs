//! A cluster of processes whose API speaks TLS, and the commands a person types for it.

use std::path::Path;

use ring_testkit::cluster::{Options, PASSWORD};
use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, RingCli, wait};

fn cluster() -> Cluster {
    Cluster::loopback_with(3, 1, &Options::default().tls(true)).unwrap()
}

/// A person's own `ring`, who knows nothing yet.
fn person(home: &Path) -> RingCli {
    RingCli::new().unwrap().env("RING_CONFIG_DIR", home.display().to_string())
}

fn hosts(cluster: &Cluster) -> String {
    cluster.controls().iter().map(ring_testkit::RingNode::url).collect::<Vec<_>>().join(",")
}

#[test]
fn a_login_pins_the_authority_and_every_later_command_trusts_it() {
    let cluster = cluster();
    let dir = tempfile::tempdir().unwrap();
    let (ring, pin) = (person(dir.path()), cluster.control(0).pin().unwrap().unwrap());
    let login = |more: &[&str]| ring.run(["login", "-u", "admin", "-p", PASSWORD, "--host"].iter().chain(more)).unwrap();
    let hosts = hosts(&cluster);

    let unknown = login(&[&hosts]);
    assert_eq!(unknown.code, Some(3), "{}", unknown.stderr);
    let next = format!("--ca-fingerprint {pin}");
    assert!(unknown.stderr.contains("error: no trusted connection") && unknown.stderr.contains(&next), "{}", unknown.stderr);
    let wrong = login(&[&hosts, "--ca-fingerprint", &"0".repeat(64)]);
    assert!(wrong.code == Some(3) && wrong.stderr.contains("not the one that is pinned"), "{}", wrong.stderr);
    let none = login(&[&hosts, "--ca-fingerprint", "nonsense"]);
    assert!(none.code == Some(1) && none.stderr.contains("64 hexadecimal digits"), "{}", none.stderr);
    assert!(!dir.path().join("config.toml").exists(), "a login that failed leaves nothing");

    let done = login(&[&hosts, "--ca-fingerprint", &pin]);
    assert!(done.success(), "{}", done.stderr);
    let members = ring.ok(["cluster", "members"]).unwrap();
    assert!(members.contains("c1") && members.contains("c3"), "{members}");
    let kept = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    assert!(kept.contains(&pin) && kept.contains("https"), "{kept}");

    // The next control node is asked when one is down.
    cluster.control(0).kill9().unwrap();
    ring.ok(["node", "list"]).unwrap();
    cluster.control(0).start().unwrap();
    cluster.control(0).wait_ready().unwrap();

    let file = cluster.control(1).data_dir().join("identity/ca.crt").display().to_string();
    let by_file = login(&[&cluster.control(1).url(), "--ca-file", &file]);
    assert!(by_file.success(), "{}", by_file.stderr);
    ring.ok(["cluster", "status"]).unwrap();
    let twice = login(&[&cluster.control(1).url(), "--ca-file", &file, "--ca-fingerprint", &pin]);
    assert_eq!(twice.code, Some(1), "{}", twice.stderr);
}

#[test]
fn a_pipeline_trusts_what_its_environment_names() {
    let cluster = cluster();
    let dir = tempfile::tempdir().unwrap();
    let ring = person(dir.path()).env("RING_TOKEN", cluster.token());
    let bare: Vec<String> = cluster.controls().iter().map(|node| node.api().to_string()).collect();
    let pin = cluster.control(0).pin().unwrap().unwrap();
    // With a pin, an address without a scheme is spoken to over TLS.
    let pinned = ring.clone().env("RING_HOST", bare.join(",")).env("RING_CA_FINGERPRINT", &pin);
    pinned.ok(["node", "list"]).unwrap();
    let file = cluster.control(2).data_dir().join("identity/ca.crt").display().to_string();
    ring.clone().env("RING_HOST", hosts(&cluster)).env("RING_CA_FILE", file).ok(["node", "list"]).unwrap();

    let clear = format!("http://{}", cluster.control(0).api());
    let refused = pinned.clone().env("RING_HOST", &clear).run(["node", "list"]).unwrap();
    assert!(refused.code == Some(1) && refused.stderr.contains("is plain HTTP"), "{}", refused.stderr);
    let told = ring.env("RING_HOST", &clear).run(["node", "list"]).unwrap();
    assert!(told.code == Some(1) && told.stderr.contains("this port speaks HTTPS"), "{}", told.stderr);
    let plain = Cluster::loopback(1, 0).unwrap();
    let wrong = pinned.env("RING_HOST", format!("https://{}", plain.control(0).api())).run(["node", "list"]).unwrap();
    assert!(wrong.code == Some(3) && wrong.stderr.contains("it does not speak TLS"), "{}", wrong.stderr);
}

#[test]
fn output_and_commands_pass_through_tls() {
    let cluster = cluster();
    let dir = tempfile::tempdir().unwrap();
    let counts = "i=0; while :; do i=$((i+1)); echo count-$i; sleep 0.05; done";
    let id = cluster.apply_one(worker("w", Runtime::Process, counts)).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    let follower = cluster.cli().spawn("follower", &dir.path().join("log"), ["deployment", "logs", "w", "-f"]).unwrap();
    follower.wait_log("count-20", IN_TIME).unwrap();
    for control in 0..3 {
        let script = ["deployment", "exec", "test/w", "--", "sh", "-c", "seq 1 50000; exit 3"];
        let ran = cluster.cli_to(control).run(script).unwrap();
        assert!(ran.code == Some(3) && ran.stdout.lines().count() == 50_000, "{:?} {}", ran.code, ran.stderr);
    }
    // The stream goes on at another control node.
    cluster.control(0).kill9().unwrap();
    let count = |log: &str| log.lines().filter(|line| line.contains("count-")).count();
    let before = count(&follower.log().unwrap());
    wait::until(IN_TIME, "more lines", || count(&follower.log().unwrap()) > before + 20).unwrap();
}
