//! A disk that fails on demand: a file system in memory, through FUSE, for the data of one node.
//!
//! It can lose everything that was not synced, as a power loss does, fail each sync, and be slow. SIGKILL alone proves nothing
//! about fsync: what a killed process wrote is in the kernel's cache and stays.

mod fs;
mod tree;

use std::fs::create_dir;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use fuser::{BackgroundSession, Config, MountOption, spawn_mount2};
use rand::rngs::StdRng;

pub use self::tree::Lost;
use self::tree::Tree;
use super::Lab;

/// A disk that fails on demand. Dropping it unmounts it.
#[derive(Debug)]
pub struct AilingDisk {
    path: PathBuf,
    shared: Arc<Shared>,
    _session: BackgroundSession,
}

/// What the test and the file system share.
#[derive(Debug)]
struct Shared {
    tree: Mutex<Tree>,
    failing: AtomicBool,
    /// Milliseconds each sync takes longer.
    delay: AtomicU64,
    syncs: AtomicU64,
    failed: AtomicU64,
    delayed: AtomicU64,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lab {
    /// Mounts an empty disk for a host, under `<its directory>/<name>`.
    pub fn ailing_disk(&self, host: &str, name: &str) -> Result<AilingDisk> {
        AilingDisk::at(&self.host(host).dir().join(name))
    }
}

impl AilingDisk {
    /// Mounts an empty disk at a directory that is not there yet. Needs root.
    pub fn at(path: &Path) -> Result<Self> {
        create_dir(path).with_context(|| format!("{} is in the way", path.display()))?;
        let shared = Arc::new(Shared {
            tree: Mutex::new(Tree::new()),
            failing: AtomicBool::new(false),
            delay: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("ring-ailing-disk".to_owned())];
        let session = spawn_mount2(fs::Files(Arc::clone(&shared)), path, &config);
        let session = session.with_context(|| format!("cannot mount {}", path.display()))?;
        Ok(Self { path: path.to_owned(), shared, _session: session })
    }

    /// The directory it is mounted at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Drops everything that was not synced. Whoever wrote to it has to be dead by now. With `torn`, some of it is there, in the
    /// order it was written, as with a disk that was in the middle of it.
    pub fn lose_power(&self, torn: Option<&mut StdRng>) -> Lost {
        self.shared.tree().lose_power(torn)
    }

    /// From now on each sync fails with EIO, or no longer.
    pub fn fail_syncs(&self, failing: bool) {
        self.shared.failing.store(failing, Ordering::SeqCst);
    }

    /// From now on each sync takes so much longer, and everything else waits for it.
    pub fn slow_syncs(&self, delay: Duration) {
        self.shared.delay.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::SeqCst)
    }

    /// Syncs that failed so far.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Syncs that were slow so far.
    pub fn delayed(&self) -> u64 {
        self.shared.delayed.load(Ordering::SeqCst)
    }
}

impl Drop for AilingDisk {
    /// At once, even while a process that another thread has just forked still has the files open that it will close as it executes.
    fn drop(&mut self) {
        // Where it cannot be, the session tries it once more and says why not.
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{ErrorKind, Write};

    use super::*;

    #[test]
    fn a_file_system_loses_what_was_not_synced_and_fails_on_demand() {
        if let Some(reason) = super::super::unsupported(false) {
            return crate::report::skipped("ailing disk", &reason);
        }
        let dir = tempfile::tempdir().unwrap();
        let disk = AilingDisk::at(&dir.path().join("disk")).unwrap();
        let path = |name: &str| disk.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        let mut file = File::create(path("sub/file")).unwrap();
        file.write_all(&vec![7; 300_000]).unwrap();
        file.sync_all().unwrap();
        for folder in ["sub", "."] {
            File::open(path(folder)).unwrap().sync_all().unwrap();
        }
        file.write_all(b"more").unwrap();
        fs::write(path("sub/other"), "x").unwrap();
        fs::rename(path("sub/other"), path("sub/renamed")).unwrap();
        assert_eq!(fs::read(path("sub/file")).unwrap().len(), 300_004);
        let names: Vec<_> = fs::read_dir(path("sub")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file", "renamed"]);
        drop(file);

        let lost = disk.lose_power(None);
        assert!(lost.bytes == 4 && lost.names == 1, "{lost:?}");
        assert_eq!(fs::read(path("sub/file")).unwrap(), vec![7; 300_000]);
        assert_eq!(fs::read(path("sub/renamed")).unwrap_err().kind(), ErrorKind::NotFound);

        disk.fail_syncs(true);
        let mut file = File::options().append(true).open(path("sub/file")).unwrap();
        file.write_all(b"more").unwrap();
        assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(5));
        disk.fail_syncs(false);
        disk.slow_syncs(Duration::from_millis(50));
        file.sync_all().unwrap();
        fs::remove_file(path("sub/file")).unwrap();
        assert_eq!((disk.failed(), disk.delayed()), (1, 1));
        drop(file);
        drop(disk);
        assert_eq!(fs::read_dir(dir.path().join("disk")).unwrap().count(), 0, "unmounted");
    }
}
