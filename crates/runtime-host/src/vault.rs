//! What an instance needs and no disk may have: its environment and the files of its configs and secrets.
//!
//! They are kept in memory until they are forgotten, and in a file on tmpfs, so that an agent that is started again
//! can start what it prepared before and run commands in what runs. Where there is no tmpfs an agent that is started again
//! does without.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring_runtime::private_tmpfs;
use ring_types::InstanceId;
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of a file, written as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Content(pub Vec<u8>);

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

/// What is kept of all instances.
pub struct Vault<Kept> {
    memory: Mutex<HashMap<InstanceId, Kept>>,
    /// A directory of ours on tmpfs; None where there is none.
    dir: Option<PathBuf>,
}

impl<Kept: Clone + Serialize + DeserializeOwned> Vault<Kept> {
    /// Opens the vault of this name, which is a driver's own.
    pub fn open(name: &str) -> Self {
        let dir = private_tmpfs(name);
        if dir.is_none() {
            tracing::warn!("no tmpfs for environments: what is prepared but not started is not started after a restart");
        }
        Self { memory: Mutex::default(), dir }
    }

    /// Keeps what an instance needs.
    pub fn keep(&self, instance: InstanceId, kept: Kept) {
        if let Some(path) = self.path(instance)
            && let Err(error) = write(&path, &kept)
        {
            tracing::warn!(%instance, %error, "the environment is kept in memory only");
        }
        self.memory().insert(instance, kept);
    }

    /// What was kept of an instance, by an earlier run of the agent too.
    pub fn get(&self, instance: InstanceId) -> Option<Kept> {
        let kept = self.memory().get(&instance).cloned();
        kept.or_else(|| serde_json::from_slice(&fs::read(self.path(instance)?).ok()?).ok())
    }

    /// It is needed no more.
    pub fn forget(&self, instance: InstanceId) {
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

fn write(path: &Path, kept: &impl Serialize) -> io::Result<()> {
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
        let open = || Vault::<Vec<Content>>::open("ring-vault-test");
        let first = open();
        if first.dir.is_none() {
            println!("not run: there is no tmpfs here");
            return;
        }
        let instance: InstanceId = format!("{:032x}", u128::from(std::process::id()) << 64).parse().unwrap();
        let kept = vec![Content(vec![0, 255, 10])];
        first.keep(instance, kept.clone());
        assert_eq!(open().get(instance), Some(kept));
        first.forget(instance);
        assert_eq!(first.get(instance), None);
        assert_eq!(open().get(instance), None);
    }
}
