//! What an instance needs and no disk may have, from prepare until the instance is removed.

use std::collections::BTreeMap;

use ring_runtime::Workload;
use ring_runtime_host::vault;
pub(crate) use ring_runtime_host::vault::Content;
use serde::{Deserialize, Serialize};

/// What is kept of all instances.
pub(crate) type Vault = vault::Vault<Kept>;

/// The directory of it on tmpfs.
pub(crate) const NAME: &str = "ring-env";

/// What is kept of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) environment: BTreeMap<String, String>,
    /// Contents, in the order of the workload's files.
    #[serde(default)]
    pub(crate) files: Vec<Content>,
}

impl Kept {
    pub(crate) fn of(workload: &Workload) -> Self {
        let files = workload.files.iter().map(|file| Content(file.content.to_vec())).collect();
        Self { environment: workload.environment.clone(), files }
    }
}
