//! Room for the new version of a rolling update that cannot always begin beside the old one: it publishes ports, or a host is to
//! have so many instances of it at most.
//!
//! While a host takes the next instance of the new version, it comes first and an old one goes when it is ready, as in every rolling
//! update. When none does, an old one whose going makes room ends first. Both are found by asking each host as things are now;
//! nothing of it is remembered.

use ring_state::{Deployment, Instance, State, may_run};
use ring_types::{Condition, Goal, StopCause};

use crate::place::{Own, Placer};
use crate::reconcile::Turn;
use crate::rollout::Progress;
use crate::{before, dependencies, references, view};

/// What the next instance of a new version needs.
#[derive(Clone, Copy)]
pub(crate) enum Need<'a> {
    /// A host takes it as it is.
    Nothing,
    /// Something is on its way out, after which there may be room.
    Patience,
    /// This one to end.
    End(&'a Instance),
    /// The end of any one instance would not help.
    Other,
}

/// A new version of it may have to wait for an instance of the old one to end.
pub(crate) fn contends(deployment: &Deployment) -> bool {
    !deployment.spec.ports.is_empty() || deployment.spec.placement.max_per_node.is_some()
}

/// The new version makes its next instance as soon as there is room for it.
fn is_due(state: &State, child: &Deployment, progress: Progress, placer: &Placer<'_>) -> bool {
    let short = progress.unready == 0 && progress.ready < child.wanted();
    let may_grow = state.surge(&child.spec.namespace, &child.spec.name) != Some(0);
    short
        && may_grow
        && !placer.has_made(child.id)
        && !child.conditions.contains(&Condition::BackingOff)
        && !before::runs(state, child)
        && dependencies::unmet(state, child).is_none()
        && references::missing(state, &child.spec).is_none()
}

/// What the next instance of `child` needs, if it is to come now.
pub(crate) fn need<'a>(state: &'a State, child: &Deployment, placer: &mut Placer<'a>) -> Need<'a> {
    let own = Own::of(state, &child.spec, &view::instances(state, child.id));
    if placer.fits(child, &own) {
        return Need::Nothing;
    }
    let named = || state.deployments_named(&child.spec.namespace, &child.spec.name);
    let others = named().filter(|other| other.id != child.id);
    let mut others: Vec<(&Deployment, &Instance)> =
        others.flat_map(|other| state.instances_of(other.id).map(|i| (&**other, &**i))).filter(|(_, i)| may_run(i)).collect();
    if others.iter().any(|(_, i)| i.goal > Goal::Run && view::node_is_ready(state, i.node)) {
        return Need::Patience;
    }
    let serving: u32 = named().map(|one| state.serving(one)).sum();
    let least = state.parent_of(child).map_or(0, |parent| parent.wanted().min(child.wanted()));
    others.retain(|(other, i)| i.goal == Goal::Run && (serving >= least || !state.serves(i, other)));
    // First what does not serve, then what goes in any case, then the last.
    others.sort_by_key(|(other, i)| (state.serves(i, other), !other.deleting, std::cmp::Reverse(i.slot), i.id));
    let first = others.into_iter().find(|(_, i)| placer.fits_without(child, &own, i));
    first.map_or(Need::Other, |(_, instance)| Need::End(instance))
}

impl Turn<'_, '_> {
    /// Ends an instance of this deployment when the next one of a new version of it needs that, and makes none that would take
    /// its room.
    pub(crate) fn make_room(&mut self) {
        let (namespace, name) = (&self.deployment.spec.namespace, &self.deployment.spec.name);
        let mut named = self.state.deployments_named(namespace, name);
        let Some(child) = named.find(|d| d.is_rolling_out() && d.id != self.deployment.id && contends(d)) else { return };
        let progress = crate::rollout::progress(self.state, child, self.now);
        // What is missing gave way for the one that is on its way.
        self.gave_way = progress.unready > 0 || self.placer.has_made(child.id);
        if self.is_settling() || !is_due(self.state, child, progress, self.placer) {
            return;
        }
        let need = need(self.state, child, self.placer);
        if !matches!(need, Need::Other) {
            self.room = Some(0);
        }
        if let Need::End(instance) = need
            && let Some(mine) = self.views.iter_mut().find(|view| view.id == instance.id)
        {
            view::set_goal(mine, Goal::Remove, StopCause::MakesRoom, self.out);
        }
    }

    /// What no host takes of the new version: whether that is only a matter of time.
    pub(crate) fn is_given_room(&mut self) -> bool {
        matches!(need(self.state, self.deployment, self.placer), Need::Patience | Need::End(_))
    }
}
