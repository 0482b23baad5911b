//! One deployment: what is common to workers and jobs, and how a deployment goes.

use ring_state::{Action, Deployment, PlacementFailure, PlacementNote, State};
use ring_types::{DeploymentStatus, Goal, InstanceState, Kind, NodeId, OnNodeLoss, StopCause, Timestamp};

use crate::dependencies::{self, Unmet};
use crate::output::Output;
use crate::pause::Times;
use crate::place::{Own, Placer, Refused, alike};
use crate::references::{self, Missing};
use crate::view::{self, View};
use crate::{IdSource, Moment, before, job, worker};

/// A deployment being planned.
pub(crate) struct Turn<'a, 't> {
    pub(crate) state: &'a State,
    pub(crate) deployment: &'a Deployment,
    pub(crate) now: Timestamp,
    pub(crate) leading_since: Timestamp,
    pub(crate) views: Vec<View<'a>>,
    pub(crate) placer: &'t mut Placer<'a>,
    pub(crate) ids: &'t mut dyn IdSource,
    pub(crate) out: &'t mut Output,
    /// How many instances it is to have now.
    pub(crate) wanted: u32,
    /// How many it may make now; None: as many as are missing.
    pub(crate) room: Option<u32>,
    /// Where the next one goes that takes the place of one that moves.
    pub(crate) target: Option<NodeId>,
    /// It is placed as if there were no other version.
    pub(crate) beside: bool,
    /// What is missing of it made room for a new version: it is no news that there is none.
    pub(crate) gave_way: bool,
    own: Option<Own>,
    times: Option<Times>,
}

/// Something that keeps instances from being made.
pub(crate) enum Hindrance {
    /// What this deployment replaces has not ended yet.
    Predecessor,
    /// What it depends on is not there yet.
    Dependency(Unmet),
    /// A secret or config is not there.
    Reference(Missing),
    /// No node takes it.
    Nodes(Refused),
}

/// An instance to be made.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) slot: u32,
    pub(crate) attempt: u32,
    /// It follows a crash.
    pub(crate) restart: bool,
}

pub(crate) fn reconcile<'a>(
    state: &'a State,
    deployment: &'a Deployment,
    when: Moment,
    placer: &mut Placer<'a>,
    ids: &mut dyn IdSource,
    out: &mut Output,
) {
    let views = view::instances(state, deployment.id);
    let wanted = deployment.wanted();
    let Moment { now, leading_since } = when;
    let mut turn = Turn {
        state,
        deployment,
        now,
        leading_since,
        views,
        placer,
        ids,
        out,
        wanted,
        room: None,
        target: None,
        beside: false,
        gave_way: false,
        own: None,
        times: None,
    };
    match deployment.spec.kind {
        _ if deployment.deleting => turn.delete(),
        Kind::Worker => worker::plan(&mut turn),
        Kind::Job => job::plan(&mut turn),
    }
}

impl Turn<'_, '_> {
    fn delete(&mut self) {
        let (namespace, name) = (&self.deployment.spec.namespace, &self.deployment.spec.name);
        let followed = self.state.deployment_named(namespace, name).is_some();
        self.make_room();
        let held = self.held();
        let cause = if followed && !self.holds_no_longer() { StopCause::Superseded } else { StopCause::Deleted };
        for view in &mut self.views {
            if view.is_live() && view::node_is_gone(self.state, view.node) {
                view::lose(self.state, view, (self.leading_since, self.now), self.out);
            } else if held.contains(&view.id) {
                continue;
            }
            view::set_goal(view, Goal::Remove, cause, self.out);
        }
        view::forget(self.state, &mut self.views, true, self.out);
        // What came after this one waits for what came before it too: the record stays as the link between them.
        if self.views.iter().all(|view| view.forgotten) && !before::links_to_running(self.state, self.deployment) {
            self.out.push(Action::ForgetDeployment { deployment: self.deployment.id });
        }
    }

    /// Gives up instances on nodes that are lost. One that was never claimed runs nowhere, so even a deployment that waits
    /// for its nodes loses it and makes it anew.
    ///
    /// True when there is one: then nothing else may be decided in this plan. A claim may have been committed meanwhile, and
    /// only once the loss is applied is it known whether the instance may have run.
    pub(crate) fn loses_what_is_gone(&mut self) -> bool {
        let waits = self.deployment.spec.on_node_loss == OnNodeLoss::Wait;
        let mut any = false;
        for view in self.views.iter_mut().filter(|view| view.is_live()) {
            let removed = self.state.node(view.node).is_none();
            let let_go = removed || !waits || view.state == InstanceState::Assigned;
            if let_go && view::node_is_gone(self.state, view.node) {
                any |= view::lose(self.state, view, (self.leading_since, self.now), self.out);
            }
        }
        any
    }

    /// What keeps instances from being made before any node is asked.
    pub(crate) fn hindrance(&self) -> Option<Hindrance> {
        if before::runs(self.state, self.deployment) {
            return Some(Hindrance::Predecessor);
        }
        if let Some(unmet) = dependencies::unmet(self.state, self.deployment) {
            return Some(Hindrance::Dependency(unmet));
        }
        references::missing(self.state, &self.deployment.spec).map(Hindrance::Reference)
    }

    /// Binds a new instance to a node. `Ok(false)`: the plan is full.
    pub(crate) fn create(&mut self, wanted: Wanted) -> Result<bool, Refused> {
        if self.out.is_full() {
            // Marks the deployment as cut short.
            return Ok(self.out.push(Action::ForgiveRestarts { deployment: self.deployment.id }));
        }
        let (state, spec, views) = (self.state, &self.deployment.spec, &self.views);
        let own = self.own.get_or_insert_with(|| Own::of(state, spec, views));
        let node = match self.target.take() {
            Some(node) => self.placer.place_on(node, self.deployment, own),
            None if self.beside => self.placer.place_beside(self.deployment, own),
            None => self.placer.place(self.deployment, own),
        }?;
        let Wanted { slot, attempt, restart } = wanted;
        let id = self.ids.instance();
        self.out.push(Action::CreateInstance { id, deployment: self.deployment.id, slot, attempt, node, restart });
        self.views.push(View::made(id, slot, attempt, node));
        Ok(true)
    }

    /// When things of this deployment happened.
    pub(crate) fn times(&mut self) -> &Times {
        let (state, deployment, now) = (self.state, self.deployment, self.now);
        self.times.get_or_insert_with(|| Times::of(state, deployment, now))
    }

    /// Nothing is made any more: the deployment has come to an end that stands although no instance shows it.
    pub(crate) fn has_given_up(&self) -> bool {
        let given_up = matches!(self.deployment.status, DeploymentStatus::Failed | DeploymentStatus::InsufficientResources);
        given_up && !self.views.iter().any(View::is_live)
    }

    /// Records why instances are missing when that has changed in more than its figures, and returns what is recorded then.
    pub(crate) fn note(&mut self, failure: Option<PlacementFailure>) -> Option<PlacementFailure> {
        let recorded = &self.deployment.placement_failure;
        let same = match (recorded, &failure) {
            (None, None) => true,
            (Some(a), Some(b)) => says_the_same(a, b),
            _ => false,
        };
        if same {
            return recorded.clone();
        }
        let note = PlacementNote { deployment: self.deployment.id, failure: failure.clone() };
        self.out.close(Action::NotePlacement(note));
        failure
    }
}

/// Figures change with every placement in the cluster; only another number of instances or another reason is news.
fn says_the_same(a: &PlacementFailure, b: &PlacementFailure) -> bool {
    let covered = |x: &PlacementFailure, y: &PlacementFailure| {
        x.reasons.iter().all(|one| y.reasons.iter().any(|other| alike(&one.reason, &other.reason)))
    };
    a.missing == b.missing && covered(a, b) && covered(b, a)
}
