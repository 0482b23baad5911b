//! From apply to a running container, beside plain Docker with the same image on the same daemon.
//!
//! Both ends are taken the same way for all: before the command (or the first request), and the time the daemon itself gives
//! its `start` event. A container of ring is in the network of its namespace, where it finds others by name; so Docker is measured
//! with a network of that kind, too, which takes it longer than its default one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hyper::Method;
use ring_testkit::cluster::Options;
use ring_testkit::lab::IMAGE;
use ring_testkit::{Cluster, Docker, Lab, Process, command, wait};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::connection::Connection;
use crate::ring::NAMESPACE;
use crate::stats::{Times, ms};
use crate::table::Table;
use crate::{docker_api, out};

const DEADLINE: Duration = Duration::from_secs(30);
/// Ends at once on SIGTERM, which the first process of a container otherwise ignores.
const COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"];

/// Docker's default network.
const DEFAULT: &str = "bridge";
/// One of those in which containers find each other by name.
const NAMED: &str = "figures";

#[derive(Debug, Clone, Copy)]
enum Way {
    DockerRun,
    DockerRunNamed,
    RingApply,
    DockerApi,
    DockerApiNamed,
    RingApi,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::DockerRun, Self::DockerRunNamed, Self::RingApply, Self::DockerApi, Self::DockerApiNamed, Self::RingApi];

    fn what(self) -> &'static str {
        match self {
            Self::DockerRun => "`docker run -d`",
            Self::DockerRunNamed => "`docker run -d --network`",
            Self::RingApply => "`ring apply -f`",
            Self::DockerApi => "Docker API: create, start",
            Self::DockerApiNamed => "the same, with a network",
            Self::RingApi => "ring API: POST /deployments",
        }
    }

    /// What ring's way is compared with: plain Docker, and Docker with a network.
    fn floors(self) -> Option<[Self; 2]> {
        match self {
            Self::RingApply => Some([Self::DockerRun, Self::DockerRunNamed]),
            Self::RingApi => Some([Self::DockerApi, Self::DockerApiNamed]),
            _ => None,
        }
    }
}

/// A lab with three control nodes and an agent with a Docker daemon.
struct Site<'a> {
    cluster: Cluster,
    docker: &'a Docker,
    events: Process,
    ring: Connection,
    daemon: Connection,
}

/// Starts `count` containers each way, in turns, and returns the table; `None` where the lab cannot run.
pub fn measure(runtime: &Runtime, count: usize) -> Result<Option<Table>> {
    if let Some(reason) = ring_testkit::lab::unsupported(true) {
        out::progress(&format!("SKIPPED: start: {reason}"));
        return Ok(None);
    }
    let lab = Lab::builder("figures").hosts(["c1", "c2", "c3"]).docker_hosts(["a1"]).start()?;
    let mut site = Site::new(runtime, &lab)?;
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); Way::ALL.len()];
    // The first round makes networks and warms caches; it does not count.
    for round in 0..=count {
        for (way, times) in Way::ALL.into_iter().zip(&mut times) {
            let time = runtime.block_on(site.start(way, round)).with_context(|| site.cluster.tails())?;
            if round > 0 {
                times.push(time);
            }
        }
        out::progress(&format!("start {round} of {count}"));
    }
    let times: Vec<Times> = times.into_iter().map(Times::new).collect();
    Ok(Some(table(&times)))
}

impl<'a> Site<'a> {
    fn new(runtime: &Runtime, lab: &'a Lab) -> Result<Self> {
        let cluster = Cluster::in_lab_with(lab, &["c1", "c2", "c3"], &["a1"], &Options::default().tls(false))?;
        let docker = lab.docker("a1");
        docker.ok(["network", "create", NAMED])?;
        let format = "{{.TimeNano}} {{.Actor.Attributes.name}}";
        // From before the first container on, so that none is missed while the stream is being set up.
        let events = ["events", "--since", "1", "--filter", "type=container", "--filter", "event=start", "--format", format];
        let events = Process::spawn("events", docker.command(events), &lab.host("a1").dir().join("starts.log"))?;
        let leader = cluster.control(cluster.leader()?).api();
        let ring = runtime.block_on(Connection::open(leader))?.bearer(cluster.token());
        let daemon = runtime.block_on(docker_api::connect(&docker.socket()))?;
        Ok(Self { cluster, docker, events, ring, daemon })
    }

    async fn start(&mut self, way: Way, round: usize) -> Result<Duration> {
        let name = format!("{}-{round}", format!("{way:?}").to_lowercase());
        let (began, id) = match way {
            Way::DockerRun => (self.docker_run(&name, DEFAULT)?, None),
            Way::DockerRunNamed => (self.docker_run(&name, NAMED)?, None),
            Way::DockerApi => (self.docker_api(&name, DEFAULT).await?, None),
            Way::DockerApiNamed => (self.docker_api(&name, NAMED).await?, None),
            Way::RingApply => (self.ring_apply(&name)?, Some(self.id_of(&name).await?)),
            Way::RingApi => {
                let began = now()?;
                let answer = self.ring.send(Method::POST, "/deployments", manifest(&name).to_string()).await?.json()?;
                (began, answer["deployments"][0]["id"].as_str().map(str::to_owned))
            }
        };
        let started = self.started(&name)?;
        match id {
            None => self.docker.ok(["rm", "--force", &name]).map(drop)?,
            Some(id) => self.ring.send(Method::DELETE, &format!("/deployments/{id}"), "").await?.success()?,
        }
        self.wait_gone(&name)?;
        Ok(Duration::from_nanos(started.saturating_sub(began) as u64))
    }

    fn docker_run(&self, name: &str, network: &str) -> Result<u128> {
        let began = now()?;
        self.docker.ok(["run", "-d", "--name", name, "--network", network, IMAGE].into_iter().chain(COMMAND))?;
        Ok(began)
    }

    async fn docker_api(&mut self, name: &str, network: &str) -> Result<u128> {
        let began = now()?;
        docker_api::create_and_start(&mut self.daemon, name, (IMAGE, &COMMAND), network).await?;
        Ok(began)
    }

    fn ring_apply(&self, name: &str) -> Result<u128> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("worker.json");
        std::fs::write(&file, manifest(name).to_string())?;
        let began = now()?;
        command::run(self.cluster.cli().command(["apply".as_ref(), "-f".as_ref(), file.as_os_str()]))?.ok()?;
        Ok(began)
    }

    async fn id_of(&mut self, name: &str) -> Result<String> {
        let list = self.ring.send(Method::GET, &format!("/deployments?namespace[]={NAMESPACE}"), "").await?.json()?;
        let found = list.as_array().and_then(|list| list.iter().find(|one| one["name"] == name));
        found.and_then(|one| one["id"].as_str()).map(str::to_owned).with_context(|| format!("{name} is not listed"))
    }

    /// When the daemon started the container of that name, in nanoseconds of the machine's clock.
    fn started(&self, name: &str) -> Result<u128> {
        let part = format!("{NAMESPACE}_{name}_");
        let line = wait::eventually(DEADLINE, &format!("the start of {name}"), || {
            let log = self.events.log()?;
            let mut lines = log.lines().filter_map(|line| line.split_once(' '));
            Ok(lines.find(|(_, container)| *container == name || container.starts_with(&part)).map(|(time, _)| time.to_owned()))
        })?;
        line.parse().with_context(|| format!("'{line}' is no time"))
    }

    fn wait_gone(&self, name: &str) -> Result<()> {
        wait::eventually(DEADLINE, &format!("the container of {name} to be gone"), || {
            let left = self.docker.ok(["ps", "-a", "--quiet", "--filter", &format!("name={name}")])?;
            Ok(left.is_empty().then_some(()))
        })
    }
}

fn manifest(name: &str) -> Value {
    json!({ "deployments": { name: {
        "name": name,
        "namespace": NAMESPACE,
        "runtime": "docker",
        "kind": "worker",
        "image": IMAGE,
        "command": COMMAND,
        "config": { "image_pull_policy": "Never" },
    } } })
}

fn now() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

fn table(times: &[Times]) -> Table {
    let titles = ["to a running container", "median", "p99", "n", "more than Docker", "aim", "more than Docker with a network"];
    let mut table = Table::new(&titles);
    for (way, own) in Way::ALL.into_iter().zip(times) {
        let more = way.floors().map(|floors| {
            floors.map(|floor| {
                let difference = own.median().as_secs_f64() - times[floor as usize].median().as_secs_f64();
                format!("{:+.1} ms", difference * 1e3)
            })
        });
        let [plain, named] = more.unwrap_or_default();
        let aim = if plain.is_empty() { String::new() } else { "at most +50 ms".to_owned() };
        table.row([
            way.what().to_owned(),
            ms(own.median()),
            ms(own.percentile(99.0)),
            own.count().to_string(),
            plain,
            aim,
            named,
        ]);
    }
    table
}
