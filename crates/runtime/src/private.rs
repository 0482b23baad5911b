//! Directories for what must never be on a disk.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, statfs};

/// What `statfs` calls a tmpfs.
const TMPFS: FsWord = 0x0102_1994;

/// A directory of this name on a file system in memory, which nobody but this user can look into; made when it is not there.
/// It outlives the agent, and is gone after a restart of the host. None where there is no such file system.
///
/// What is on it can still reach a swap device, where a host has one that is not encrypted.
pub fn private_tmpfs(name: &str) -> Option<PathBuf> {
    candidates(name).into_iter().find(|dir| usable(dir).is_ok())
}

fn candidates(name: &str) -> Vec<PathBuf> {
    let user = rustix::process::geteuid();
    let mut all = Vec::new();
    if user.is_root() {
        all.push(Path::new("/run").join(name));
    }
    all.extend(std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join(name)));
    all.push(PathBuf::from(format!("/dev/shm/{name}-{}", user.as_raw())));
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

#[cfg(test)]
mod tests {
    use super::*;

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
