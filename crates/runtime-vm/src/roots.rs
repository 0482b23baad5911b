//! Where the root file systems of OCI images come from.

use std::path::PathBuf;

use async_trait::async_trait;
use ring_runtime::{RuntimeError, Workload};
use serde::{Deserialize, Serialize};

/// The root file system of an OCI image and what the image says of how it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    /// A file with the file system, which instances share and none writes to.
    pub disk: PathBuf,
    /// Digest of the image.
    pub digest: String,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Its arguments when the deployment gives none.
    pub cmd: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// User: a name or a number, and after a colon the group's. None: root.
    pub user: Option<String>,
    /// Working directory. None: `/`.
    pub working_dir: Option<String>,
    /// Signal that asks it to end: a name or a number. None: SIGTERM.
    pub stop_signal: Option<String>,
}

/// Gets the root file system of a workload's image onto the host.
#[async_trait]
pub trait Roots: Send + Sync + 'static {
    /// Fetches what is missing, as the workload's pull policy says. May take minutes; dropping the future cancels it. The disk
    /// stays as long as an instance has it.
    async fn ensure(&self, workload: &Workload) -> Result<RootImage, RuntimeError>;
}
