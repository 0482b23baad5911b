//! Rolling updates: a child deployment takes the place of its parent, one instance at a time. Here is what is recorded of one,
//! and the sums that both the planner and the check of its actions go by.
//!
//! During a rollout two records of a name are active: the parent, which serves, and the child (`parent` names the other). When
//! the child has all its instances ready, the parent goes. When it does not get there, it is recorded as failed and the
//! parent is as it was.

use std::sync::Arc;

use ring_types::{
    DeploymentId, DeploymentSpec, Goal, InstanceState, Kind, Name, NetworkMode, NodeId, NodeStatus, Permission, Span, Timestamp,
    Volume, VolumeKind,
};

use crate::{Deployment, Instance, RegistryPassword, State};

/// How far a rolling update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Where it is.
    pub phase: RolloutPhase,
    /// Longest time from one ready instance to the next, beside the start period of its checks.
    pub deadline: Span,
    /// When it began, or when one more instance than ever before was ready.
    pub progress_at: Timestamp,
    /// The most instances that were ready at once.
    pub ready: u32,
}

/// Where a rolling update is. Only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutPhase {
    /// Instances of the child take the place of the parent's.
    Progressing,
    /// The child stands alone.
    Completed,
    /// It came to nothing, or was called off: the parent stands.
    Failed,
}

/// A deployment is to be followed by another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Which.
    pub id: DeploymentId,
    /// Identity the new record gets.
    pub successor: DeploymentId,
    /// As of an apply.
    pub rollout_deadline: Option<Span>,
}

/// What a deployment can go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// What it asked for.
    pub spec: Arc<DeploymentSpec>,
    /// The registry password that went with it.
    pub registry_password: Option<RegistryPassword>,
}

/// How many instances a parent of `parent` keeps while `ready` of a child's `child` are ready.
///
/// One goes for each that is ready; when the child is larger, fewer, so that the sum never exceeds what the child will have;
/// when it is smaller, the rest goes with its last one.
pub fn parent_keeps(parent: u32, child: u32, ready: u32) -> u32 {
    if ready >= child {
        return 0;
    }
    parent.saturating_sub(ready).max(parent.min(child - ready))
}

/// Two versions of it must not run at once, wherever: they would write to the same volume, or use the network of a host, of which
/// nobody knows which ports, or it says by [`DeploymentSpec::stop_on_disconnect`] that none may run beside another. Published ports are known: there two versions only do not share a host.
pub fn is_exclusive(spec: &DeploymentSpec) -> bool {
    spec.network == NetworkMode::Host || spec.stop_on_disconnect.is_some() || spec.volumes.iter().any(writes)
}

fn writes(volume: &Volume) -> bool {
    volume.kind == VolumeKind::Volume && volume.permission == Permission::ReadWrite
}

/// It may run, or come to run. One that is to go and was never claimed cannot.
pub fn may_run(instance: &Instance) -> bool {
    instance.state.is_live() && !(instance.state == InstanceState::Assigned && instance.goal > Goal::Run)
}

impl Deployment {
    /// It takes the place of its parent just now.
    pub fn is_rolling_out(&self) -> bool {
        !self.deleting && self.rollout.is_some_and(|rollout| rollout.phase == RolloutPhase::Progressing)
    }

    /// It was to take the place of its parent, and that came to nothing.
    pub fn has_failed_to_roll_out(&self) -> bool {
        self.rollout.is_some_and(|rollout| rollout.phase == RolloutPhase::Failed)
    }

    /// For a moment there may be one more instance of it than is wanted. Not where two would write to one volume that are never
    /// to do so at the same time.
    pub fn may_surge(&self) -> bool {
        !self.spec.volumes.iter().any(writes)
    }

    /// A new version of it can take its place one instance at a time.
    pub(crate) fn can_roll_to(&self, spec: &DeploymentSpec) -> bool {
        let workers = self.spec.kind == Kind::Worker && spec.kind == Kind::Worker;
        workers && !is_exclusive(&self.spec) && !is_exclusive(spec)
    }
}

impl State {
    /// The deployment that is taking the place of this one.
    pub fn child_of(&self, parent: &Deployment) -> Option<&Arc<Deployment>> {
        let mut all = self.deployments_named(&parent.spec.namespace, &parent.spec.name);
        all.find(|d| d.parent == Some(parent.id) && d.is_rolling_out())
    }

    /// The deployment whose place this one is taking, or was to take, if that still stands.
    pub fn parent_of(&self, child: &Deployment) -> Option<&Arc<Deployment>> {
        let parent = child.parent.and_then(|id| self.deployment(id)).filter(|parent| !parent.deleting);
        parent.filter(|_| child.rollout.is_some_and(|rollout| rollout.phase != RolloutPhase::Completed))
    }

    /// Instances of a deployment that serve: see [`Self::serves`].
    pub fn serving(&self, deployment: &Deployment) -> u32 {
        self.instances_of(deployment.id).filter(|i| self.serves(i, deployment)).count() as u32
    }

    /// An instance of a deployment serves: wanted, running, past the checks that decide readiness, and not on a node that is lost: what
    /// is known of it there was true before.
    pub fn serves(&self, instance: &Instance, deployment: &Deployment) -> bool {
        instance.serves(&deployment.spec) && !self.is_gone(instance.node)
    }

    /// A node is lost, or was removed.
    pub fn is_gone(&self, node: NodeId) -> bool {
        self.node(node).is_none_or(|node| node.status == NodeStatus::Lost)
    }

    /// An instance of it that is wanted is on a node that is being drained.
    pub fn is_drained(&self, deployment: &Deployment) -> bool {
        let leaves = |i: &&Arc<Instance>| i.goal == Goal::Run && self.is_draining(i.node);
        deployment.spec.kind == Kind::Worker && self.instances_of(deployment.id).any(|i| i.state.is_live() && leaves(&i))
    }

    /// A node is being drained.
    pub fn is_draining(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|node| node.drain.is_some())
    }

    /// How many more instances all records of a name together may have now; None when it is not being rolled out. There may
    /// be one more than there are replicas.
    pub fn surge(&self, namespace: &Name, name: &Name) -> Option<u32> {
        let unfinished = |d: &Deployment| d.rollout.is_some_and(|rollout| rollout.phase != RolloutPhase::Completed);
        let mut any = false;
        let (mut most, mut live) = (0, 0);
        for deployment in self.deployments_named(namespace, name) {
            any |= unfinished(deployment);
            live += self.instances_of(deployment.id).filter(|i| may_run(i)).count() as u32;
            if !deployment.deleting && !deployment.has_failed_to_roll_out() {
                most = most.max(deployment.wanted());
            }
        }
        any.then(|| (most + 1).saturating_sub(live))
    }

    /// The deployment that stands for a name: the newest one that is not being deleted and is not an update that failed.
    /// During a rolling update that is the new version.
    pub fn deployment_named(&self, namespace: &Name, name: &Name) -> Option<&Arc<Deployment>> {
        let standing = |d: &&Arc<Deployment>| !d.deleting && !d.has_failed_to_roll_out();
        self.deployments_named(namespace, name).filter(standing).max_by_key(|d| (d.is_rolling_out(), d.created_at, d.version))
    }
}

#[cfg(test)]
mod tests {
    use super::parent_keeps;

    #[test]
    fn a_parents_share_shrinks_as_the_childs_grows() {
        let shares = |parent, child| (0..=child).map(|ready| parent_keeps(parent, child, ready)).collect::<Vec<_>>();
        assert_eq!(shares(3, 3), [3, 2, 1, 0]);
        assert_eq!(shares(1, 1), [1, 0]);
        assert_eq!(shares(3, 5), [3, 3, 3, 2, 1, 0]);
        assert_eq!(shares(5, 3), [5, 4, 3, 0]);
        assert_eq!(shares(0, 2), [0, 0, 0]);
        assert_eq!(shares(2, 0), [0]);
    }

    #[test]
    fn never_fewer_than_the_smaller_and_never_more_than_the_larger() {
        for (parent, child) in (0..8).flat_map(|parent| (0..8).map(move |child| (parent, child))) {
            for ready in 0..child {
                let sum = parent_keeps(parent, child, ready) + ready;
                assert!(sum >= parent.min(child) && sum <= parent.max(child), "{parent} to {child}, {ready} ready");
            }
        }
    }
}
