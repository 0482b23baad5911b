//! Layers on top of each other in a directory, as an image means them.
//!
//! What an image says is not trusted. Every path is looked up with the directory for a root, so that neither `..` nor a link leads
//! out of it. Device nodes are left out: a guest makes its own. The directory is nobody else's meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chmodat, fsetxattr,
    mkdirat, mknodat, openat, openat2, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// Begin of the name of an entry that takes away what is below it in the stack of layers.
const WHITEOUT: &[u8] = b".wh.";

/// The entry that takes away everything a directory had before.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// How a layer writes down an extended attribute.
const XATTR: &str = "SCHILY.xattr.";

/// Ends an unpacking that nobody waits for any more.
pub(super) type Stop = Arc<AtomicBool>;

/// A directory that layers are put into.
pub(super) struct Unpacker {
    root: OwnedFd,
    stop: Stop,
    /// Bytes of files that may still come.
    left: u64,
    /// What the layer at hand has put there, with everything above it.
    seen: HashSet<PathBuf>,
    /// Times of directories, set at the end: whatever is put into one changes its own.
    times: BTreeMap<PathBuf, u64>,
    /// Owners can be set.
    owners: bool,
}

impl Unpacker {
    /// `largest` limits the bytes of all files together.
    pub(super) fn new(dir: &Path, largest: u64, stop: Stop) -> io::Result<Self> {
        let root = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let owners = rustix::process::geteuid().is_root();
        Ok(Self { root, stop, left: largest, seen: HashSet::new(), times: BTreeMap::new(), owners })
    }

    /// Puts one layer on top. The error says the entry.
    pub(super) fn layer(&mut self, archive: impl Read) -> io::Result<()> {
        self.seen.clear();
        let mut archive = Archive::new(archive);
        for entry in archive.entries()? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut entry = entry?;
            let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
            let put = clean(&path).and_then(|clean| self.entry(&clean, &mut entry));
            put.map_err(|error| io::Error::new(error.kind(), format!("entry '{}': {error}", path.display())))?;
        }
        Ok(())
    }

    /// Sets what could not be set before.
    pub(super) fn finish(self) {
        for (path, time) in self.times.iter().rev() {
            // Replaced by a later layer, perhaps.
            if let Ok((dir, name)) = self.parent(path) {
                let _ = utimensat(dir, &name, &times(*time), AtFlags::SYMLINK_NOFOLLOW);
            }
        }
    }

    fn entry(&mut self, path: &Path, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let Some(name) = path.file_name().map(OsStr::to_owned) else { return self.attributes_of_root(entry) };
        let above = path.parent().unwrap_or(Path::new(""));
        if name.as_bytes() == OPAQUE {
            return self.hide_below(above);
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.hide(&above.join(OsStr::from_bytes(hidden)));
        }
        if matches!(kind, EntryType::Char | EntryType::Block) {
            return Ok(());
        }
        let dir = self.dir(above, true)?;
        let at = below(&dir, &name);
        make_room(&at, kind)?;
        match kind {
            EntryType::Directory => self.directory(path, &at, entry)?,
            EntryType::Symlink => {
                symlink(OsStr::from_bytes(&link(entry)?), &at)?;
                self.own(&at, entry)?;
            }
            EntryType::Link => self.hard_link(entry, &at)?,
            EntryType::Fifo => {
                mknodat(&dir, &name, FileType::Fifo, mode(entry)?, 0)?;
                self.own(&at, entry)?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&at, entry)?,
            other => return Err(io::Error::other(format!("it is of an unknown kind, {:?}", other.as_byte()))),
        }
        self.seen.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn directory(&mut self, path: &Path, at: &Path, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        if !at.is_dir() {
            fs::create_dir(at)?;
        }
        self.own(at, entry)?;
        fs::set_permissions(at, Permissions::from_mode(entry.header().mode()? & 0o7777))?;
        self.times.insert(path.to_owned(), entry.header().mtime().unwrap_or(0));
        Ok(())
    }

    fn file(&mut self, at: &Path, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let size = entry.size();
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "the image has more in it than images may have here"))?;
        // Fails when something is there: nothing that was there is written into.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)?;
        io::copy(entry, &mut file)?;
        self.own(at, entry)?;
        // After the owner, whose change takes away the bits that lend rights.
        file.set_permissions(Permissions::from_mode(entry.header().mode()? & 0o7777))?;
        self.attributes(&file, entry)?;
        let time = times(entry.header().mtime().unwrap_or(0));
        rustix::fs::futimens(&file, &time)?;
        Ok(())
    }

    /// To something in the image, wherever links lead that are on the way; not to what the last one leads to.
    fn hard_link(&self, entry: &Entry<'_, impl Read>, at: &Path) -> io::Result<()> {
        let target = clean(Path::new(OsStr::from_bytes(&link(entry)?)))?;
        let (dir, name) = self.parent(&target)?;
        fs::hard_link(below(&dir, &name), at)
    }

    fn own(&self, at: &Path, entry: &Entry<'_, impl Read>) -> io::Result<()> {
        if !self.owners {
            return Ok(());
        }
        let number = |number: u64| u32::try_from(number).map_err(io::Error::other);
        lchown(at, Some(number(entry.header().uid()?)?), Some(number(entry.header().gid()?)?))
    }

    /// Those that mean something in a guest; others belong to the host the layer was made on.
    fn attributes(&self, file: &File, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
        for extension in extensions.flatten() {
            let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(XATTR)) else { continue };
            if name.starts_with("user.") || (self.owners && name == "security.capability") {
                match fsetxattr(file, name, extension.value_bytes(), XattrFlags::empty()) {
                    Err(Errno::NOTSUP) | Ok(()) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The root itself keeps its owner, and can be entered by everybody as an image's can.
    fn attributes_of_root(&self, entry: &Entry<'_, impl Read>) -> io::Result<()> {
        let mode = entry.header().mode()? & 0o7777;
        let path = format!("/proc/self/fd/{}/.", self.root.as_raw_fd());
        fs::set_permissions(path, Permissions::from_mode(mode | 0o700))
    }

    /// Takes away what earlier layers have at this path.
    fn hide(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = match self.parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let at = below(&dir, &name);
        match fs::symlink_metadata(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(found) if found.is_dir() && self.seen.contains(path) => self.hide_below(path),
            Ok(_) if self.seen.contains(path) => Ok(()),
            Ok(found) if found.is_dir() => fs::remove_dir_all(&at),
            Ok(_) => fs::remove_file(&at),
        }
    }

    /// Takes away what earlier layers have in this directory.
    fn hide_below(&self, path: &Path) -> io::Result<()> {
        let dir = match self.dir(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for child in fs::read_dir(below(&dir, OsStr::new(".")))? {
            self.hide(&path.join(child?.file_name()))?;
        }
        Ok(())
    }

    fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(path.parent().unwrap_or(Path::new("")), false)?, name.to_owned()))
    }

    /// A directory in the image. A link on the way leads where it would with the image for a root.
    fn dir(&self, path: &Path, make: bool) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let wanted = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match openat2(&self.root, wanted, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT) if make => {
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                let above = self.dir(path.parent().unwrap_or(Path::new("")), true)?;
                let mode = Mode::from_raw_mode(0o755);
                mkdirat(&above, name, mode)?;
                chmodat(&above, name, mode, AtFlags::empty())?;
                Ok(openat2(&self.root, wanted, flags, Mode::empty(), resolve)?)
            }
            other => Ok(other?),
        }
    }
}

/// Takes away what is in the way. A directory stays where one is to be.
fn make_room(at: &Path, kind: EntryType) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() && kind == EntryType::Directory => Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(at),
        Ok(_) => fs::remove_file(at),
    }
}

/// A path below the root, without anything that leads elsewhere.
fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its path leads out of the image"));
            }
        }
    }
    Ok(clean)
}

/// A name in an open directory, as a path. Whatever is done with it does not follow the last name.
fn below(dir: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name)
}

fn link<'a>(entry: &'a Entry<'_, impl Read>) -> io::Result<std::borrow::Cow<'a, [u8]>> {
    entry.link_name_bytes().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is a link to nothing"))
}

fn mode(entry: &Entry<'_, impl Read>) -> io::Result<Mode> {
    Ok(Mode::from_raw_mode(entry.header().mode()? & 0o7777))
}

fn times(seconds: u64) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps { last_access: omit, last_modification: Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 } }
}

#[cfg(test)]
mod tests;
