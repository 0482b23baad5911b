//! Jobs that write down by themselves that they were started, and with which code they end.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring_testkit::lab::Lab;
use ring_testkit::work::{Runtime, job, manifest};
use ring_testkit::{Cluster, report, wait};
use serde_json::{Value, json};

use crate::load::{Change, Load, Sent};

/// From one job to the next.
const PAUSE: Duration = Duration::from_millis(700);
/// How long after the last fault a job may take to its end.
const ENDS: Duration = Duration::from_mins(2);

/// A job that was applied.
struct Applied {
    name: String,
    id: String,
    attempts: usize,
    runtime: Runtime,
}

/// All jobs of a run and the directory they write to; every third in Docker, where there is Docker.
pub(crate) struct Jobs<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    applied: Mutex<Vec<Applied>>,
}

impl<'a> Jobs<'a> {
    pub(crate) fn of(lab: &'a Lab) -> Result<Self> {
        let dir = lab.dir().join("jobs");
        fs::create_dir_all(&dir)?;
        Ok(Self { lab, dir, applied: Mutex::default() })
    }

    /// Notes its start, works for a while, notes the code and ends with it. One of two attempts fails at the first. One in Docker
    /// has one attempt: the second could be about to start whenever its daemon ends.
    fn one(&self, name: &str, rng: &mut StdRng) -> (Value, usize, Runtime) {
        let runtime = if rng.random_range(0..3) == 0 { Runtime::Docker } else { Runtime::Process };
        let attempts = if runtime == Runtime::Docker { 1 } else { rng.random_range(1..3) };
        let code = rng.random_range(0..126);
        let (seconds, file) = (f64::from(rng.random_range(0..50)) / 10.0, self.dir.join(name));
        let file = file.display();
        let script = format!(
            "echo x >> {file}.starts; n=$(grep -c x {file}.starts); sleep {seconds}; code={code}; \
             if test $n -lt {attempts}; then code=9; elif test {attempts} = 2; then code=0; fi; \
             echo $n $code >> {file}.ends; exit $code"
        );
        let mut one = job(name, runtime, &script);
        if runtime == Runtime::Docker {
            one["volumes"] = json!([{ "type": "bind", "source": self.dir, "destination": self.dir }]);
        }
        if attempts > 1 {
            one["retries"] = (attempts - 1).into();
        }
        (one, attempts, runtime)
    }

    /// One client, until it is over.
    pub(crate) fn client(&self, load: &Load<'_>, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        while load.goes_on() {
            let name = format!("job-{}", load.fresh());
            let (one, attempts, runtime) = self.one(&name, &mut rng);
            let body = manifest([one]);
            let request = Change { method: "POST", path: "/deployments".to_owned(), body: Some(&body) };
            match load.change(&mut rng, &request, None).0 {
                Sent::Done(done, _) => {
                    let id = done["deployments"][0]["id"].as_str().unwrap_or_default().to_owned();
                    self.applied.lock().unwrap().push(Applied { name, id, attempts, runtime });
                }
                Sent::Refused(status, said) => load.wrong(format!("applying {name}: {status} {said}")),
                Sent::Unknown => load.wrong(format!("the end of applying {name} stayed unknown")),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits for the end of every job; each was executed once an attempt, and ended as it says itself. How many there were.
    pub(crate) fn judge(&self, cluster: &Cluster) -> Result<usize> {
        let applied = self.applied.lock().unwrap();
        for one in applied.iter() {
            let mut last = Value::Null;
            let ended = wait::eventually(ENDS, &format!("the end of {}", one.name), || {
                last = cluster.deployment(&one.id)?;
                Ok(matches!(last["status"].as_str(), Some("completed" | "failed")).then(|| last.clone()))
            });
            let ended = ended.with_context(|| format!("it is {last}"))?;
            self.judge_one(one, &ended).with_context(|| format!("{} is {ended}", one.name))?;
        }
        Ok(applied.len())
    }

    fn lines(&self, name: &str, what: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join(format!("{name}.{what}"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the daemons have of a job's containers: one, which ended with the code that ring tells. Of one that ended in the moment
    /// in which its daemon was killed, the daemon knows nothing and says 255; then ring has to say that nobody knows. True for that.
    fn unknown_to_docker(&self, one: &Applied, ended: &Value) -> Result<bool> {
        let daemons = self.lab.hosts().iter().filter_map(|host| self.lab.docker_of(host.name()));
        let codes = daemons.map(|docker| docker.exit_codes(&format!("ring_deployment={}", one.id)));
        let (codes, told) = (codes.collect::<Result<Vec<_>>>()?.concat(), &ended["exit_status"]["code"]);
        let unknown = told.is_null() && ended["reason"] == "instance_vanished" && codes == [255];
        let same = codes.len() == 1 && told.as_i64() == Some(codes[0]);
        ensure!(same || unknown, "Docker has containers that ended with {codes:?}");
        Ok(unknown)
    }

    fn judge_one(&self, one: &Applied, ended: &Value) -> Result<()> {
        if one.runtime == Runtime::Docker && self.unknown_to_docker(one, ended)? {
            let (starts, ends) = (self.lines(&one.name, "starts").len(), self.lines(&one.name, "ends").len());
            ensure!((starts, ends) == (1, 1), "it was executed {starts} times and ended {ends} times");
            report::line(&format!(
                "{} ended in the moment in which its Docker daemon was killed: nobody knows with which code",
                one.name
            ));
            return Ok(());
        }
        let mut shown: Vec<(u64, i64)> = Vec::new();
        for instance in ended["instances"].as_array().context("no instances")? {
            let (attempt, code) = (instance["attempt"].as_u64(), instance["exit_status"]["code"].as_i64());
            shown.push((attempt.context("no attempt")?, code.context("an attempt without a code")?));
        }
        shown.sort_unstable();
        let (starts, ends) = (self.lines(&one.name, "starts").len(), self.lines(&one.name, "ends"));
        let wrote: Vec<(u64, i64)> = ends
            .iter()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(n, code)| Some((n.parse().ok()?, code.parse().ok()?)))
            .collect();
        ensure!(starts == one.attempts, "{} attempts were executed {starts} times", one.attempts);
        ensure!(shown == wrote, "it wrote {wrote:?} itself, ring says {shown:?}");
        let (last, status) =
            (&ended["exit_status"]["code"], if wrote.last().is_some_and(|w| w.1 == 0) { "completed" } else { "failed" });
        ensure!(last.as_i64() == wrote.last().map(|w| w.1) && ended["status"] == status, "its last attempt wrote {wrote:?}");
        Ok(())
    }
}
