//! The figures of a control node, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::App;

/// All figures.
pub(super) fn text(app: &App) -> String {
    let mut out = Figures::default();
    let status = app.store.status();
    let state = app.store.local();
    out.one("ring_raft_term", "gauge", "Term this member knows", status.term);
    out.one("ring_raft_is_leader", "gauge", "1 on the leader", u64::from(app.store.leadership().borrow().is_me));
    out.one("ring_raft_has_leader", "gauge", "1 when a leader is known", u64::from(status.leader.is_some()));
    out.one("ring_raft_voters", "gauge", "Members that vote", status.voters.len() as u64);
    out.one("ring_raft_learners", "gauge", "Members that only receive the log", status.learners.len() as u64);
    out.one("ring_raft_last_log_index", "gauge", "Last entry of the log", status.last_log);
    out.one("ring_raft_committed_index", "gauge", "Last entry known to be on a quorum", status.committed);
    out.one("ring_raft_applied_index", "gauge", "Last entry in the state", status.applied);
    out.one("ring_raft_snapshot_index", "gauge", "Last entry of the snapshot", status.snapshot);
    let silence = u64::try_from(app.pulse.silence().as_millis()).unwrap_or(u64::MAX);
    out.one("ring_leader_contact_age_milliseconds", "gauge", "Since this node last was in touch with the leader", silence);
    out.one("ring_agent_sessions", "gauge", "Agents with their session on this control node", app.hub.sessions() as u64);
    let strange = app.refusals.strange_reports();
    out.one("ring_agent_reports_refused_total", "counter", "Reports of agents about instances of other nodes", strange);
    let refused = app.refusals.by_limit().collect();
    out.each(("ring_requests_refused_total", "counter"), "Requests and connections refused, by limit", "limit", refused);
    let deployments = state.deployments().map(|d| d.status.as_str());
    out.each(("ring_deployments", "gauge"), "Deployments", "status", count(deployments));
    let instances = state.instances().map(|i| i.state.as_str());
    out.each(("ring_instances", "gauge"), "Instances", "state", count(instances));
    let nodes = state.nodes().map(|n| n.status.as_str());
    out.each(("ring_nodes", "gauge"), "Hosts that run work", "status", count(nodes));
    out.0
}

fn count<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

#[derive(Default)]
struct Figures(String);

impl Figures {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}\n");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn each(&mut self, (name, kind): (&str, &str), help: &str, label: &str, values: BTreeMap<&str, u64>) {
        self.head(name, kind, help);
        for (word, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{word}\"}} {value}");
        }
    }
}
