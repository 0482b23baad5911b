//! Environments between prepare and start. They may hold secrets, so they are never on a disk: in memory, and, so that an agent
//! that is started again in between can still start what it prepared, in a file on tmpfs until the start.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring_types::InstanceId;
use rustix::fs::{FsWord, OFlags, statfs};

/// What `statfs` calls a tmpfs.
const TMPFS: FsWord = 0x0102_1994;

type Environment = BTreeMap<String, String>;

/// The environments of prepared instances.
#[derive(Default)]
pub(crate) struct Vault {
    memory: Mutex<HashMap<InstanceId, Environment>>,
    /// A directory of ours on tmpfs; None where there is none.
    dir: Option<PathBuf>,
}

impl Vault {
    pub(crate) fn open() -> Self {
        let dir = candidates().into_iter().find(|dir| usable(dir).is_ok());
        if dir.is_none() {
            tracing::warn!("no tmpfs for environments: what is prepared but not started is not started after a restart");
        }
        Self { memory: Mutex::default(), dir }
    }

    pub(crate) fn keep(&self, instance: InstanceId, environment: &Environment) {
        if let Some(path) = self.path(instance)
            && let Err(error) = write(&path, environment)
        {
            tracing::warn!(%instance, %error, "the environment is kept in memory only");
        }
        self.memory().insert(instance, environment.clone());
    }

    pub(crate) fn get(&self, instance: InstanceId) -> Option<Environment> {
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

    fn memory(&self) -> MutexGuard<'_, HashMap<InstanceId, Environment>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn candidates() -> Vec<PathBuf> {
    let user = rustix::process::geteuid();
    let mut all = Vec::new();
    if user.is_root() {
        all.push(PathBuf::from("/run/ring-env"));
    }
    all.extend(std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("ring-env")));
    all.push(PathBuf::from(format!("/dev/shm/ring-env-{}", user.as_raw())));
    all
}

/// Makes the directory when it is not there; it has to be on tmpfs, and ours alone.
fn usable(dir: &Path) -> io::Result<()> {
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    if statfs(dir.parent().ok_or_else(refused)?)?.f_type != TMPFS {
        return Err(refused());
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(dir)?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode().trailing_zeros() >= 6;
    if ours { Ok(()) } else { Err(refused()) }
}

fn write(path: &Path, environment: &Environment) -> io::Result<()> {
    let text = serde_json::to_vec(environment)?;
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
        let environment = Environment::from([("A".to_owned(), "1".to_owned())]);
        first.keep(instance, &environment);
        assert_eq!(Vault::open().get(instance), Some(environment));
        first.forget(instance);
        assert_eq!(first.get(instance), None);
        assert_eq!(Vault::open().get(instance), None);
    }

    #[test]
    fn a_directory_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let open = dir.path().join("open");
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(usable(&open).is_err());
        assert!(usable(&dir.path().join("own")).is_ok());
        assert!(usable(Path::new("/proc/ring-env")).is_err(), "this is no tmpfs");
    }
}
