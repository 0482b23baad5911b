//! What a driver is told, and what it tells.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ring_types::{DeploymentId, DeploymentSpec, Generation, InstanceId, Outcome, RuntimeKind, Timestamp};

/// One instance to be made. Its environment has secrets in it: not to be written to disk or to a log.
#[derive(Clone)]
pub struct Workload {
    /// The instance.
    pub instance: InstanceId,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Generation of the assignment, for the label.
    pub generation: Generation,
    /// What to run.
    pub spec: Arc<DeploymentSpec>,
    /// The whole environment, secret values included.
    pub environment: BTreeMap<String, String>,
    /// Files of configs and secrets it is to see, one for each such mount of the specification.
    pub files: Vec<MountedFile>,
    /// How to log in to the image's registry; None: without, or as the host's own client does when the specification says so.
    pub registry: Option<RegistryLogin>,
}

/// A config's key or a secret, shown to the instance as one read-only file.
#[derive(Clone)]
pub struct MountedFile {
    /// Absolute path in the instance.
    pub destination: String,
    /// Its bytes.
    pub content: Bytes,
    /// It must not reach a disk: it is kept on a file system in memory.
    pub secret: bool,
}

impl fmt::Debug for MountedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedFile")
            .field("destination", &self.destination)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

/// Credentials of a registry.
#[derive(Clone)]
pub struct RegistryLogin {
    /// The registry; None: the one the image's name says.
    pub server: Option<String>,
    /// Account.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin").field("server", &self.server).field("username", &self.username).finish_non_exhaustive()
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload").field("instance", &self.instance).field("deployment", &self.deployment).finish_non_exhaustive()
    }
}

/// What preparing found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Digest of the image, when there is one.
    pub image_digest: Option<String>,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The runtime knows nothing of it.
    Absent,
    /// Made, never started.
    Created,
    /// Its process is alive.
    Running {
        /// Since when.
        started_at: Timestamp,
        /// Its own network address, when it has one.
        address: Option<String>,
    },
    /// It ended.
    Exited {
        /// How.
        outcome: Outcome,
        /// When it started, if it did.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
    },
}

/// An instance found on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub instance: InstanceId,
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Which runtime has it.
    pub runtime: RuntimeKind,
    /// How it is.
    pub observed: Observed,
}
