//! Where the next instances of a deployment would go: the search of a plan, for whoever asks before anything is done.
//!
//! It looks further ahead than one plan: what gives way is taken to be gone by then, one instance at a time in a rolling
//! update, and what a deployment waits for is taken to come. So it answers as things are now; by the time an instance is
//! really placed they may have changed.

use std::collections::BTreeSet;

use ring_state::{Deployment, Instance, State, may_run};
use ring_types::{DeploymentId, NodeId};

use crate::place::{Own, Placer};
use crate::{dependencies, references, room, text, view};

/// The instances a deployment would get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// What keeps it from starting anything, in words.
    pub waits_for: Option<String>,
    /// One for each that is missing now.
    pub instances: Vec<Expected>,
}

/// An instance that would come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its slot.
    pub slot: u32,
    /// Its node, or why there is none.
    pub placed: Result<NodeId, String>,
}

/// Where the instances that each of these deployments misses would go, in this order: each sees what those before it took.
pub fn preview(state: &State, of: &[DeploymentId]) -> Vec<Preview> {
    let mut placer = Placer::new(state);
    let found: Vec<_> = of.iter().map(|id| state.deployment(*id)).collect();
    for deployment in found.iter().flatten() {
        for gone in leaving(state, deployment) {
            placer.release(gone);
        }
    }
    found.iter().map(|found| found.map(|deployment| one(state, &mut placer, deployment)).unwrap_or_default()).collect()
}

/// Instances of records of the same name that are being taken away.
fn leaving<'a>(state: &'a State, deployment: &Deployment) -> Vec<&'a Instance> {
    let spec = &deployment.spec;
    let others = state.deployments_named(&spec.namespace, &spec.name).filter(|other| other.deleting);
    others.flat_map(|other| state.instances_of(other.id)).map(AsRef::as_ref).collect()
}

/// What goes as the new version comes: the instances of the one it takes the place of, the last slot first.
fn making_way<'a>(state: &'a State, deployment: &Deployment) -> Vec<&'a Instance> {
    let Some(parent) = state.parent_of(deployment) else { return Vec::new() };
    let mut instances: Vec<&Instance> = state.instances_of(parent.id).map(AsRef::as_ref).filter(|i| may_run(i)).collect();
    instances.sort_by_key(|instance| (instance.slot, instance.id));
    instances
}

fn one<'a>(state: &'a State, placer: &mut Placer<'a>, deployment: &'a Deployment) -> Preview {
    let unmet = dependencies::unmet(state, deployment).map(|unmet| unmet.said().1.to_owned());
    let waits_for = unmet.or_else(|| references::missing(state, &deployment.spec).map(|missing| missing.to_string()));
    let views = view::instances(state, deployment.id);
    let mut own = Own::of(state, &deployment.spec, &views);
    let running = || views.iter().filter(|view| view.may_run()).map(|view| view.slot);
    let taken: BTreeSet<u32> = running().collect();
    let mut giving_way = making_way(state, deployment);
    let missing = deployment.wanted().saturating_sub(u32::try_from(running().count()).unwrap_or(u32::MAX)) as usize;
    let free = (0..deployment.wanted()).filter(|slot| !taken.contains(slot)).take(missing);
    let instances = free.map(|slot| {
        let mut placed = placer.place(deployment, &mut own);
        let first = if placed.is_ok() {
            giving_way.len().checked_sub(1)
        } else {
            let contends = room::contends(deployment);
            giving_way.iter().rposition(|gone| contends && placer.fits_without(deployment, &own, gone))
        };
        if let Some(index) = first {
            placer.release(giving_way.remove(index));
        }
        if placed.is_err() && first.is_some() {
            placed = placer.place(deployment, &mut own);
        }
        Expected { slot, placed: placed.map_err(|refused| text::reasons(&refused.reasons)) }
    });
    Preview { waits_for, instances: instances.collect() }
}
