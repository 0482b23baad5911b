//! Whose data directory it is: a file, a lock, and the folders in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ring_types::{ClusterId, MemberId};

use crate::{Identity, StoreError, mark};

/// Version of everything in the directory.
pub(crate) const FORMAT: u32 = 1;

const IDENTITY: &str = "identity";
/// The same, while a cluster is being made: what is there with it alone was never finished.
const UNFINISHED: &str = "identity.unfinished";
const LOCK: &str = "lock";
/// A lock that was given back can be held for a moment longer, by a process that was forked and has not executed its program yet.
const GIVEN_BACK: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(10);

/// A data directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    // Unlocked when it is dropped.
    _lock: File,
}

impl DataDir {
    /// Takes a directory, making it when it is missing.
    pub(crate) fn take(root: &Path) -> Result<Self, StoreError> {
        if !root.exists() {
            fs::create_dir_all(root).map_err(|e| disk("make", root, &e))?;
            root.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)?;
        }
        let path = root.join(LOCK);
        let lock = File::options().create(true).write(true).truncate(false).open(&path).map_err(|e| disk("open", &path, &e))?;
        let deadline = Instant::now() + GIVEN_BACK;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { root: root.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(AGAIN),
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: root.to_owned() }),
                Err(TryLockError::Error(e)) => return Err(disk("lock", &path, &e)),
            }
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("db")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Begins a new cluster here. What an earlier attempt left behind is removed; data of a cluster is never touched.
    pub(crate) fn begin(&self, cluster: ClusterId, member: MemberId) -> Result<(), StoreError> {
        if read(&self.root.join(IDENTITY))?.is_some() {
            return Err(StoreError::NotEmpty { path: self.root.clone() });
        }
        if self.root.join(UNFINISHED).exists() {
            self.clear()?;
        } else if self.has_data() {
            return Err(self.nameless());
        }
        self.write(UNFINISHED, cluster, member)
    }

    /// The new cluster has its first entry: from now on it is one.
    pub(crate) fn finish(root: &Path) -> Result<(), StoreError> {
        let (from, to) = (root.join(UNFINISHED), root.join(IDENTITY));
        fs::rename(&from, &to).map_err(|e| disk("rename", &from, &e))?;
        sync_dir(root)
    }

    /// Makes sure that this directory is that member's. An empty one becomes it.
    pub(crate) fn claim(&self, cluster: ClusterId, member: MemberId) -> Result<(), StoreError> {
        let path = self.root.clone();
        match read(&self.root.join(IDENTITY))? {
            Some(found) if found.format != FORMAT => Err(StoreError::Format { path, found: found.format, expected: FORMAT }),
            Some(found) if (found.cluster, found.member) != (cluster, member) => {
                let (found_cluster, found_member) = (found.cluster, found.member);
                Err(StoreError::Stranger { path, found_cluster, found_member, cluster, member })
            }
            Some(_) if self.lost_its_database() => {
                Err(StoreError::Damaged { path: self.database(), cause: "the database of this member is gone".to_owned() })
            }
            Some(_) => Ok(()),
            None if self.has_data() => Err(self.nameless()),
            None => {
                // What is somebody's has a folder for the database, after a power cut too.
                let folder = self.database();
                fs::create_dir_all(&folder).map_err(|e| disk("make", &folder, &e))?;
                sync_dir(&self.root)?;
                self.write(IDENTITY, cluster, member)
            }
        }
    }

    fn has_data(&self) -> bool {
        let filled = fs::read_dir(self.database()).is_ok_and(|mut entries| entries.next().is_some());
        filled || self.snapshots().exists()
    }

    /// The file that says which files are the database is not there, and others are: a new database in their place would know
    /// nothing of what this member has acknowledged. One that was never finished has none of them yet.
    fn lost_its_database(&self) -> bool {
        let Ok(entries) = fs::read_dir(self.database()) else { return true };
        let names: Vec<_> = entries.flatten().map(|entry| PathBuf::from(entry.file_name())).collect();
        let data = |path: &PathBuf| path.extension().is_some_and(|e| e == "sst" || e == "log");
        !names.iter().any(|name| name.as_os_str() == "CURRENT") && names.iter().any(data)
    }

    fn nameless(&self) -> StoreError {
        StoreError::Damaged { path: self.root.clone(), cause: "there is data, and no file that says whose it is".to_owned() }
    }

    fn clear(&self) -> Result<(), StoreError> {
        let gone = |path: &Path, removed: io::Result<()>| match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk("remove", path, &e)),
            _ => Ok(()),
        };
        for folder in [self.database(), self.snapshots()] {
            gone(&folder, fs::remove_dir_all(&folder))?;
        }
        let mark = self.root.join(mark::FILE);
        gone(&mark, fs::remove_file(&mark))
    }

    fn write(&self, name: &str, cluster: ClusterId, member: MemberId) -> Result<(), StoreError> {
        let text = format!("format = {FORMAT}\ncluster = {cluster}\nmember = {member}\n");
        let (temporary, path) = (self.root.join(format!("{name}.tmp")), self.root.join(name));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&temporary, &path)).map_err(|e| disk("write", &path, &e))?;
        sync_dir(&self.root)
    }
}

/// Whose data is in a directory.
pub(crate) fn identity(root: &Path) -> Result<Option<Identity>, StoreError> {
    read(&root.join(IDENTITY))
}

fn read(path: &Path) -> Result<Option<Identity>, StoreError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(disk("read", path, &e)),
    };
    let damaged = || StoreError::Damaged { path: path.to_owned(), cause: "the identity cannot be read".to_owned() };
    parse(&text).map(Some).ok_or_else(damaged)
}

fn parse(text: &str) -> Option<Identity> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('=').map(str::trim));
    Some(Identity {
        format: value("format")?.parse().ok()?,
        cluster: value("cluster")?.parse().ok()?,
        member: MemberId(value("member")?.parse().ok()?),
    })
}

/// Makes a rename or a new file in a directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| disk("sync", path, &e))
}

pub(crate) fn disk(action: &'static str, path: &Path, cause: &io::Error) -> StoreError {
    StoreError::Disk { action, path: path.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(n: u128) -> ClusterId {
        ClusterId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_directory_is_one_members_and_one_process_s() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::take(root.path()).unwrap();
        assert!(matches!(DataDir::take(root.path()), Err(StoreError::Locked { .. })));
        assert_eq!(identity(root.path()).unwrap(), None);
        dir.claim(cluster(1), MemberId(2)).unwrap();
        dir.claim(cluster(1), MemberId(2)).unwrap();
        assert!(matches!(dir.claim(cluster(1), MemberId(3)), Err(StoreError::Stranger { .. })));
        let error = dir.claim(cluster(9), MemberId(2)).unwrap_err().to_string();
        assert!(error.contains("not to member 2 of cluster 00000000-0000-0000-0000-000000000009"), "{error}");
        assert!(matches!(dir.begin(cluster(1), MemberId(2)), Err(StoreError::NotEmpty { .. })));
        let known = Identity { cluster: cluster(1), member: MemberId(2), format: FORMAT };
        assert_eq!(identity(root.path()).unwrap(), Some(known));
    }

    #[test]
    fn an_unfinished_cluster_is_begun_again() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::take(root.path()).unwrap();
        dir.begin(cluster(1), MemberId(1)).unwrap();
        fs::create_dir(dir.database()).unwrap();
        assert_eq!(identity(root.path()).unwrap(), None, "it is none yet");
        dir.begin(cluster(2), MemberId(1)).unwrap();
        assert!(!dir.database().exists(), "what was left is gone");
        DataDir::finish(root.path()).unwrap();
        assert_eq!(identity(root.path()).unwrap().unwrap().cluster, cluster(2));
    }

    #[test]
    fn data_without_a_name_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::take(root.path()).unwrap();
        fs::create_dir(dir.database()).unwrap();
        fs::write(dir.database().join("CURRENT"), "").unwrap();
        for refused in [dir.begin(cluster(1), MemberId(1)), dir.claim(cluster(1), MemberId(1))] {
            assert!(matches!(refused, Err(StoreError::Damaged { .. })));
        }
        assert!(dir.database().exists());
    }

    #[test]
    fn a_member_whose_database_is_gone_does_not_begin_with_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::take(root.path()).unwrap();
        dir.claim(cluster(1), MemberId(2)).unwrap();
        let claim = || dir.claim(cluster(1), MemberId(2));
        let file = |name: &str| dir.database().join(name);
        fs::write(file("MANIFEST-000001"), "").unwrap();
        claim().unwrap();
        fs::write(file("000004.log"), "").unwrap();
        assert!(matches!(claim(), Err(StoreError::Damaged { .. })), "it had begun to write");
        fs::write(file("CURRENT"), "").unwrap();
        claim().unwrap();
        fs::remove_dir_all(dir.database()).unwrap();
        assert!(matches!(claim(), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_later_format_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let text = format!("format = 2\ncluster = {}\nmember = 1\n", cluster(1));
        fs::write(root.path().join(IDENTITY), text).unwrap();
        let dir = DataDir::take(root.path()).unwrap();
        assert!(matches!(dir.claim(cluster(1), MemberId(1)), Err(StoreError::Format { found: 2, .. })));
    }
}
