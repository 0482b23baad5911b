//! What has to have ended before a deployment may start anything.

use std::collections::BTreeSet;

use ring_state::{Deployment, State, may_run};
use ring_types::DeploymentId;

/// Something of the deployments this one takes the place of may still run. Not its parent, beside which it starts, but what
/// its parent waits for.
pub(crate) fn runs(state: &State, deployment: &Deployment) -> bool {
    let mut first = deployment;
    let mut open: Vec<DeploymentId> = first.replaces.into_iter().collect();
    let mut seen = BTreeSet::from([deployment.id]);
    while let Some(parent) = first.parent.and_then(|id| state.deployment(id)).filter(|parent| seen.insert(parent.id)) {
        open.extend(parent.replaces);
        first = parent;
    }
    any_runs(state, deployment.id, open)
}

/// Something this one is a link to may still run: what came after this one finds it through it.
pub(crate) fn links_to_running(state: &State, deployment: &Deployment) -> bool {
    let parent = deployment.parent.filter(|id| state.deployment(*id).is_some_and(|parent| parent.deleting));
    any_runs(state, deployment.id, deployment.replaces.into_iter().chain(parent).collect())
}

/// Walks back over what was replaced and over both sides of rolling updates. A gap in the chain: that one went when nothing
/// before it ran any more.
fn any_runs(state: &State, of: DeploymentId, mut open: Vec<DeploymentId>) -> bool {
    let mut seen = BTreeSet::from([of]);
    while let Some(id) = open.pop() {
        let Some(old) = state.deployment(id).filter(|_| seen.insert(id)) else { continue };
        if state.instances_of(id).any(|instance| may_run(instance)) {
            return true;
        }
        open.extend(old.replaces);
        open.extend(old.parent);
        let named = state.deployments_named(&old.spec.namespace, &old.spec.name);
        open.extend(named.filter(|other| other.parent == Some(id)).map(|other| other.id));
    }
    false
}
