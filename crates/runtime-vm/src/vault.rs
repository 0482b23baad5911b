//! What an instance needs and no disk may have, from prepare until the guest has it for good.

use std::collections::BTreeMap;

use ring_runtime::{MountedFile, Workload};
use ring_runtime_host::vault::{self, Content};
use serde::{Deserialize, Serialize};

/// What is kept of all instances.
pub(crate) type Vault = vault::Vault<Kept>;

/// The directory of it on tmpfs.
pub(crate) const NAME: &str = "ring-vm-env";

/// What is kept of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) environment: BTreeMap<String, String>,
    /// Configs and secrets.
    pub(crate) files: Vec<KeptFile>,
}

/// One file of a config or a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptFile {
    pub(crate) destination: String,
    pub(crate) content: Content,
    pub(crate) secret: bool,
}

impl From<KeptFile> for MountedFile {
    fn from(file: KeptFile) -> Self {
        Self { destination: file.destination, content: file.content.0.into(), secret: file.secret }
    }
}

impl Kept {
    pub(crate) fn of(workload: &Workload) -> Self {
        let kept = |file: &MountedFile| KeptFile {
            destination: file.destination.clone(),
            content: Content(file.content.to_vec()),
            secret: file.secret,
        };
        let files = workload.files.iter().map(kept).collect();
        Self { environment: workload.environment.clone(), files }
    }
}
