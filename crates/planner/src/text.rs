//! Sentences for people: what happened and what to do next. They depend on the state only, never on the time, so that the
//! same situation always reads the same and is recorded once.

use ring_state::{Deployment, PlacementFailure, Unplaced, UnplacedReason};
use ring_types::{
    CheckKind, Cpu, DependencyCondition, DeploymentId, DeploymentSpec, Memory, Name, Outcome, Span, StartFailure, UnknownExit,
};

use crate::place::Gain;

/// How an execution ended.
pub(crate) fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Code(code) => format!("exited with code {code}"),
        Outcome::Signal { signal, oom_killed: true } => {
            format!("killed by signal {signal} for using more memory than its limit; raise resources.limits.memory")
        }
        Outcome::Signal { signal, oom_killed: false } => format!("killed by signal {signal}"),
        Outcome::NotStarted { message, .. } => format!("not started: {message}"),
        Outcome::Unknown(why) => unknown(*why).to_owned(),
    }
}

/// How an execution ended that its agent stopped.
pub(crate) fn cut_off(outcome: &Outcome) -> String {
    format!("its node was out of contact for longer than its stop_on_disconnect, and stopped it: {}", ended(outcome))
}

/// Which attempt of how many.
pub(crate) fn attempt(number: u32, spec: &DeploymentSpec) -> String {
    format!("attempt {number} of {}", spec.attempts())
}

/// It runs longer than it may, and was told to end.
pub(crate) fn being_ended(timeout: Span) -> String {
    format!("runs longer than its timeout of {timeout}: it is being ended")
}

/// It ran too long.
pub(crate) fn timed_out(timeout: Span, outcome: &Outcome) -> String {
    format!("ran longer than its timeout of {timeout}: {}", ended(outcome))
}

/// Waits for something under way.
pub(crate) fn waits_for(name: &str, condition: DependencyCondition) -> String {
    format!("waits until '{name}' {}", there(condition))
}

fn there(condition: DependencyCondition) -> &'static str {
    match condition {
        DependencyCondition::Completed => "has completed",
        DependencyCondition::Running => "runs and is ready",
    }
}

/// Waits for something that is not there.
pub(crate) fn no_such_dependency(namespace: &Name, name: &str) -> String {
    format!("waits for '{name}', which does not exist in namespace '{namespace}': apply it, or take it out of depends_on")
}

/// Waits for a worker to complete.
pub(crate) fn never_completes(name: &str) -> String {
    format!("waits until '{name}' has completed, but that is a worker, which never does: set condition to running")
}

/// Waits for something that is over.
pub(crate) fn dependency_failed(found: &Deployment, condition: DependencyCondition) -> String {
    let why = if found.message.is_empty() { String::new() } else { format!(" ({})", found.message) };
    let name = &found.spec.name;
    let next = format!("put it right and apply it again, and this goes on when '{name}' {}", there(condition));
    format!("waits for '{name}', which is {}{why}: {next}", found.status)
}

/// Waits for something that waits in vain itself.
pub(crate) fn dependency_stuck(found: &Deployment) -> String {
    let (namespace, name) = (&found.spec.namespace, &found.spec.name);
    format!("waits for '{name}', which itself waits in vain: see why with `ring deployment inspect {namespace}/{name}`")
}

/// Why nobody knows how it ended.
pub(crate) fn unknown(why: UnknownExit) -> &'static str {
    match why {
        UnknownExit::NodeLost => {
            "its node was out of contact for longer than the grace time; if the node returns, the true end is recorded"
        }
        UnknownExit::NodeRemoved => "its node was removed from the cluster before the end was reported",
        UnknownExit::LedgerLost => "the agent's records were lost on its node; look at the application's own traces",
        UnknownExit::InstanceVanished => {
            "its runtime does not know how it ended: it was removed by hand, or lost when the runtime itself was killed"
        }
        UnknownExit::VmLost => {
            "its virtual machine ended, or began anew, before anybody heard how it ended; its logs may say more"
        }
        UnknownExit::ClusterRestored => "the cluster was restored, and the node did not say yet whether it had run it",
        UnknownExit::HostRestarted => "its host went down while it ran and kept no record of its end",
    }
}

/// A start that failed: what the runtime said, and what to do.
pub(crate) fn start_failure(cause: StartFailure, said: &str) -> String {
    let advice = match cause {
        StartFailure::ImageNotFound => "check the image's name and tag; it is tried again with growing pauses",
        StartFailure::ImagePull => "check registry and credentials; it is tried again with growing pauses",
        StartFailure::Create => "check command, user and resources; it is tried again with growing pauses",
        StartFailure::Network => "free the port or choose another; it is tried again with growing pauses",
        StartFailure::Config => "check the secrets and configs it names; it is tried again with growing pauses",
        StartFailure::FileSystem => "check volumes and disk space on the node; it is tried again with growing pauses",
        StartFailure::Cancelled => "it was told to stop before it started",
        StartFailure::NodeGone => "its node went before it started",
        StartFailure::Other => "see the agent's log on the node; it is tried again with growing pauses",
    };
    if said.is_empty() { advice.to_owned() } else { format!("{said}; {advice}") }
}

/// A crash that is followed by a restart.
pub(crate) fn restarting(crash: &str, restart: u32, of: u32, pause: Span) -> String {
    format!("{crash}; restart {restart} of {of} after {pause}")
}

/// A health check that fails.
pub(crate) fn failing_check(number: u32, kind: Option<&CheckKind>, said: &str) -> String {
    let kind = kind.map_or("", |kind| match kind {
        CheckKind::Tcp { .. } => " (tcp)",
        CheckKind::Http { .. } => " (http)",
        CheckKind::Command { .. } => " (command)",
    });
    if said.is_empty() {
        format!("health check {number}{kind} failed")
    } else {
        format!("health check {number}{kind} failed: {said}")
    }
}

/// Instances a health check had stopped.
pub(crate) fn stopped_by_check(stopped: u32, of: u32, said: &str) -> String {
    format!("{stopped} of {of} stopped because {said}; not started again until it is restarted or applied with --force")
}

/// The new version, on its way.
pub(crate) fn rolling_out(ready: u32, of: u32) -> String {
    format!("{ready} of {of} ready; the version before serves until all are")
}

/// The old version, on its way out.
pub(crate) fn giving_way(child: DeploymentId) -> String {
    format!("{child} takes its place as its instances get ready")
}

/// A new version that did not get ready in time.
pub(crate) fn rollout_overdue(ready: u32, of: u32, deadline: Span, said: &str) -> String {
    let why = if said.is_empty() { String::new() } else { format!(" ({said})") };
    format!(
        "{ready} of {of} were ready and no other became so within {deadline}{why}; the version before stays: see its logs and \
         health checks, then apply a corrected one"
    )
}

/// A new version that cannot get ready.
pub(crate) fn rollout_failed(said: &str) -> String {
    format!("{said}; the version before stays")
}

/// A worker that is not started any more.
pub(crate) fn crash_loop(crash: &str, restarts: u32) -> String {
    format!("{crash}; not started again after {restarts} restarts: see its logs, then apply with --force")
}

/// A worker whose command cannot be run at all: the shell's words for it.
pub(crate) fn hopeless(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Code(126) => Some("exited with code 126: its command cannot be executed; correct the command and apply again"),
        Outcome::Code(127) => Some("exited with code 127: its command was not found; correct the command and apply again"),
        _ => None,
    }
}

/// Why instances have no node.
pub(crate) fn not_placed(failure: &PlacementFailure) -> String {
    format!("no node takes {} of its instances now: {}", failure.missing, reasons(&failure.reasons))
}

/// Nothing could ever hold it.
pub(crate) fn never_fits(failure: &PlacementFailure) -> String {
    let reasons = reasons(&failure.reasons);
    format!("larger than any node of the cluster: {reasons}; lower its requests or add a larger node")
}

/// What speaks against the nodes.
pub(crate) fn reasons(all: &[Unplaced]) -> String {
    all.iter().map(unplaced).collect::<Vec<_>>().join(", ")
}

fn unplaced(one: &Unplaced) -> String {
    let on = if one.nodes == 1 { "on 1 node".to_owned() } else { format!("on {} nodes", one.nodes) };
    match &one.reason {
        UnplacedReason::NoNodes => "the cluster has no node that runs work; join one with `ring cluster join`".to_owned(),
        UnplacedReason::NotReady => format!("out of contact {on}"),
        UnplacedReason::Cordoned => format!("closed to new work {on}"),
        UnplacedReason::RuntimeMissing(kind) => format!("runtime {kind} not usable {on}"),
        UnplacedReason::Constraint(text) => format!("constraint {text} {on}"),
        UnplacedReason::Cpu(gap) => format!("insufficient cpu {on} ({} short)", Cpu(*gap)),
        UnplacedReason::Memory(gap) => format!("insufficient memory {on} ({} short)", Memory(*gap)),
        UnplacedReason::AgentTooOld => format!("an agent that does not know stop_on_disconnect {on}"),
        UnplacedReason::Full => format!("no further instance of it {on}"),
        UnplacedReason::Port(port) => format!("port {port} taken {on}"),
        UnplacedReason::Volume { volume, node: Some(node) } => {
            let others = if one.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", one.nodes) };
            format!("volume {volume} is on {node}, which rules out {others}")
        }
        UnplacedReason::Volume { volume, node: None } => format!(
            "volume {volume} is on a node that was removed; to go on without its data, delete it with `ring volume delete \
             {volume} --force` and apply again"
        ),
    }
}

/// What gets better when an instance moves.
pub(crate) fn gain(gain: &Gain, from: &str, to: &str) -> String {
    let percent = |thousandths: &u64| thousandths.div_ceil(10);
    match gain {
        Gain::Label { key, from, to } => format!("{key}={} has {} of its instances, {key}={} has {}", from.0, from.1, to.0, to.1),
        Gain::Own { from: here, to: there } => format!("{from} has {here} of its instances, {to} has {there}"),
        Gain::Load { from: here, to: there } => {
            format!("{from} has {} % of its scarcer resource set aside, {to} would have {} %", percent(here), percent(there))
        }
        Gain::Instances { from: here, to: there } => format!("{from} has {here} instances, {to} has {there}"),
    }
}
