//! Disk images: each instance writes to a copy of its own, as a VMM locks what it writes to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::StartFailure;
use rustix::fs::{SeekFrom, ioctl_ficlone, seek};

use crate::holes;

/// Copied at once, bytes.
const PIECE: usize = 1 << 20;

/// Is it the path of a disk image, and one that can be booted here?
pub(crate) fn check(image: &Path) -> Result<(), RuntimeError> {
    let refuse = |why: &str| {
        let host = rustix::system::uname();
        let node = host.nodename().to_string_lossy().into_owned();
        let message = format!("image '{}': {why} on node '{node}'", image.display());
        Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImageNotFound), message))
    };
    match std::fs::metadata(image) {
        Ok(found) if found.is_file() && found.len() > 0 => Ok(()),
        Ok(_) => refuse("this is no disk image; name a file with a raw disk image, or an OCI image without a leading '/'"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse("there is no such file; put the disk image there, or name the nodes that have it in placement.nodes")
        }
        Err(error) => refuse(&error.to_string()),
    }
}

/// Copies an image: at no cost where the file system shares blocks, and without its holes elsewhere. The copy appears under its
/// name when it is whole.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let half = to.with_extension("half");
    let source = File::open(from)?;
    let copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    if ioctl_ficlone(&copy, &source).is_err() {
        copy.set_len(source.metadata()?.len())?;
        copy_data(&source, &copy)?;
    }
    std::fs::rename(&half, to)
}

fn copy_data(mut from: &File, mut to: &File) -> io::Result<()> {
    let mut at = 0;
    loop {
        let Some(data) = holes::data(from, at)? else { return Ok(()) };
        at = data;
        let mut left = seek(from, SeekFrom::Hole(at))? - at;
        seek(from, SeekFrom::Start(at))?;
        seek(to, SeekFrom::Start(at))?;
        at += left;
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let read = from.read(&mut piece[..wanted])?;
            if read == 0 {
                return Ok(());
            }
            to.write_all(&piece[..read])?;
            left -= read as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_content_and_the_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let image = File::create(&from).unwrap();
        image.set_len(64 << 20).unwrap();
        image.write_all_at(b"begin", 0).unwrap();
        image.write_all_at(b"end", (64 << 20) - 3).unwrap();
        copy(&from, &to).unwrap();
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap(), "the content differs");
        let blocks = std::fs::metadata(&to).unwrap().blocks();
        assert!(blocks * 512 < 8 << 20, "{blocks} blocks are taken by holes");
        assert!(!dir.path().join("to.half").exists());
    }

    #[test]
    fn an_image_that_is_not_there_is_named() {
        let refused = check(Path::new("/no/such/image.raw")).unwrap_err();
        assert!(refused.message.contains("/no/such/image.raw") && refused.message.contains("placement.nodes"), "{refused}");
        assert!(check(Path::new("/etc")).is_err());
    }
}
