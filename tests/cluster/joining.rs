//! Who is not let in, and what they are told.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ring_testkit::command::{Outcome, command, run, run_within};
use ring_testkit::work::{IN_TIME, new_key};
use ring_testkit::{Cluster, RingCli, wait};
use serde_json::{Value, json};

/// A token as the API makes it.
fn token(cluster: &Cluster, wanted: &Value) -> Value {
    let answer = cluster.post(0, "/cluster/tokens", wanted, &new_key()).unwrap();
    assert!(answer.status < 300, "{}", answer.body);
    answer.json().unwrap()
}

fn text(token: &Value) -> &str {
    token["token"].as_str().unwrap()
}

/// `ring cluster join` as `role` with a fresh data directory: it must fail; what it said.
fn refused(cluster: &Cluster, token: &str, role: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ring = RingCli::new().unwrap().env("RING_CONFIG_DIR", path("config")).env("RING_DATA_DIR", path("data"));
    let address = cluster.control(0).cluster_address().to_string();
    let mut line = vec!["cluster", "join", &address, "--token", token, "--role", role, "--name", "stranger"];
    if role == "control" {
        line.extend(["--advertise", "127.0.0.1:1", "--api-listen", "127.0.0.1:0", "--no-agent"]);
    }
    let Outcome { code, stderr, .. } = ring.run(line).unwrap();
    assert_eq!(code, Some(1), "{stderr}");
    stderr
}

#[test]
fn a_token_that_does_not_hold_is_refused_with_the_reason() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let other = Cluster::loopback(1, 0).unwrap();
    let agent = json!({ "role": "agent" });
    let good = token(&cluster, &agent);
    let good = text(&good);

    let says = |token: &str, role: &str, words: &str| {
        let said = refused(&cluster, token, role);
        assert!(said.contains(words), "'{words}' is not said: {said}");
    };
    says("ring_pat_abc", "agent", "not a join token");
    says(&good[..good.len() - 4], "agent", "damaged or cut off");
    // Another secret under the same id; and an id nobody made.
    let parts: Vec<&str> = good.split('_').collect();
    let with = |index: usize, part: &str| {
        let mut changed = parts.clone();
        changed[index] = part;
        changed.join("_")
    };
    says(&with(4, &"ab".repeat(24)), "agent", "secret of the join token is wrong");
    says(&with(3, &"1".repeat(32)), "agent", "not known to this cluster");
    says(good, "control", "admits an agent and cannot be used to join as a control node");
    says(&with(2, "control"), "control", "control node");
    says(text(&token(&other, &agent)), "agent", "this is another cluster");

    let revoked = token(&cluster, &agent);
    cluster.cli().ok(["cluster", "token", "revoke", revoked["id"].as_str().unwrap()]).unwrap();
    says(text(&revoked), "agent", "revoked");
    let brief = token(&cluster, &json!({ "role": "agent", "expires_in": "1s" }));
    let begin = SystemTime::now();
    wait::until(IN_TIME, "the token to expire", || begin.elapsed().unwrap() > Duration::from_millis(1200)).unwrap();
    says(text(&brief), "agent", "expired");

    let nodes = cluster.get_any("/nodes").unwrap();
    assert_eq!(nodes, json!([]), "nobody was let in");
    assert_eq!(cluster.get_any("/cluster/members").unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_token_admits_as_many_hosts_as_it_says() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let once = token(&cluster, &json!({ "role": "agent", "uses": 1 }));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ring = RingCli::new().unwrap().env("RING_CONFIG_DIR", path("config")).env("RING_DATA_DIR", path("data"));
    let address = cluster.control(0).cluster_address().to_string();
    let line = ["cluster", "join", &address, "--token", text(&once), "--role", "agent", "--name", "first"];
    let first = ring.spawn("first", &dir.path().join("log"), line).unwrap();
    wait::until(IN_TIME, "the first to be ready", || {
        cluster.get_any("/nodes").is_ok_and(|nodes| nodes[0]["status"] == "ready") || first.exited().unwrap().is_some()
    })
    .unwrap();
    assert!(first.exited().unwrap().is_none(), "{}", first.tail());
    let said = refused(&cluster, text(&once), "agent");
    assert!(said.contains("used up"), "{said}");
    assert_eq!(cluster.get_any("/nodes").unwrap().as_array().unwrap().len(), 1);
}

/// `curl` to the cluster port, as a gRPC client that accepts any certificate.
fn call(cluster: &Cluster, method: &str, more: &[&str]) -> Outcome {
    let url = format!("https://{}{method}", cluster.control(0).cluster_address());
    let grpc = ["--header", "content-type: application/grpc", "--header", "te: trailers", "--data-binary", ""];
    let base = ["--silent", "--show-error", "--insecure", "--http2", "--include", "--max-time", "10", "--noproxy", "*"];
    run(command("curl", base.iter().chain(&grpc).chain(more).chain(&[url.as_str()]))).unwrap()
}

#[test]
fn the_cluster_port_tells_plaintext_and_strangers_why_they_are_refused() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let plain =
        run(command("curl", ["--silent", "--noproxy", "*", &format!("http://{}/", cluster.control(0).cluster_address())]));
    let plain = plain.unwrap().stdout;
    assert!(plain.contains("speaks TLS"), "{plain}");
    cluster.control(0).wait_log("refused a plaintext connection", IN_TIME).unwrap();

    // No certificate: that is how one joins, and nothing else.
    let none = call(&cluster, "/ring.agent.v1.AgentService/Session", &[]);
    let said = percent_decoded(&none.stdout);
    assert!(said.contains("a certificate of this cluster is needed"), "{said}{}", none.stderr);
    let none = call(&cluster, "/ring.raft.v1.RaftService/Vote", &[]);
    let said = percent_decoded(&none.stdout);
    assert!(said.contains("a certificate of this cluster is needed"), "{said}{}", none.stderr);
}

/// gRPC messages in headers are percent-encoded.
fn percent_decoded(text: &str) -> String {
    text.replace("%20", " ")
}

/// The certificate and key files of a control node.
fn credentials(data_dir: &Path) -> [String; 2] {
    ["host.crt", "host.key"].map(|name| data_dir.join("identity").join(name).display().to_string())
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (cluster, other) = (Cluster::loopback(1, 0).unwrap(), Cluster::loopback(1, 0).unwrap());
    let [certificate, key] = credentials(other.control(0).data_dir());
    let address = cluster.control(0).cluster_address().to_string();
    let mut client = command("openssl", ["s_client", "-connect", &address, "-cert", &certificate, "-key", &key]);
    client.args(["-tls1_3", "-quiet"]);
    let seen = run_within(client, Duration::from_secs(20)).unwrap();
    assert!(seen.stderr.contains("unknown ca"), "the alert: {}{}", seen.stdout, seen.stderr);
    cluster.control(0).wait_log("signed by another authority than this cluster's", IN_TIME).unwrap();
}

#[test]
fn a_host_that_reaches_another_cluster_trusts_it_not() {
    let (cluster, other) = (Cluster::loopback(1, 0).unwrap(), Cluster::loopback(1, 1).unwrap());
    other.control(0).kill9().unwrap();
    other.agent(0).kill9().unwrap();
    let record = other.agent(0).data_dir().join("identity/host.json");
    let (own, strange) = (other.control(0).cluster_address().to_string(), cluster.control(0).cluster_address().to_string());
    let text = std::fs::read_to_string(&record).unwrap();
    assert!(text.contains(&own), "{text}");
    std::fs::write(&record, text.replace(&own, &strange)).unwrap();
    other.agent(0).start().unwrap();
    other.agent(0).wait_log("signed by another authority than this cluster's", IN_TIME).unwrap();
    assert_eq!(cluster.get_any("/nodes").unwrap(), json!([]));
}

#[test]
fn a_refused_host_can_join_with_a_good_token() {
    let cluster = Cluster::loopback(1, 0).unwrap();
    let good = token(&cluster, &json!({ "role": "agent" }));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ring = RingCli::new().unwrap().env("RING_CONFIG_DIR", path("config")).env("RING_DATA_DIR", path("data"));
    let address = cluster.control(0).cluster_address().to_string();
    let line = |token: &str| ["cluster", "join", &address, "--token", token, "--name", "late"].map(str::to_owned);
    let damaged = text(&good).replace("_agent_", "_agent_0");
    assert_eq!(ring.run(line(&damaged)).unwrap().code, Some(1));
    let node = ring.spawn("late", &dir.path().join("log"), line(text(&good))).unwrap();
    wait::until(IN_TIME, "it to be ready", || {
        cluster.get_any("/nodes").is_ok_and(|nodes| nodes[0]["status"] == "ready") || node.exited().unwrap().is_some()
    })
    .unwrap();
    assert!(node.exited().unwrap().is_none(), "{}", node.tail());
}
