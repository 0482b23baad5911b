//! Deployments and their events.

use ring_api::model::{Deployment, DeploymentEvent, HealthCheckResult};

use crate::output::{Cell, Row};
use crate::resolve::Named;

impl Row for Deployment {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("Created", false),
        ("Updated", false),
        ("Namespace", false),
        ("Name", false),
        ("Image", false),
        ("Runtime", false),
        ("Kind", false),
        ("Replicas", false),
        ("Restarts", true),
        ("Node(s)", true),
        ("Status", false),
        ("Message", true),
    ];
    const SPARE: &'static [&'static str] = &["Updated", "Created", "Runtime", "Kind", "Restarts", "Message", "Image"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::id(self.id),
            Cell::time(self.created_at),
            Cell::time(self.updated_at),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
            Cell::keep_end(self.image.as_str()),
            self.runtime.as_str().into(),
            self.kind.as_str().into(),
            format!("{}/{}", self.replicas, self.desired_replicas).into(),
            self.restart_count.to_string().into(),
            Cell::keep_start(self.nodes().join(",")),
            Cell::status(self.status.as_str()),
            Cell::keep_start(remarks(self)),
        ]
    }
}

/// Why it is as it is, and what else is worth knowing.
fn remarks(deployment: &Deployment) -> String {
    let reason = deployment.message.as_deref().or(deployment.reason.as_deref());
    let conditions = deployment.conditions.iter().map(|condition| condition.as_str());
    reason.into_iter().chain(conditions).collect::<Vec<_>>().join("; ")
}

impl Named for Deployment {
    const KIND: &'static str = "deployment";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn short_name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn preferred(&self) -> bool {
        self.stands()
    }
}

impl Row for DeploymentEvent {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Time", false), ("Level", false), ("Kind", false), ("Node", false), ("Instance", true), ("Message", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::time(self.timestamp),
            self.level.as_str().into(),
            self.kind.as_str().into(),
            self.node.as_deref().unwrap_or_default().into(),
            self.instance.map(|id| id.to_string()).unwrap_or_default().into(),
            Cell::keep_start(self.message.as_str()),
        ]
    }
}

impl Row for HealthCheckResult {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Node", false),
        ("Instance", false),
        ("Check", true),
        ("Type", false),
        ("Status", false),
        ("Started", false),
        ("Finished", false),
        ("Message", false),
    ];
    const SPARE: &'static [&'static str] = &["Finished"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.node.as_str().into(),
            Cell::id(self.instance),
            self.check.map(|check| check.to_string()).unwrap_or_default().into(),
            self.check_type.as_deref().unwrap_or_default().into(),
            Cell::status(self.status.as_str()),
            Cell::time(self.started_at),
            Cell::time(self.finished_at),
            Cell::keep_start(self.message.as_deref().unwrap_or_default()),
        ]
    }
}
