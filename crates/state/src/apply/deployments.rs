//! Apply, delete and prune of deployments.

use std::collections::BTreeSet;
use std::sync::Arc;

use ring_types::{Condition, DeploymentId, DeploymentSpec, DeploymentStatus, Name, Span};

use super::{Done, EventAt, Tx};
use crate::{
    ApplyConfig, ApplyDeployment, Deployment, DeploymentOutcome, EventKind, EventLevel, Outcome, Previous, Refusal, RefusalCode,
    RegistryPassword, Reply, Rollout, RolloutPhase, Row, dependency_circle, limits,
};

/// How a changed deployment takes the place of the one before.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// All at once, even what is unchanged.
    pub(super) force: bool,
    /// Of a rolling update.
    pub(super) deadline: Span,
}

impl Manner {
    pub(super) fn new(force: bool, deadline: Option<Span>) -> Self {
        Self { force, deadline: deadline.unwrap_or(limits::ROLLOUT_DEADLINE) }
    }
}

/// What a new record follows.
pub(super) enum Follows<'a> {
    /// Nothing that stands; something that is still going, perhaps.
    Going(Option<DeploymentId>),
    /// It replaces this one.
    Replaced(&'a Deployment),
    /// It takes the place of this one, one instance at a time.
    Rolling(&'a Deployment, Span),
}

impl Tx<'_> {
    /// What a deployment needs comes before it. Whoever applies checked that the same object is not there twice.
    pub(super) fn apply_manifest(
        &mut self,
        namespaces: &[Name],
        configs: &[ApplyConfig],
        deployments: &[ApplyDeployment],
        manner: Manner,
    ) -> Done {
        for namespace in namespaces {
            self.ensure_namespace(namespace);
        }
        for config in configs {
            self.apply_config(config);
        }
        self.apply_deployments(deployments, manner)
    }

    fn apply_deployments(&mut self, wanted: &[ApplyDeployment], manner: Manner) -> Done {
        if wanted.len() > limits::DEPLOYMENTS_PER_APPLY {
            let message =
                format!("{} deployments in one apply, at most {} are allowed", wanted.len(), limits::DEPLOYMENTS_PER_APPLY);
            return Err(Refusal::new(RefusalCode::LimitReached, message));
        }
        let mut names = BTreeSet::new();
        for one in wanted {
            one.registry_password.iter().try_for_each(|password| self.check_key(password.key))?;
            let (namespace, name) = (&one.spec.namespace, &one.spec.name);
            if !names.insert((namespace, name)) {
                return Err(Refusal::conflict(format!("deployment '{namespace}/{name}' is in the manifest twice")));
            }
            if self.state.deployment(one.id).is_some() {
                return Err(Refusal::conflict(format!("deployment id {} is taken", one.id)));
            }
        }
        let circle = dependency_circle(self.state, wanted.iter().map(|one| &*one.spec));
        if !circle.is_empty() {
            return Err(Refusal::conflict(format!("these deployments wait for each other: {}", circle.join(", "))));
        }
        Ok(Reply::Deployments(wanted.iter().map(|one| self.apply_one(one, manner)).collect()))
    }

    fn apply_one(&mut self, wanted: &ApplyDeployment, manner: Manner) -> DeploymentOutcome {
        let spec = &wanted.spec;
        self.ensure_namespace(&spec.namespace);
        self.ensure_volumes(wanted);
        let Some(current) = self.state.deployment_named(&spec.namespace, &spec.name).cloned() else {
            let waits_for = self.still_going(&spec.namespace, &spec.name);
            self.clear_failed_updates(spec);
            self.create(wanted, &Follows::Going(waits_for));
            return DeploymentOutcome { id: wanted.id, outcome: Outcome::Created };
        };
        if !manner.force
            && let Some(outcome) = self.adjust(&current, wanted)
        {
            return outcome;
        }
        let rolls = !manner.force && !wanted.spec.health_checks.is_empty();
        self.succeed(&current, wanted, rolls.then_some(manner.deadline))
    }

    /// What needs no new record: nothing, another number of replicas, or the end of a rolling update under way.
    fn adjust(&mut self, current: &Arc<Deployment>, wanted: &ApplyDeployment) -> Option<DeploymentOutcome> {
        let spec = &wanted.spec;
        let same = is_alike(current, wanted);
        if same && *current.spec == **spec {
            return Some(DeploymentOutcome { id: current.id, outcome: Outcome::Unchanged });
        }
        if same && !current.status.is_final() {
            self.scale(current, spec.replicas);
            return Some(DeploymentOutcome { id: current.id, outcome: Outcome::Scaled });
        }
        let parent = self.state.parent_of(current).cloned()?;
        is_alike(&parent, wanted).then(|| self.call_off(current, &parent, Some(spec.replicas)))
    }

    /// A new record takes the place of the one that stands: one instance at a time within this deadline if that can be, else
    /// all at once.
    pub(super) fn succeed(
        &mut self,
        current: &Arc<Deployment>,
        wanted: &ApplyDeployment,
        rolls: Option<Span>,
    ) -> DeploymentOutcome {
        let under_way = self.state.parent_of(current).cloned();
        // During a rolling update it is the parent that still serves.
        let base = under_way.as_ref().unwrap_or(current).clone();
        let active = under_way.is_some() || !base.status.is_final();
        let deadline = rolls.filter(|_| active && base.can_roll_to(&wanted.spec));
        self.clear_failed_updates(&wanted.spec);
        let outcome = if let Some(deadline) = deadline {
            if under_way.is_some() {
                self.mark_deleting(current, &format!("its rolling update gives way to {}", wanted.id));
            }
            self.create(wanted, &Follows::Rolling(&base, deadline));
            self.begin_rollout(&base, wanted.id);
            Outcome::Updated(base.id)
        } else {
            let source = Deployment { id: current.id, ..Deployment::clone(&base) };
            self.create(wanted, &Follows::Replaced(&source));
            let why = format!("replaced by {}", wanted.id);
            self.mark_deleting(current, &why);
            if let Some(parent) = under_way.and_then(|parent| self.state.deployment(parent.id).cloned()) {
                self.mark_deleting(&parent, &why);
            }
            Outcome::Replaced(current.id)
        };
        DeploymentOutcome { id: wanted.id, outcome }
    }

    /// The newest record of this name that is being deleted: what takes its place waits until it has stopped.
    fn still_going(&self, namespace: &Name, name: &Name) -> Option<DeploymentId> {
        self.state.deployments_named(namespace, name).max_by_key(|d| (d.created_at, d.version)).map(|d| d.id)
    }

    fn create(&mut self, wanted: &ApplyDeployment, follows: &Follows<'_>) {
        let (before, replaces, rollout) = match follows {
            Follows::Going(going) => (None, *going, None),
            Follows::Replaced(old) => (Some(*old), Some(old.id), None),
            Follows::Rolling(parent, deadline) => {
                let phase = RolloutPhase::Progressing;
                (Some(*parent), None, Some(Rollout { phase, deadline: *deadline, progress_at: self.at, ready: 0 }))
            }
        };
        let deployment = Deployment {
            id: wanted.id,
            spec: wanted.spec.clone(),
            created_at: self.at,
            updated_at: self.at,
            status: DeploymentStatus::Pending,
            reason: String::new(),
            message: String::new(),
            conditions: rollout.iter().map(|_| Condition::RollingOut).collect(),
            restart_count: 0,
            start_failures: 0,
            parent: before.filter(|_| rollout.is_some()).map(|parent| parent.id),
            replaces,
            deleting: false,
            exit: None,
            image_digest: None,
            placement_failure: None,
            rollout,
            previous: before.and_then(|before| previous(before, wanted)),
            released: false,
            scale: before.and_then(|before| before.handed_on(&wanted.spec)),
            registry_password: wanted.registry_password.clone(),
            version: self.revision,
        };
        self.tell_status(&deployment, None);
        self.put(Row::Deployment(Arc::new(deployment)));
        let message = format!("{} '{}/{}' created", wanted.spec.kind, wanted.spec.namespace, wanted.spec.name);
        self.event(wanted.id, EventLevel::Info, EventKind::Created, EventAt::NOTHING, message);
        self.give_hope(&wanted.spec);
    }

    /// Who waits for this name, directly or through others, waited for another record of it: what was said of that does not
    /// count any more. Said in the same entry, so that nobody who applied this reads the old.
    fn give_hope(&mut self, spec: &DeploymentSpec) {
        let mut names = vec![(spec.namespace.clone(), spec.name.clone())];
        while let Some((namespace, name)) = names.pop() {
            let dependents: Vec<_> = self.state.dependents_of(&namespace, &name).collect();
            for dependent in dependents.iter().filter_map(|id| self.state.deployment(*id)).cloned().collect::<Vec<_>>() {
                let waits = dependent.conditions.contains(&Condition::Waiting) && !dependent.reason.is_empty();
                if waits && !dependent.deleting {
                    self.edit_deployment(&dependent, |d| (d.reason, d.message) = (String::new(), String::new()));
                    names.push((dependent.spec.namespace.clone(), dependent.spec.name.clone()));
                }
            }
        }
    }

    /// Another number of replicas. During a rolling update both versions get it: either may be the one that stays.
    pub(super) fn scale(&mut self, current: &Arc<Deployment>, replicas: u32) {
        let mut all = vec![current.clone()];
        all.extend(self.state.parent_of(current).cloned());
        for one in all.iter().filter(|one| one.spec.replicas != replicas) {
            let message = format!("replicas {} to {replicas}", one.spec.replicas);
            let spec = Arc::new(DeploymentSpec { replicas, ..DeploymentSpec::clone(&one.spec) });
            self.edit_deployment(one, |d| {
                d.scale = one.handed_on(&spec);
                d.spec = spec;
            });
            self.tell_scaled(one, (one.spec.replicas, replicas), "", &message);
            self.event(one.id, EventLevel::Info, EventKind::Scaled, EventAt::NOTHING, message);
        }
    }

    /// Changes a deployment and stamps it.
    pub(super) fn edit_deployment(&mut self, current: &Arc<Deployment>, edit: impl FnOnce(&mut Deployment)) {
        let mut changed = Deployment::clone(current);
        edit(&mut changed);
        changed.updated_at = self.at;
        changed.version = self.revision;
        self.put(Row::Deployment(Arc::new(changed)));
    }

    pub(super) fn delete_deployments(&mut self, ids: &[DeploymentId]) -> Done {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let deployment = self.state.deployment(*id).ok_or_else(|| Refusal::not_found(format!("deployment '{id}'")))?;
            found.push(deployment.id);
        }
        for id in found {
            self.delete_one(id, "deletion requested");
        }
        Ok(Reply::Deleted(ids.to_vec()))
    }

    /// One that goes may have changed another that goes with it.
    fn delete_one(&mut self, id: DeploymentId, why: &str) {
        if let Some(deployment) = self.state.deployment(id).filter(|d| !d.deleting).cloned() {
            self.mark_deleting(&deployment, why);
        }
    }

    pub(super) fn prune(&mut self, namespace: &Name, all: bool) -> Done {
        if self.state.namespace(namespace).is_none() {
            return Err(Refusal::not_found(format!("namespace '{namespace}'")));
        }
        let active =
            |s: DeploymentStatus| matches!(s, DeploymentStatus::Pending | DeploymentStatus::Creating | DeploymentStatus::Running);
        let going = self.state.deployments_in(namespace).filter(|d| !d.deleting && (all || !active(d.status)));
        let gone: Vec<_> = going.map(|d| d.id).collect();
        for id in &gone {
            self.delete_one(*id, "pruned");
        }
        Ok(Reply::Deleted(gone))
    }

    /// A deployment is to go. A rolling update it is part of is over: without its parent the child stands alone, without the
    /// child the parent stays.
    pub(super) fn mark_deleting(&mut self, deployment: &Arc<Deployment>, why: &str) {
        self.edit_deployment(deployment, |d| {
            d.deleting = true;
            d.status = DeploymentStatus::Deleted;
            if let Some(rollout) = d.rollout.as_mut().filter(|rollout| rollout.phase == RolloutPhase::Progressing) {
                rollout.phase = RolloutPhase::Failed;
            }
        });
        self.event(deployment.id, EventLevel::Info, EventKind::Deleting, EventAt::NOTHING, why.to_owned());
        self.tell_new_status(deployment);
        if deployment.is_rolling_out() {
            self.tell_rollout(deployment, Some("started"), "called_off", why);
        }
        if let Some(child) = self.state.child_of(deployment).cloned() {
            self.set_phase(&child, RolloutPhase::Completed);
            self.tell_rollout(&child, Some("started"), "completed", why);
        }
    }
}

fn digest(password: Option<&RegistryPassword>) -> Option<&[u8; 32]> {
    password.map(|password| &password.digest)
}

/// It is what is asked for, but for the number of replicas.
fn is_alike(deployment: &Deployment, wanted: &ApplyDeployment) -> bool {
    let same_password = digest(deployment.registry_password.as_ref()) == digest(wanted.registry_password.as_ref());
    same_password && only_replicas_differ(&deployment.spec, &wanted.spec)
}

fn only_replicas_differ(old: &DeploymentSpec, new: &DeploymentSpec) -> bool {
    let mut scaled = old.clone();
    scaled.replicas = new.replicas;
    scaled == *new
}

/// What a new record can go back to: what it takes the place of, or what that could go back to when it is the same but for the
/// number of replicas.
fn previous(before: &Deployment, wanted: &ApplyDeployment) -> Option<Arc<Previous>> {
    if is_alike(before, wanted) {
        return before.previous.clone();
    }
    Some(Arc::new(Previous { spec: before.spec.clone(), registry_password: before.registry_password.clone() }))
}
