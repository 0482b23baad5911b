//! Configs and secrets: on a file system in memory that has no other place than theirs.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use ring_guest::File;
use rustix::mount::{MountFlags, mount};

use super::mounts::{aside, show};
use super::setup::destination;

/// Writes and shows all of them, read-only.
pub(super) fn apply(files: &[File]) -> Result<(), String> {
    if files.is_empty() {
        return Ok(());
    }
    let mut named = Ok(());
    let all = aside(|aside| {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("ring-files", aside, "tmpfs", flags, Some(c"mode=0700"))?;
        named = files.iter().enumerate().try_for_each(|(number, file)| {
            let at = destination(&file.destination)?;
            one(&aside.join(number.to_string()), file, at).map_err(|error| format!("file '{}': {error}", at.display()))
        });
        Ok(())
    });
    all.map_err(|error| format!("file system in memory for configs and secrets: {error}"))?;
    named
}

fn one(path: &Path, file: &File, at: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&file.content)?;
    chown(path, Some(file.uid), Some(file.gid))?;
    set_permissions(path, Permissions::from_mode(file.mode & 0o7777))?;
    show(path, at, true)
}
