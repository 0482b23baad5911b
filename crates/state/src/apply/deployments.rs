//! Apply, delete and prune of deployments.

use std::collections::BTreeSet;
use std::sync::Arc;

use ring_types::{Condition, DeploymentId, DeploymentSpec, DeploymentStatus, Name};

use super::{Done, EventAt, Tx};
use crate::{
    ApplyConfig, ApplyDeployment, Deployment, DeploymentOutcome, EventKind, EventLevel, Outcome, Refusal, RefusalCode,
    RegistryPassword, Reply, Row, Scale, dependency_circle, limits,
};

impl Tx<'_> {
    /// What a deployment needs comes before it. Whoever applies checked that the same object is not there twice.
    pub(super) fn apply_manifest(
        &mut self,
        namespaces: &[Name],
        configs: &[ApplyConfig],
        deployments: &[ApplyDeployment],
        force: bool,
    ) -> Done {
        for namespace in namespaces {
            self.ensure_namespace(namespace);
        }
        for config in configs {
            self.apply_config(config);
        }
        self.apply_deployments(deployments, force)
    }

    fn apply_deployments(&mut self, wanted: &[ApplyDeployment], force: bool) -> Done {
        if wanted.len() > limits::DEPLOYMENTS_PER_APPLY {
            let message =
                format!("{} deployments in one apply, at most {} are allowed", wanted.len(), limits::DEPLOYMENTS_PER_APPLY);
            return Err(Refusal::new(RefusalCode::LimitReached, message));
        }
        let mut names = BTreeSet::new();
        for one in wanted {
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
        Ok(Reply::Deployments(wanted.iter().map(|one| self.apply_one(one, force)).collect()))
    }

    fn apply_one(&mut self, wanted: &ApplyDeployment, force: bool) -> DeploymentOutcome {
        let spec = &wanted.spec;
        self.ensure_namespace(&spec.namespace);
        self.ensure_volumes(wanted);
        let Some(current) = self.state.deployment_named(&spec.namespace, &spec.name).cloned() else {
            let waits_for = self.still_going(&spec.namespace, &spec.name);
            self.create(wanted, waits_for, None);
            return DeploymentOutcome { id: wanted.id, outcome: Outcome::Created };
        };
        let same_password = digest(current.registry_password.as_ref()) == digest(wanted.registry_password.as_ref());
        let keep = !force && same_password;
        if keep && *current.spec == **spec {
            return DeploymentOutcome { id: current.id, outcome: Outcome::Unchanged };
        }
        if keep && only_replicas_differ(&current.spec, spec) && !current.status.is_final() {
            self.scale(&current, spec);
            return DeploymentOutcome { id: current.id, outcome: Outcome::Scaled };
        }
        self.create(wanted, Some(current.id), current.handed_on(spec));
        self.mark_deleting(&current, &format!("replaced by {}", wanted.id));
        DeploymentOutcome { id: wanted.id, outcome: Outcome::Replaced(current.id) }
    }

    /// The newest record of this name that is being deleted: what takes its place waits until it has stopped.
    fn still_going(&self, namespace: &Name, name: &Name) -> Option<DeploymentId> {
        self.state.deployments_named(namespace, name).max_by_key(|d| (d.created_at, d.version)).map(|d| d.id)
    }

    fn create(&mut self, wanted: &ApplyDeployment, replaces: Option<DeploymentId>, scale: Option<Scale>) {
        let deployment = Deployment {
            id: wanted.id,
            spec: wanted.spec.clone(),
            created_at: self.at,
            updated_at: self.at,
            status: DeploymentStatus::Pending,
            reason: String::new(),
            message: String::new(),
            conditions: Vec::new(),
            restart_count: 0,
            start_failures: 0,
            parent: None,
            replaces,
            deleting: false,
            exit: None,
            image_digest: None,
            placement_failure: None,
            released: false,
            scale,
            registry_password: wanted.registry_password.clone(),
            version: self.revision,
        };
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

    fn scale(&mut self, current: &Arc<Deployment>, spec: &Arc<DeploymentSpec>) {
        let message = format!("replicas {} to {}", current.spec.replicas, spec.replicas);
        self.edit_deployment(current, |d| {
            d.scale = current.handed_on(spec);
            d.spec = spec.clone();
        });
        self.event(current.id, EventLevel::Info, EventKind::Scaled, EventAt::NOTHING, message);
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
            found.push(deployment.clone());
        }
        for deployment in found.iter().filter(|d| !d.deleting) {
            self.mark_deleting(deployment, "deletion requested");
        }
        Ok(Reply::Deleted(ids.to_vec()))
    }

    pub(super) fn prune(&mut self, namespace: &Name, all: bool) -> Done {
        if self.state.namespace(namespace).is_none() {
            return Err(Refusal::not_found(format!("namespace '{namespace}'")));
        }
        let active =
            |s: DeploymentStatus| matches!(s, DeploymentStatus::Pending | DeploymentStatus::Creating | DeploymentStatus::Running);
        let gone: Vec<_> =
            self.state.deployments_in(namespace).filter(|d| !d.deleting && (all || !active(d.status))).cloned().collect();
        for deployment in &gone {
            self.mark_deleting(deployment, "pruned");
        }
        Ok(Reply::Deleted(gone.iter().map(|d| d.id).collect()))
    }

    fn mark_deleting(&mut self, deployment: &Arc<Deployment>, why: &str) {
        self.edit_deployment(deployment, |d| {
            d.deleting = true;
            d.status = DeploymentStatus::Deleted;
        });
        self.event(deployment.id, EventLevel::Info, EventKind::Deleting, EventAt::NOTHING, why.to_owned());
    }
}

fn digest(password: Option<&RegistryPassword>) -> Option<&[u8; 32]> {
    password.map(|password| &password.digest)
}

fn only_replicas_differ(old: &DeploymentSpec, new: &DeploymentSpec) -> bool {
    let mut scaled = old.clone();
    scaled.replicas = new.replicas;
    scaled == *new
}
