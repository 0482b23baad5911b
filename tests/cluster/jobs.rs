//! Jobs beyond the seed: a time limit, attempts, and what waits for what.

use std::path::{Path, PathBuf};

use ring_testkit::Cluster;
use ring_testkit::work::{IN_TIME, Runtime, job, manifest, worker};
use serde_json::{Value, json};

/// Executions of an agent's process runtime, by its own records: one exclusive file each.
fn executions(cluster: &Cluster, agent: usize) -> usize {
    let root = cluster.agent(agent).data_dir().join("agent/process");
    let all = std::fs::read_dir(root).unwrap();
    all.filter(|entry| entry.as_ref().unwrap().path().join("starting").exists()).count()
}

/// A job that fails until it has been started `good` times; each start is a line of `runs`.
fn flaky(dir: &Path, good: usize, retries: u32) -> Value {
    let runs = dir.join("runs").display().to_string();
    let script = format!("echo x >> {runs}; n=$(wc -l < {runs}); echo try $n; test $n -ge {good} || exit $((n + 10))");
    let mut job = job("flaky", Runtime::Process, &script);
    job["retries"] = retries.into();
    job["restart"] = json!({ "backoff": "100ms", "max_backoff": "1s" });
    job
}

/// Attempt and exit code of each instance, first attempt first.
fn attempts(deployment: &Value) -> Vec<(u64, Option<i64>)> {
    let all = deployment["instances"].as_array().unwrap();
    let mut found: Vec<_> = all.iter().map(|i| (i["attempt"].as_u64().unwrap(), i["exit_status"]["code"].as_i64())).collect();
    found.sort_unstable();
    found
}

fn file(dir: &Path, manifest: &Value) -> PathBuf {
    let file = dir.join("manifest.yaml");
    std::fs::write(&file, manifest.to_string().replace('$', "$$")).unwrap();
    file
}

fn find(cluster: &Cluster, name: &str) -> Option<Value> {
    let list = cluster.get_any("/deployments").unwrap();
    list.as_array().unwrap().iter().find(|one| one["name"] == name).cloned()
}

#[test]
fn a_job_that_hangs_is_ended_when_its_time_is_over() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut hangs =
        job("hangs", Runtime::Process, "trap 'echo told to end; exit 9' TERM; echo hangs; while :; do sleep 0.1; done");
    hangs["timeout"] = "2s".into();
    let mut deaf = job("deaf", Runtime::Process, "trap '' TERM; while :; do sleep 0.1; done");
    deaf["timeout"] = "1s".into();
    deaf["stop_grace"] = "1s".into();
    let file = file(dir.path(), &manifest([hangs, deaf]));
    let begun = std::time::Instant::now();
    let out = cluster.cli().run(["apply", "-f", file.to_str().unwrap(), "--wait"]).unwrap();
    assert_eq!(out.code, Some(1), "{}{}", out.stdout, out.stderr);
    let id = |name: &str| find(&cluster, name).unwrap()["id"].as_str().unwrap().to_owned();
    let hangs = cluster.wait_final(&id("hangs")).unwrap();
    assert!(begun.elapsed().as_secs() >= 2);
    assert_eq!((&hangs["status"], &hangs["reason"]), (&json!("failed"), &json!("timeout")));
    assert_eq!(hangs["exit_status"]["code"], 9, "what really happened: {hangs}");
    assert_eq!(hangs["instances"][0]["stop_cause"], "timed_out");
    assert!(hangs["message"].as_str().unwrap().contains("longer than its timeout of 2s"), "{hangs}");
    let logs = cluster.cli().ok(["deployment", "logs", "test/hangs"]).unwrap();
    assert!(logs.contains("told to end"), "{logs}");
    let deaf = cluster.wait_final(&id("deaf")).unwrap();
    assert_eq!((&deaf["reason"], &deaf["exit_status"]["signal"]), (&json!("timeout"), &json!(9)), "{deaf}");
    assert_eq!(executions(&cluster, 0), 2);
}

#[test]
fn a_flaky_job_succeeds_on_its_third_attempt() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path(), &manifest([flaky(dir.path(), 3, 4)]));
    let told = cluster.cli().run(["apply", "-f", file.to_str().unwrap(), "--wait"]).unwrap();
    assert!(told.success(), "{}{}", told.stdout, told.stderr);
    let id = find(&cluster, "flaky").unwrap()["id"].as_str().unwrap().to_owned();
    let done = cluster.deployment(&id).unwrap();
    assert_eq!(attempts(&done), [(1, Some(11)), (2, Some(12)), (3, Some(0))]);
    assert_eq!((&done["status"], &done["exit_status"]["code"]), (&json!("completed"), &json!(0)));
    assert_eq!(executions(&cluster, 0), 3, "by the records of the runtime");
    let logs = cluster.cli().ok(["deployment", "logs", &id]).unwrap();
    assert_eq!(logs.lines().map(|line| line.rsplit("try ").next().unwrap()).collect::<Vec<_>>(), ["1", "2", "3"], "{logs}");
    let shown = cluster.cli().ok(["deployment", "inspect", &id]).unwrap();
    assert!(["attempt            1", "attempt            2", "attempt            3"].iter().all(|a| has(&shown, a)), "{shown}");
    let events = cluster.cli().ok(["deployment", "events", &id]).unwrap();
    assert!(events.contains("retried") && events.contains("attempt 3 of 5"), "{events}");
    cluster.cli().ok(["deployment", "delete", &id]).unwrap();
    ring_testkit::wait::until(IN_TIME, "every attempt to go", || executions(&cluster, 0) == 0).unwrap();
}

/// Is it there, whatever the white space?
fn has(text: &str, wanted: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    words(text).contains(&words(wanted))
}

#[test]
fn a_job_fails_only_after_its_last_attempt() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let id = cluster.apply_one(flaky(dir.path(), 100, 2)).unwrap();
    let done = cluster.wait_final(&id).unwrap();
    assert_eq!(attempts(&done), [(1, Some(11)), (2, Some(12)), (3, Some(13))]);
    assert_eq!((&done["status"], &done["reason"]), (&json!("failed"), &json!("exit_code")));
    assert_eq!(done["message"], "attempt 3 of 3: exited with code 13");
    cluster.cli().ok(["namespace", "prune", "test"]).unwrap();
    ring_testkit::wait::until(IN_TIME, "the job to go", || find(&cluster, "flaky").is_none()).unwrap();
    // The record goes when every end is told; the host clears away after that.
    ring_testkit::wait::until(IN_TIME, "every attempt to go", || executions(&cluster, 0) == 0).unwrap();
}

#[test]
fn attempts_go_on_while_leaders_and_agents_die() {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut job = flaky(dir.path(), 5, 5);
    job["restart"] = json!({ "backoff": "1s", "max_backoff": "1s" });
    let id = cluster.apply_one(job).unwrap();
    let ended = |count: usize| {
        let what = format!("the end of attempt {count}");
        cluster.wait_deployment(&id, &what, |d| attempts(d).iter().filter(|(_, code)| code.is_some()).count() >= count).unwrap();
    };
    ended(1);
    let first = cluster.leader().unwrap();
    cluster.control(first).kill9().unwrap();
    cluster.agent(0).kill9().unwrap();
    cluster.agent(0).start().unwrap();
    cluster.leader_after(first).unwrap();
    ended(2);
    cluster.agent(0).kill9().unwrap();
    cluster.control(first).start().unwrap();
    cluster.control(first).wait_ready().unwrap();
    cluster.agent(0).start().unwrap();
    ended(3);
    let second = cluster.leader().unwrap();
    cluster.control(second).kill9().unwrap();
    let done = cluster.wait_final(&id).unwrap();
    assert_eq!(attempts(&done), [(1, Some(11)), (2, Some(12)), (3, Some(13)), (4, Some(14)), (5, Some(0))]);
    assert_eq!(std::fs::read_to_string(dir.path().join("runs")).unwrap().lines().count(), 5);
    assert_eq!(executions(&cluster, 0), 5);
}

#[test]
fn a_migration_is_the_barrier_before_the_worker() {
    let cluster = Cluster::loopback(3, 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (migrated, seen) = (dir.path().join("migrated"), dir.path().join("seen"));
    let migrate = job("migrate", Runtime::Process, &format!("sleep 2; touch {}", migrated.display()));
    let check =
        format!("test -e {} && echo yes >> {s} || echo no >> {s}; exec sleep 1000", migrated.display(), s = seen.display());
    let mut api = worker("api", Runtime::Process, &check);
    api["replicas"] = 2.into();
    api["depends_on"] = json!([{ "deployment": "migrate" }]);
    let mut front = worker("front", Runtime::Process, "exec sleep 1000");
    front["depends_on"] = json!([{ "deployment": "api", "condition": "running" }]);
    let file = file(dir.path(), &manifest([api, front, migrate]));
    let told = cluster.cli().run(["apply", "-f", file.to_str().unwrap()]).unwrap();
    assert!(told.success(), "{}{}", told.stdout, told.stderr);
    assert!(told.stderr.contains("test/api waits: waits until 'migrate' has completed"), "{}", told.stderr);
    // What a script does next: everything of the manifest has started.
    for (name, status) in [("migrate", "completed"), ("api", "running"), ("front", "running")] {
        assert_eq!(find(&cluster, name).unwrap()["status"], status, "{name}");
    }
    ring_testkit::wait::until(IN_TIME, "both replicas to look", || {
        std::fs::read_to_string(&seen).is_ok_and(|text| text.lines().count() == 2)
    })
    .unwrap();
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "yes\nyes\n");
}

#[test]
fn a_migration_that_fails_keeps_the_worker_waiting_and_says_what_to_do() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let migrate = |code: u8| job("migrate", Runtime::Process, &format!("exit {code}"));
    let mut api = worker("api", Runtime::Process, "exec sleep 1000");
    api["depends_on"] = json!([{ "deployment": "migrate", "condition": "completed" }]);
    let path = file(dir.path(), &manifest([api.clone(), migrate(3)]));
    let begun = std::time::Instant::now();
    let told = cluster.cli().run(["apply", "-f", path.to_str().unwrap()]).unwrap();
    assert!(told.success() && begun.elapsed() < IN_TIME, "it does not sit out its five minutes: {}", told.stderr);
    assert!(told.stderr.contains("put it right and apply it again"), "{}", told.stderr);
    let api_id = find(&cluster, "api").unwrap()["id"].as_str().unwrap().to_owned();
    let waits = cluster.deployment(&api_id).unwrap();
    assert_eq!((&waits["status"], &waits["reason"]), (&json!("pending"), &json!("dependency_failed")));
    assert_eq!(waits["conditions"], json!(["waiting"]));
    let waited = cluster.cli().run(["apply", "-f", path.to_str().unwrap(), "--wait"]).unwrap();
    assert_eq!(waited.code, Some(1), "{}", waited.stderr);
    // The same manifest with a migration that works heals it.
    let path = file(dir.path(), &manifest([api, migrate(0)]));
    let healed = cluster.cli().run(["apply", "-f", path.to_str().unwrap(), "--wait"]).unwrap();
    assert!(healed.success(), "{}{}", healed.stdout, healed.stderr);
    assert_eq!(cluster.deployment(&api_id).unwrap()["status"], "running", "the same record goes on");
}

#[test]
fn what_would_wait_for_itself_is_refused_also_through_what_is_there() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let on = |name: &str, other: &str| {
        let mut job = job(name, Runtime::Process, "exit 0");
        job["depends_on"] = json!([{ "deployment": other }]);
        job
    };
    let code = |body: Value| {
        let answer = cluster.post(0, "/deployments", &manifest([body]), &ring_testkit::work::new_key()).unwrap();
        let problem = answer.json().unwrap();
        (answer.status, problem["violations"][0]["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code(on("a", "a")), (422, "deployment.depends_on.cycle".to_owned()));
    assert_eq!(code(on("a", "b")).0, 200);
    assert_eq!(code(on("b", "c")).0, 200);
    assert_eq!(code(on("c", "a")), (422, "deployment.depends_on.cycle".to_owned()));
    cluster.apply_one(worker("w", Runtime::Process, "exec sleep 1000")).unwrap();
    assert_eq!(code(on("c", "w")), (422, "deployment.depends_on.condition.worker".to_owned()));
    assert_eq!(code(job("c", Runtime::Process, "exit 0")).0, 200);
    for name in ["a", "b", "c"] {
        let id = find(&cluster, name).unwrap()["id"].as_str().unwrap().to_owned();
        cluster.wait_status(&id, "completed").unwrap();
    }
}

#[test]
fn the_manifests_of_the_pages_apply() {
    let cluster = Cluster::loopback(1, 1).unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/manifests");
    for file in ["release-ordered.yaml", "autoscale.yaml"] {
        let told = cluster.cli().run(["apply", "-f", manifests.join(file).to_str().unwrap(), "--wait"]).unwrap();
        assert!(told.success(), "{file}: {}{}", told.stdout, told.stderr);
    }
    assert_eq!(find(&cluster, "migrate-v1-2-3").unwrap()["status"], "completed");
    assert_eq!(find(&cluster, "api-scaled").unwrap()["desired_replicas"], 2);
}
