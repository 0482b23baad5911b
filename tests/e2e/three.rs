//! The cluster most tests of faults use: three control nodes, and agents on hosts of their own.

use ring_testkit::cluster::{Cluster, Options};
use ring_testkit::lab::{Builder, Lab};
use serde_json::Value;

/// The hosts of the control nodes.
pub(crate) const CONTROLS: [&str; 3] = ["c1", "c2", "c3"];

/// A lab with two agents that each have a Docker daemon. `None` where the lab cannot run.
pub(crate) fn with_docker(name: &str) -> Option<(Lab, Cluster)> {
    start(Lab::builder(name).docker_hosts(["a1", "a2"]), &["a1", "a2"], &Options::default())
}

/// A lab with one agent that has the process runtime alone.
pub(crate) fn with_processes(name: &str) -> Option<(Lab, Cluster)> {
    start(Lab::builder(name).hosts(["a1"]), &["a1"], &Options::default())
}

/// The control nodes beside the hosts of `lab`, and agents on some of those.
pub(crate) fn start(lab: Builder, agents: &[&str], options: &Options) -> Option<(Lab, Cluster)> {
    let lab = lab.hosts(CONTROLS).start_or_skip()?;
    let cluster = Cluster::in_lab_with(&lab, &CONTROLS, agents, options).unwrap();
    Some((lab, cluster))
}

/// How often containers of a deployment were started, by the records of the Docker daemons.
pub(crate) fn starts_in_docker(lab: &Lab, deployment: &str) -> usize {
    let label = format!("ring_deployment={deployment}");
    let daemons = lab.hosts().iter().filter_map(|host| lab.docker_of(host.name()));
    daemons.map(|docker| docker.starts(&label).unwrap()).sum()
}

/// The id of the container of a deployment on a host.
pub(crate) fn container(lab: &Lab, host: &str, deployment: &str) -> String {
    let filter = format!("label=ring_deployment={deployment}");
    let found = lab.docker(host).ok(["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).unwrap();
    assert_eq!(found.lines().count(), 1, "containers of {deployment}: {found}");
    found
}

/// The control nodes other than one.
pub(crate) fn others(cluster: &Cluster, than: usize) -> Vec<usize> {
    (0..cluster.controls().len()).filter(|&index| index != than).collect()
}

/// The answer of one control node to `GET path`, which must succeed.
pub(crate) fn seen_by(cluster: &Cluster, control: usize, path: &str) -> Value {
    let answer = cluster.get_from(control, path).unwrap();
    assert_eq!(answer.status, 200, "{path} at {}: {}", cluster.control(control).name(), answer.body);
    answer.json().unwrap()
}
