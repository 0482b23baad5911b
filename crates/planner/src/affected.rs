//! Which deployments have to be looked at when rows change.

use std::collections::BTreeSet;

use ring_state::{Deployment, Instance, Node, RowKey, State};
use ring_types::{DeploymentId, Name};

/// Waiting deployments that are looked at when room appears; the rest are found by the next full sweep.
const WOKEN: usize = 256;

/// Deployments that wait for a node with room, oldest first: what is looked at when a node gets some. A cache of what the
/// state says, kept so that it need not be searched.
#[derive(Clone, Debug, Default)]
pub struct Waiting(BTreeSet<DeploymentId>);

impl Waiting {
    /// Reads the whole state.
    pub fn of(state: &State) -> Self {
        Self(state.deployments().filter(|d| waits(d)).map(|d| d.id).collect())
    }

    fn note(&mut self, id: DeploymentId, state: &State) {
        if state.deployment(id).is_some_and(|d| waits(d)) {
            self.0.insert(id);
        } else {
            self.0.remove(&id);
        }
    }
}

fn waits(deployment: &Deployment) -> bool {
    deployment.placement_failure.is_some() && !deployment.deleting
}

/// The deployments that changes of `keys` from `before` to `state` concern. Keeps `waiting` up to date.
pub fn affected(before: &State, keys: &[RowKey], state: &State, waiting: &mut Waiting) -> BTreeSet<DeploymentId> {
    let mut found = BTreeSet::new();
    let (mut room, mut moves) = (false, false);
    for key in keys {
        match key {
            RowKey::Deployment(id) => {
                waiting.note(*id, state);
                found.insert(*id);
                with_its_name(before, state, *id, &mut found);
                with_dependents(before, state, *id, &mut found);
            }
            RowKey::Instance(id) => {
                let (old, new) = (before.instance(*id), state.instance(*id));
                room |= old.is_some_and(|old| old.holds()) && !new.is_some_and(|new| new.holds());
                moves |= old.is_some_and(|old| old.moving.is_some());
                if let Some(instance) = new.or(old) {
                    with_its_name(before, state, instance.deployment, &mut found);
                    with_dependents(before, state, instance.deployment, &mut found);
                }
            }
            RowKey::Node(id) => {
                let (old, new) = (before.node(*id), state.node(*id));
                room |= new.is_some_and(|new| old.is_none_or(|old| takes_more(old, new)));
                found.extend(state.instances_on(*id).map(|instance| instance.deployment));
            }
            RowKey::Secret(id) => {
                let names = before.secret(*id).or_else(|| state.secret(*id));
                if let Some(secret) = names {
                    let uses = |d: &Deployment| d.spec.secret_refs().contains(&secret.name.as_str());
                    users(state, &secret.namespace, uses, &mut found);
                }
            }
            RowKey::Config(id) => {
                let names = before.config(*id).or_else(|| state.config(*id));
                if let Some(config) = names {
                    let uses = |d: &Deployment| d.spec.config_refs().contains(&config.name.as_str());
                    users(state, &config.namespace, uses, &mut found);
                }
            }
            RowKey::Volume(id) => {
                let names = before.volume(*id).or_else(|| state.volume(*id));
                if let Some(volume) = names {
                    let uses = |d: &Deployment| d.spec.named_volumes().any(|(_, name)| name == volume.name);
                    users(state, &volume.namespace, uses, &mut found);
                }
            }
            _ => {}
        }
    }
    if room {
        // With those that may have to make room for it.
        waiting.0.iter().take(WOKEN).for_each(|id| with_its_name(before, state, *id, &mut found));
    }
    if room || moves {
        found.extend(next_to_move(state));
    }
    found
}

/// Deployments with instances that are to move and may have waited for room, or for one that went before them.
fn next_to_move(state: &State) -> Vec<DeploymentId> {
    let waits = |instance: &Instance| instance.pending_move().filter(|pending| !pending.begun).map(|pending| pending.order);
    let mut waiting: Vec<_> = state.moving().filter_map(|i| waits(i).map(|order| (order, i.deployment))).collect();
    waiting.sort_unstable();
    waiting.into_iter().take(WOKEN).map(|(_, deployment)| deployment).collect()
}

/// A deployment and the others of its name: those that wait for it to end, and those that take its place or give theirs.
fn with_its_name(before: &State, state: &State, id: DeploymentId, found: &mut BTreeSet<DeploymentId>) {
    let Some(deployment) = state.deployment(id).or_else(|| before.deployment(id)) else { return };
    found.insert(id);
    found.extend(state.deployments_named(&deployment.spec.namespace, &deployment.spec.name).map(|other| other.id));
}

/// Those that wait for a deployment of this name, or for its instances to be ready.
fn with_dependents(before: &State, state: &State, id: DeploymentId, found: &mut BTreeSet<DeploymentId>) {
    if let Some(deployment) = state.deployment(id).or_else(|| before.deployment(id)) {
        found.extend(state.dependents_of(&deployment.spec.namespace, &deployment.spec.name));
    }
}

fn users(state: &State, namespace: &Name, uses: impl Fn(&Deployment) -> bool, found: &mut BTreeSet<DeploymentId>) {
    found.extend(state.deployments_in(namespace).filter(|d| uses(d)).map(|d| d.id));
}

/// Something in the new row lets instances in that the old one kept out.
fn takes_more(old: &Node, new: &Node) -> bool {
    (old.status, old.schedulable) != (new.status, new.schedulable) || old.info != new.info || old.labels != new.labels
}
