//! Shares of the host and file systems in memory at their places.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

use ring_guest::{Mount, Start, Tmpfs};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use super::root::World;
use super::setup::{destination, make_point};

/// Where a share is while a part of it is shown somewhere; and where files are written.
pub(super) const ASIDE: &str = "/.ring-aside";

enum Wanted<'a> {
    Share(&'a Mount),
    Memory(&'a Tmpfs),
}

impl Wanted<'_> {
    fn destination(&self) -> &str {
        match self {
            Self::Share(mount) => &mount.destination,
            Self::Memory(tmpfs) => &tmpfs.destination,
        }
    }
}

/// Mounts everything, what is above first, so that nothing is covered.
pub(super) fn apply(world: &World, start: &Start) -> Result<(), String> {
    let shares = start.mounts.iter().map(Wanted::Share);
    let mut all: Vec<Wanted<'_>> = shares.chain(start.tmpfs.iter().map(Wanted::Memory)).collect();
    all.sort_by_key(|wanted| Path::new(wanted.destination()).components().count());
    all.iter().try_for_each(|wanted| {
        let at = destination(wanted.destination())?;
        match wanted {
            Wanted::Share(mount) => {
                let shown = share(world, mount, at);
                shown.map_err(|error| format!("share '{}' at '{}': {error}", mount.tag, at.display()))
            }
            Wanted::Memory(tmpfs) => memory(tmpfs, at).map_err(|error| format!("tmpfs at '{}': {error}", at.display())),
        }
    })
}

fn share(world: &World, wanted: &Mount, at: &Path) -> io::Result<()> {
    let path = Path::new(&wanted.path);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path in the share is not a plain one"));
    }
    if let Some(test) = &world.test {
        let dir = test.shares.get(&wanted.tag).ok_or(io::ErrorKind::NotFound)?;
        let source = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        return show(&join(source, path), at, wanted.read_only);
    }
    if wanted.path.is_empty() {
        make_point(at, true)?;
        let flags = if wanted.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        return Ok(mount(wanted.tag.as_str(), at, "virtiofs", flags, None)?);
    }
    aside(|aside| {
        mount(wanted.tag.as_str(), aside, "virtiofs", MountFlags::empty(), None)?;
        show(&join(aside.to_owned(), path), at, wanted.read_only)
    })
}

/// Does something with a directory that nobody sees. What is mounted there lives on only where it is shown.
pub(super) fn aside<T>(work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let aside = Path::new(ASIDE);
    fs::create_dir_all(aside)?;
    let done = work(aside);
    let _ = unmount(aside, UnmountFlags::DETACH);
    let _ = fs::remove_dir(aside);
    done
}

/// An empty path added would end in a slash, which leads nowhere from a file.
fn join(dir: PathBuf, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { dir } else { dir.join(path) }
}

/// Shows a directory or file at another place.
pub(super) fn show(source: &Path, at: &Path, read_only: bool) -> io::Result<()> {
    make_point(at, fs::metadata(source)?.is_dir())?;
    mount_bind(source, at)?;
    if read_only {
        // The kernel takes the whole set anew: what the file system forbids already stays forbidden.
        let found = statvfs(at)?.f_flag;
        let kept = [
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        ];
        let kept = kept.into_iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| flag);
        let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |all, flag| all | flag);
        mount_remount(at, flags, c"")?;
    }
    Ok(())
}

fn memory(wanted: &Tmpfs, at: &Path) -> io::Result<()> {
    make_point(at, true)?;
    let size = wanted.size.map_or_else(String::new, |size| format!(",size={size}"));
    let options = CString::new(format!("mode={:04o}{size}", wanted.mode & 0o7777))?;
    Ok(mount("tmpfs", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))?)
}
