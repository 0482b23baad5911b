//! Named volumes: objects of their own, each local one tied to the node that holds its data.

use std::sync::Arc;

use ring_types::{NodeId, VolumeDriver, VolumeId};

use super::{Done, Tx};
use crate::{ApplyDeployment, CreateVolume, Deployment, Refusal, RefusalCode, Reply, Row, RowKey, Volume};

impl Tx<'_> {
    pub(super) fn create_volume(&mut self, wanted: &CreateVolume) -> Done {
        let (namespace, name) = (&wanted.namespace, &wanted.name);
        if self.state.volume_named(namespace, name).is_some() || self.state.volume(wanted.id).is_some() {
            return Err(Refusal::conflict(format!("volume '{namespace}/{name}' exists already")));
        }
        let local = wanted.driver == VolumeDriver::Local;
        if local == wanted.source.is_some() || (!local && wanted.node.is_some()) {
            let message = format!("volume '{namespace}/{name}': nfs needs a source and no node, local has no source");
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if let Some(node) = wanted.node.filter(|node| self.state.node(*node).is_none()) {
            return Err(Refusal::not_found(format!("node '{node}'")));
        }
        self.ensure_namespace(namespace);
        self.put_new_volume(wanted.clone());
        Ok(Reply::Done)
    }

    fn put_new_volume(&mut self, wanted: CreateVolume) {
        let CreateVolume { id, namespace, name, driver, source, labels, node } = wanted;
        let (created_at, updated_at, version) = (self.at, self.at, self.revision);
        let volume = Volume { id, namespace, name, driver, source, labels, node, created_at, updated_at, version };
        self.put(Row::Volume(Arc::new(volume)));
    }

    /// Makes the local volumes a deployment names that are not there. One on a file server cannot be made without knowing
    /// where: the planner says what is missing.
    pub(super) fn ensure_volumes(&mut self, wanted: &ApplyDeployment) {
        let spec = &wanted.spec;
        for (mount, name) in spec.named_volumes() {
            let missing = mount.driver == VolumeDriver::Local && self.state.volume_named(&spec.namespace, &name).is_none();
            let Some(id) = wanted.volumes.get(name.as_str()).copied().filter(|_| missing) else { continue };
            if self.state.volume(id).is_some() {
                continue;
            }
            let (namespace, driver) = (spec.namespace.clone(), VolumeDriver::Local);
            let (source, labels, node) = (None, std::collections::BTreeMap::new(), None);
            self.put_new_volume(CreateVolume { id, namespace, name, driver, source, labels, node });
        }
    }

    /// Every volume an instance is to mount by name is there, and none has its data elsewhere.
    pub(super) fn volumes_allow(&self, node: NodeId, deployment: &Deployment) -> bool {
        let here = |volume: &Volume| volume.driver != VolumeDriver::Local || volume.node.is_none_or(|on| on == node);
        self.state.mounted(&deployment.spec).all(|(_, volume)| volume.is_some_and(|volume| here(volume)))
    }

    /// The data of the local volumes an instance mounts is on its node from now on.
    pub(super) fn bind_volumes(&mut self, node: NodeId, deployment: &Deployment) {
        let unbound = |volume: &&Arc<Volume>| volume.driver == VolumeDriver::Local && volume.node.is_none();
        let found: Vec<_> =
            self.state.mounted(&deployment.spec).filter_map(|(_, volume)| volume).filter(unbound).cloned().collect();
        for volume in found {
            let bound = Volume { node: Some(node), updated_at: self.at, version: self.revision, ..Volume::clone(&volume) };
            self.put(Row::Volume(Arc::new(bound)));
        }
    }

    pub(super) fn delete_volume(&mut self, id: VolumeId, force: bool) -> Done {
        let volume = self.state.volume(id).cloned().ok_or_else(|| Refusal::not_found(format!("volume '{id}'")))?;
        let user = self.state.users_of(&volume).next().map(|d| (d.spec.name.clone(), d.deleting));
        if let Some((user, going)) = user.filter(|_| !force) {
            let still = if going { ", which has not stopped yet" } else { "" };
            let (namespace, name) = (&volume.namespace, &volume.name);
            let message = format!("volume '{namespace}/{name}' is used by deployment '{user}'{still}; use force to delete it");
            return Err(Refusal::conflict(message));
        }
        self.delete(RowKey::Volume(id));
        Ok(Reply::Done)
    }
}
