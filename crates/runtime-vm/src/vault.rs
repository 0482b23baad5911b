//! What an instance needs and no disk may have: its environment and the files of its configs and secrets.
//!
//! They are kept in memory from prepare until the guest has them for good, and in a file on tmpfs, so that an agent that is started
//! again can start what it prepared before and run commands in what runs. Where there is no tmpfs an agent that is started again
//! does without.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring_runtime::{MountedFile, Workload, private_tmpfs};
use ring_types::InstanceId;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

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

/// Bytes of a file, written as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Content(pub(crate) Vec<u8>);

impl From<Content> for String {
    fn from(content: Content) -> Self {
        STANDARD.encode(content.0)
    }
}

impl TryFrom<String> for Content {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
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

/// What is kept of all instances.
#[derive(Default)]
pub(crate) struct Vault {
    memory: Mutex<HashMap<InstanceId, Kept>>,
    /// A directory of ours on tmpfs; None where there is none.
    dir: Option<PathBuf>,
}

impl Vault {
    pub(crate) fn open() -> Self {
        let dir = private_tmpfs("ring-vm-env");
        if dir.is_none() {
            tracing::warn!("no tmpfs for environments: what is prepared but not started is not started after a restart");
        }
        Self { memory: Mutex::default(), dir }
    }

    pub(crate) fn keep(&self, instance: InstanceId, kept: Kept) {
        if let Some(path) = self.path(instance)
            && let Err(error) = write(&path, &kept)
        {
            tracing::warn!(%instance, %error, "the environment is kept in memory only");
        }
        self.memory().insert(instance, kept);
    }

    pub(crate) fn get(&self, instance: InstanceId) -> Option<Kept> {
        let kept = self.memory().get(&instance).cloned();
        kept.or_else(|| serde_json::from_slice(&fs::read(self.path(instance)?).ok()?).ok())
    }

    pub(crate) fn forget(&self, instance: InstanceId) {
        self.memory().remove(&instance);
        // Most often there is none any more.
        let _ = self.path(instance).map(fs::remove_file);
    }

    fn path(&self, instance: InstanceId) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(instance.to_string()))
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<InstanceId, Kept>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let text = serde_json::to_vec(kept)?;
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(no_follow);
    options.open(path)?.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_survives_the_memory_and_is_forgotten_everywhere() {
        let first = Vault::open();
        if first.dir.is_none() {
            println!("not run: there is no tmpfs here");
            return;
        }
        let instance: InstanceId = format!("{:032x}", u128::from(std::process::id()) << 64).parse().unwrap();
        let file = KeptFile { destination: "/etc/a".to_owned(), content: Content(vec![0, 255, 10]), secret: true };
        let environment = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let kept = Kept { environment, files: vec![file] };
        first.keep(instance, kept.clone());
        assert_eq!(Vault::open().get(instance), Some(kept));
        first.forget(instance);
        assert_eq!(first.get(instance), None);
        assert_eq!(Vault::open().get(instance), None);
    }
}
