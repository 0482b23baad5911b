//! Record files, and how they get onto the disk whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a record. None when there is none.
///
/// # Errors
/// When the file cannot be read, or is no such record; the message names it.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| with_path(path, &io::Error::from(e))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(with_path(path, &error)),
    }
}

/// Writes a record and does not return before it is on the disk. Replaces one that is there.
///
/// # Errors
/// Those of the disk; the message names the file.
pub fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let staged = stage(path, record)?;
    let done = fs::rename(&staged, path).and_then(|()| sync_parent(path));
    done.map_err(|error| discard(&staged, path, &error))
}

/// Writes a record unless there is one already. True when it is this one; then it is on the disk.
///
/// # Errors
/// Those of the disk; the message names the file.
pub fn write_new(path: &Path, record: &impl Serialize) -> io::Result<bool> {
    let staged = stage(path, record)?;
    let linked = fs::hard_link(&staged, path);
    let _ = fs::remove_file(&staged);
    match linked {
        Ok(()) => sync_parent(path).map(|()| true).map_err(|error| with_path(path, &error)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(with_path(path, &error)),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of the disk.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes the content under a name nobody else uses.
fn stage(path: &Path, record: &impl Serialize) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let staged = PathBuf::from(name);
    let bytes = serde_json::to_vec(record)?;
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
    written.map(|()| staged.clone()).map_err(|error| discard(&staged, path, &error))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

fn discard(staged: &Path, path: &Path, error: &io::Error) -> io::Error {
    let _ = fs::remove_file(staged);
    with_path(path, error)
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_exclusive_records_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        assert_eq!(read::<u32>(&path).unwrap(), None);
        assert!(write_new(&path, &1_u32).unwrap());
        assert!(!write_new(&path, &2_u32).unwrap());
        assert_eq!(read::<u32>(&path).unwrap(), Some(1));
        write(&path, &3_u32).unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), Some(3));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing staged is left behind");
    }
}
