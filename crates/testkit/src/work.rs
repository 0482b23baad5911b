//! Work on a cluster under test: manifests whose jobs the test steers, applying them, and waiting for what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::Response;
use crate::lab::IMAGE;
use crate::wait;

/// How long a deployment may take to get somewhere nothing keeps it from: generous, for a machine that is busy.
pub const IN_TIME: Duration = Duration::from_mins(1);

/// The namespace of all work made here.
pub const NAMESPACE: &str = "test";

/// What runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// A container of the test image.
    Docker,
    /// A process of the host.
    Process,
}

/// A directory through which a test and its jobs talk: a job notes that it was started, runs until the gate is opened, and
/// notes that it ended. Containers have it at the same path.
#[derive(Debug, Clone)]
pub struct Gate {
    dir: PathBuf,
}

impl Gate {
    /// A closed gate in a new directory.
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the gate {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// A job of the manifest that waits at the gate and then exits with `code`.
    pub fn job(&self, name: &str, runtime: Runtime, code: u8) -> Value {
        let dir = self.dir.display();
        let script = format!(
            "echo started; echo x >> {dir}/{name}.starts; \
             until test -e {dir}/open; do sleep 0.1; done; echo ended; touch {dir}/{name}.ended; exit {code}"
        );
        let mut job = job(name, runtime, &script);
        if runtime == Runtime::Docker {
            job["volumes"] = json!([{ "type": "bind", "source": self.dir, "destination": self.dir }]);
        }
        job
    }

    /// Lets every job go on to its end.
    pub fn open(&self) -> Result<()> {
        Ok(fs::write(self.dir.join("open"), "")?)
    }

    /// How often a job was started, as it noted itself.
    pub fn starts(&self, name: &str) -> usize {
        fs::read_to_string(self.dir.join(format!("{name}.starts"))).map_or(0, |notes| notes.lines().count())
    }

    /// Waits until a job is at the gate.
    pub fn wait_started(&self, name: &str) -> Result<()> {
        wait::until(IN_TIME, &format!("the start of {name}"), || self.starts(name) > 0)
    }

    /// Waits until a job went through the gate to its end.
    pub fn wait_ended(&self, name: &str) -> Result<()> {
        wait::until(IN_TIME, &format!("the end of {name}"), || self.dir.join(format!("{name}.ended")).exists())
    }
}

/// A job of a manifest that runs a shell script.
pub fn job(name: &str, runtime: Runtime, script: &str) -> Value {
    let mut job = json!({
        "name": name,
        "namespace": NAMESPACE,
        "runtime": "process",
        "kind": "job",
        "command": ["sh", "-c", script],
    });
    if runtime == Runtime::Docker {
        job["runtime"] = "docker".into();
        job["image"] = IMAGE.into();
        job["config"] = json!({ "image_pull_policy": "IfNotPresent" });
    }
    job
}

/// The same, as a worker that is started again when it ends.
pub fn worker(name: &str, runtime: Runtime, script: &str) -> Value {
    let mut worker = job(name, runtime, script);
    worker["kind"] = "worker".into();
    worker
}

/// The same, on one node only.
#[must_use]
pub fn on(mut deployment: Value, node: &str) -> Value {
    deployment["placement"] = json!({ "nodes": [node] });
    deployment
}

/// A manifest of these deployments.
pub fn manifest(deployments: impl IntoIterator<Item = Value>) -> Value {
    let labelled = deployments.into_iter().map(|one| (one["name"].as_str().unwrap_or_default().to_owned(), one));
    json!({ "deployments": labelled.collect::<serde_json::Map<_, _>>() })
}

/// A new value for the header `Idempotency-Key`.
pub fn new_key() -> String {
    let bits: u128 = rand::random();
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

impl Cluster {
    /// Applies a manifest through the first control node that answers; the ids in the order of the manifest's labels.
    pub fn apply(&self, manifest: &Value) -> Result<Vec<String>> {
        let key = new_key();
        wait::eventually(IN_TIME, "a control node to apply the manifest", || {
            let answers = (0..self.controls().len()).map(|index| self.post(index, "/deployments", manifest, &key));
            let answer = answers.filter_map(Result::ok).find(|answer| answer.status != 503).context("no control node answers")?;
            Ok(Some(answer))
        })
        .and_then(|answer| {
            ensure!((200..300).contains(&answer.status), "status {}: {}", answer.status, answer.body);
            let applied = answer.json()?;
            let list = applied["deployments"].as_array().context("no deployments in the answer")?;
            list.iter().map(|one| Ok(one["id"].as_str().context("no id")?.to_owned())).collect()
        })
    }

    /// Applies a manifest of one deployment; its id.
    pub fn apply_one(&self, deployment: Value) -> Result<String> {
        self.apply(&manifest([deployment]))?.pop().context("nothing was applied")
    }

    /// `POST` to one control node, which may take as long as a write without a quorum does.
    pub fn post(&self, control: usize, path: &str, body: &Value, key: &str) -> Result<Response> {
        let request = self.control(control).http("POST", path).bearer(self.token()).json(body);
        request.header("Idempotency-Key", key).timeout(Duration::from_secs(20)).send()
    }

    /// `GET` from one control node.
    pub fn get_from(&self, control: usize, path: &str) -> Result<Response> {
        self.control(control).http("GET", path).bearer(self.token()).timeout(Duration::from_secs(15)).send()
    }

    /// A deployment as the first control node that answers shows it.
    pub fn deployment(&self, id: &str) -> Result<Value> {
        self.get_any(&format!("/deployments/{id}"))
    }

    /// Waits until a deployment is as wanted; the deployment.
    pub fn wait_deployment(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait::eventually(IN_TIME, what, || {
            last = self.deployment(id)?;
            Ok(wanted(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("it is {last}\n{}", self.tails()))
    }

    /// Waits until a deployment has a status; the deployment.
    pub fn wait_status(&self, id: &str, status: &str) -> Result<Value> {
        self.wait_deployment(id, &format!("status {status}"), |deployment| deployment["status"] == status)
    }

    /// Waits until a deployment has ended one way or the other; the deployment.
    pub fn wait_final(&self, id: &str) -> Result<Value> {
        self.wait_deployment(id, "a final status", |d| matches!(d["status"].as_str(), Some("completed" | "failed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_uuid_and_new_each_time() {
        let key = new_key();
        let lengths: Vec<usize> = key.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{key}");
        assert_ne!(key, new_key());
    }

    #[test]
    fn a_job_waits_at_its_gate() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::new(&dir.path().join("gate")).unwrap();
        let job = gate.job("one", Runtime::Process, 7);
        let command: Vec<&str> = job["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let process = crate::command::command(command[0], &command[1..]);
        let process = crate::Process::spawn("job", process, &dir.path().join("log")).unwrap();
        gate.wait_started("one").unwrap();
        assert_eq!(process.exited().unwrap(), None);
        gate.open().unwrap();
        assert_eq!(process.wait_exit(IN_TIME).unwrap().code(), Some(7));
        gate.wait_ended("one").unwrap();
        assert_eq!(gate.starts("one"), 1);
    }
}
