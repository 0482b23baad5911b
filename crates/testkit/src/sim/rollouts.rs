//! What has to hold of rolling updates, at each entry: said here in other words than in the state and the planner.

use std::collections::BTreeSet;

use ring_state::{Deployment, Instance, RolloutPhase, RowKey, State};
use ring_types::{Goal, InstanceState, Name, StopCause};

use super::run::Sim;

type Checked = Result<(), String>;

impl Sim {
    pub(crate) fn check_rollouts(&mut self, before: &State, after: &State, keys: &[RowKey], planned: bool) -> Checked {
        let mut touched: BTreeSet<(Name, Name)> = BTreeSet::new();
        let mut grown: BTreeSet<(Name, Name)> = BTreeSet::new();
        for key in keys {
            match key {
                RowKey::Deployment(id) => {
                    let (old, new) = (before.deployment(*id), after.deployment(*id));
                    touched.extend(new.map(|d| named(d)));
                    self.check_phase(old.map(|d| &**d), new.map(|d| &**d))?;
                    if let (true, Some(old), Some(new)) = (planned, old, new) {
                        completed(after, old, new)?;
                    }
                }
                RowKey::Instance(id) => {
                    let (old, new) = (before.instance(*id), after.instance(*id));
                    let deployment = new.and_then(|i| after.deployment(i.deployment));
                    if old.is_none() {
                        grown.extend(deployment.map(|d| named(d)));
                    }
                    if let (Some(old), Some(new), Some(deployment)) = (old, new, deployment) {
                        gave_way(before, after, deployment, (old, new))?;
                    }
                }
                _ => {}
            }
        }
        touched.iter().try_for_each(|name| one_stands(after, name))?;
        grown.iter().try_for_each(|name| not_too_many(before, after, name))
    }

    /// A rolling update is over once.
    fn check_phase(&mut self, old: Option<&Deployment>, new: Option<&Deployment>) -> Checked {
        let phase = |d: Option<&Deployment>| d.and_then(|d| d.rollout).map(|rollout| rollout.phase);
        match (phase(old), phase(new)) {
            (Some(RolloutPhase::Progressing), Some(RolloutPhase::Completed)) => self.summary.updated += 1,
            (Some(RolloutPhase::Progressing), Some(RolloutPhase::Failed)) => self.summary.update_failed += 1,
            (Some(old), Some(new)) if old != new => return Err(format!("an update goes from {old:?} to {new:?}")),
            _ => {}
        }
        Ok(())
    }
}

/// One that took its parent's place, and not because somebody deleted that, serves in full.
fn completed(after: &State, old: &Deployment, new: &Deployment) -> Checked {
    let phase = |d: &Deployment| d.rollout.map(|rollout| rollout.phase);
    if phase(old) != Some(RolloutPhase::Progressing) || phase(new) != Some(RolloutPhase::Completed) {
        return Ok(());
    }
    let (serve, wanted) = (after.instances_of(new.id).filter(|i| i.serves(&new.spec)).count(), super::scaling::wanted(new));
    if serve >= wanted as usize { Ok(()) } else { Err(format!("an update is completed with {serve} of {wanted} ready")) }
}

fn named(deployment: &Deployment) -> (Name, Name) {
    (deployment.spec.namespace.clone(), deployment.spec.name.clone())
}

fn all<'s>(state: &'s State, name: &(Name, Name)) -> impl Iterator<Item = &'s Deployment> {
    state.deployments_named(&name.0, &name.1).map(|d| &**d)
}

fn failed(deployment: &Deployment) -> bool {
    deployment.rollout.is_some_and(|rollout| rollout.phase == RolloutPhase::Failed)
}

/// One record stands for a name, and at most one more that is about to.
fn one_stands(state: &State, name: &(Name, Name)) -> Checked {
    let active: Vec<_> = all(state, name).filter(|d| !d.deleting && !failed(d)).collect();
    let rolling = active.iter().filter(|d| d.rollout.is_some_and(|rollout| rollout.phase == RolloutPhase::Progressing));
    let rolling: Vec<_> = rolling.collect();
    let orphan = rolling.iter().find(|child| active.iter().all(|d| Some(d.id) != child.parent));
    if active.len() <= 1 + rolling.len() && rolling.len() <= 1 && orphan.is_none() {
        return Ok(());
    }
    Err(format!("of {name:?} stand {active:#?}"))
}

/// While one version gives way to another there is at most one instance too many. An entry that ends an update may have made an
/// instance while it was still under way: what was wanted then counts too.
fn not_too_many(before: &State, state: &State, name: &(Name, Name)) -> Checked {
    let unfinished = |d: &Deployment| d.rollout.is_some_and(|rollout| rollout.phase != RolloutPhase::Completed);
    if !all(state, name).any(unfinished) {
        return Ok(());
    }
    let wanted = |state| all(state, name).filter(|d| !d.deleting && !failed(d)).map(super::scaling::wanted).max().unwrap_or(0);
    let wanted = wanted(before).max(wanted(state));
    let live = |i: &Instance| i.state.is_live() && (i.state > InstanceState::Assigned || i.goal == Goal::Run);
    let count: usize = all(state, name).map(|d| state.instances_of(d.id).filter(|i| live(i)).count()).sum();
    if count <= wanted as usize + 1 { Ok(()) } else { Err(format!("{count} of {name:?} may run, {wanted} are wanted")) }
}

/// What served and is told to give way leaves as many behind as are to serve. What ends in the same entry for a reason of its own, such as
/// a drain that is over, counts as left: it is not for the sake of the update that it goes.
fn gave_way(before: &State, after: &State, deployment: &Deployment, (old, new): (&Instance, &Instance)) -> Checked {
    let told = old.goal == Goal::Run && new.goal > Goal::Run && new.stop_cause == Some(StopCause::Superseded);
    let Some(was) = before.deployment(deployment.id) else { return Ok(()) };
    let going = deployment.deleting && !failed(deployment);
    if !told || !before.serves(old, was) || going {
        return Ok(());
    }
    let name = named(deployment);
    let parent = if deployment.deleting || failed(deployment) {
        deployment.parent.and_then(|id| after.deployment(id)).filter(|p| !p.deleting && !p.status.is_final())
    } else {
        after.deployment(deployment.id)
    };
    // Where there is no room for both, one makes room for the other; an entry that does so may note that there is room now.
    let had_room = |p: &Deployment| before.deployment(p.id).is_none_or(|p| p.placement_failure.is_none());
    let Some(parent) = parent.filter(|p| p.placement_failure.is_none() && had_room(p)) else { return Ok(()) };
    let child = all(after, &name).find(|d| d.parent == Some(parent.id) && d.is_rolling_out());
    let wanted = super::scaling::wanted;
    let least = child.map_or(wanted(parent), |child| wanted(child).min(wanted(parent)));
    let ended = |i: &Instance, d: &Deployment| {
        let served = before.instance(i.id).is_some_and(|i| before.serves(i, d));
        served && i.goal > Goal::Run && !matches!(i.stop_cause, Some(StopCause::Superseded | StopCause::MakesRoom))
    };
    let left = |d: &Deployment| after.instances_of(d.id).filter(|i| after.serves(i, d) || ended(i, d)).count();
    let serving: usize = all(after, &name).map(left).sum();
    if serving >= least as usize {
        return Ok(());
    }
    Err(format!("{} of {name:?} gave way, {serving} are left of {least}", new.id))
}
