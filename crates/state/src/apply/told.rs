//! What webhooks are told of what an entry does. Where there is no webhook nothing is done, and nothing is numbered.

use std::sync::Arc;

use ring_types::{DeploymentStatus, HookKind, InstanceId, MemberId, NodeId, NodeStatus};

use super::Tx;
use crate::{Deployment, HookObject, Instance, Node};

/// An event before it has a number.
pub(super) struct Told {
    pub(super) kind: HookKind,
    pub(super) object: HookObject,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) instance: Option<InstanceId>,
    pub(super) node: Option<NodeId>,
}

impl Told {
    pub(super) fn of(kind: HookKind, object: HookObject) -> Self {
        let (reason, message) = (String::new(), String::new());
        Self { kind, object, before: None, after: None, reason, message, instance: None, node: None }
    }
}

impl Tx<'_> {
    /// Tells it to every webhook that asks for its kind.
    fn tell(&mut self, told: Told) {
        let takers: Vec<_> = self.state.webhooks().filter(|webhook| webhook.takes(told.kind)).cloned().collect();
        if !takers.is_empty() {
            self.enqueue(&takers, told);
        }
    }

    /// A deployment was made, or has another status. `before` is None for one that was made.
    pub(super) fn tell_status(&mut self, after: &Deployment, before: Option<DeploymentStatus>) {
        if self.state.webhooks.is_empty() || before == Some(after.status) {
            return;
        }
        let told = |kind| Told {
            before: before.map(|status| status.to_string()),
            after: Some(after.status.to_string()),
            reason: after.reason.clone(),
            message: after.message.clone(),
            ..Told::of(kind, object(after))
        };
        let (changed, error) = (told(HookKind::StatusChanged), told(HookKind::Error));
        self.tell(changed);
        if is_error(after.status) {
            self.tell(error);
        }
    }

    /// A deployment is to have another number of instances.
    pub(super) fn tell_scaled(&mut self, deployment: &Deployment, (from, to): (u32, u32), reason: &str, message: &str) {
        if self.state.webhooks.is_empty() {
            return;
        }
        self.tell(Told {
            before: Some(from.to_string()),
            after: Some(to.to_string()),
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Told::of(HookKind::Scaled, object(deployment))
        });
    }

    /// Where the rolling update that brings a deployment is now: `started`, `completed`, `failed` or `called_off`.
    pub(super) fn tell_rollout(&mut self, child: &Deployment, before: Option<&str>, after: &str, message: &str) {
        if self.state.webhooks.is_empty() {
            return;
        }
        self.tell(Told {
            before: before.map(str::to_owned),
            after: Some(after.to_owned()),
            reason: if after == "failed" { child.reason.clone() } else { String::new() },
            message: message.to_owned(),
            ..Told::of(HookKind::RollingUpdate, object(child))
        });
    }

    /// A health check of an instance began to fail.
    pub(super) fn tell_check(&mut self, instance: &Instance, message: &str) {
        if self.state.webhooks.is_empty() {
            return;
        }
        let Some(deployment) = self.state.deployment(instance.deployment).cloned() else { return };
        self.tell(Told {
            message: message.to_owned(),
            instance: Some(instance.id),
            node: Some(instance.node),
            ..Told::of(HookKind::HealthCheckFailed, object(&deployment))
        });
    }

    /// The contact of a node is another. None for one that was not there before, or is not any more.
    pub(super) fn tell_node(&mut self, node: &Node, before: Option<NodeStatus>, after: Option<NodeStatus>) {
        if self.state.webhooks.is_empty() || before == after {
            return;
        }
        let reason = match (before, after) {
            (None, _) => "joined",
            (_, None) => "removed",
            _ => "",
        };
        self.tell(Told {
            before: before.map(|status| status.to_string()),
            after: after.map(|status| status.to_string()),
            reason: reason.to_owned(),
            node: Some(node.id),
            ..Told::of(HookKind::NodeStatusChanged, HookObject::Node { id: node.id, name: node.name.clone() })
        });
    }

    /// Another control node leads.
    pub(super) fn tell_leader(&mut self, before: Option<MemberId>, after: MemberId) {
        let Some(id) = self.state.meta().map(|meta| meta.cluster) else { return };
        let name = |id: MemberId| self.state.member(id).map_or_else(|| id.to_string(), |member| member.name.to_string());
        let (before, after) = (before.map(name), Some(name(after)));
        self.tell(Told { before, after, ..Told::of(HookKind::LeaderChanged, HookObject::Cluster { id }) });
    }

    /// As [`Tx::tell_status`], of a deployment that was just changed.
    pub(super) fn tell_new_status(&mut self, before: &Arc<Deployment>) {
        if let Some(after) = self.state.deployment(before.id).cloned() {
            self.tell_status(&after, Some(before.status));
        }
    }
}

fn object(deployment: &Deployment) -> HookObject {
    let spec = &deployment.spec;
    HookObject::Deployment { id: deployment.id, namespace: spec.namespace.clone(), name: spec.name.clone() }
}

/// It says that something is wrong.
const fn is_error(status: DeploymentStatus) -> bool {
    use DeploymentStatus::{Completed, Creating, Deleted, Pending, Running};
    !matches!(status, Pending | Creating | Running | Completed | Deleted)
}
