//! Root file systems on the host, by the digest of their image.
//!
//! ```text
//! <dir>/images/<digest>/root.ext4    what guests share
//!                       image.json   what the image says of itself; its time is that of the last use
//! <dir>/names/<hash>.json            which image was last seen under a name
//! <dir>/making/                      what is not ready; emptied when an agent begins
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::OwnedMutexGuard;

use super::layer::digest_of;
use crate::roots::RootImage;

const DISK: &str = "root.ext4";
const ABOUT: &str = "image.json";

type Building = Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>;

/// The directory.
pub(super) struct Cache {
    dir: PathBuf,
    ready: tokio::sync::OnceCell<()>,
    building: Building,
}

/// What was seen under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The name, for people.
    pub(super) name: String,
    /// Digest of the image's configuration, which names the file system.
    pub(super) image: String,
    /// Digest as it is told.
    pub(super) told: String,
}

impl Cache {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, ready: tokio::sync::OnceCell::new(), building: Mutex::default() }
    }

    /// Makes what is not there, and takes away what a crash has left half made. Once.
    pub(super) async fn open(&self) -> io::Result<()> {
        let opened = self.ready.get_or_try_init(|| async {
            let _ = fs::remove_dir_all(self.making());
            for dir in [self.making(), self.images(), self.names()] {
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            }
            Ok::<(), io::Error>(())
        });
        opened.await.copied()
    }

    fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    fn making(&self) -> PathBuf {
        self.dir.join("making")
    }

    fn of(&self, image: &str) -> PathBuf {
        self.images().join(image.replace(':', "-"))
    }

    fn of_name(&self, name: &str) -> PathBuf {
        self.names().join(format!("{}.json", digest_of(name.as_bytes()).replace(':', "-")))
    }

    /// A file system that is ready; it counts as used now.
    pub(super) fn find(&self, image: &str, told: &str) -> Option<RootImage> {
        let dir = self.of(image);
        let about = dir.join(ABOUT);
        let root: RootImage = read(&about)?;
        let disk = dir.join(DISK);
        disk.metadata().ok()?;
        // Not being able to is no reason not to use it.
        let _ = File::options().append(true).open(about).and_then(|file| file.set_modified(SystemTime::now()));
        Some(RootImage { disk, digest: told.to_owned(), ..root })
    }

    /// What was last seen under a name, if its file system is still there.
    pub(super) fn recall(&self, name: &str) -> Option<RootImage> {
        let seen: Seen = read(&self.of_name(name))?;
        self.find(&seen.image, &seen.told)
    }

    pub(super) fn remember(&self, name: &str, image: &str, told: &str) -> io::Result<()> {
        let seen = Seen { name: name.to_owned(), image: image.to_owned(), told: told.to_owned() };
        let path = self.of_name(name);
        if read::<Seen>(&path).as_ref() == Some(&seen) {
            return Ok(());
        }
        let mut file = tempfile::NamedTempFile::new_in(self.making())?;
        file.write_all(&serde_json::to_vec(&seen)?)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// The right to make the file system of this image; others who want it wait.
    pub(super) async fn claim(&self, image: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
            building.retain(|_, lock| lock.strong_count() > 0);
            let known = building.get(image).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                building.insert(image.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    /// A directory for something that is being made. It goes with what is returned, at the latest with the next agent.
    pub(super) fn workshop(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("image-").tempdir_in(self.making())
    }

    /// Where in a workshop the disk is to be made.
    pub(super) fn unfinished(workshop: &Path) -> io::Result<PathBuf> {
        let dir = workshop.join("finished");
        fs::create_dir_all(&dir)?;
        Ok(dir.join(DISK))
    }

    /// Puts what was made in a workshop where it can be found. It is on the disk before.
    pub(super) fn publish(&self, workshop: &Path, image: &str, root: &RootImage) -> io::Result<()> {
        let dir = workshop.join("finished");
        File::open(dir.join(DISK))?.sync_all()?;
        let mut about = File::create_new(dir.join(ABOUT))?;
        about.write_all(&serde_json::to_vec(root)?)?;
        about.sync_all()?;
        File::open(&dir)?.sync_all()?;
        let place = self.of(image);
        // One that lacks a file is none, and in the way.
        let _ = fs::remove_dir_all(&place);
        fs::rename(&dir, &place)?;
        File::open(self.images())?.sync_all()
    }

    /// Takes away what nobody uses and nobody has asked for in this time, and names that lead nowhere; gives how many images went.
    pub(super) fn clean(&self, in_use: &HashSet<PathBuf>, unused: Duration) -> io::Result<usize> {
        let Ok(all) = fs::read_dir(self.images()) else { return Ok(0) };
        let mut gone = 0;
        for dir in all {
            let dir = dir?.path();
            let used = fs::metadata(dir.join(ABOUT)).and_then(|about| about.modified());
            let recently = used.is_ok_and(|used| used.elapsed().unwrap_or_default() < unused);
            if recently || in_use.contains(&dir.join(DISK)) {
                continue;
            }
            // First out of sight: half of it is nothing.
            let away = tempfile::Builder::new().prefix("gone-").tempdir_in(self.making())?;
            fs::rename(&dir, away.path().join("image"))?;
            gone += 1;
        }
        for name in fs::read_dir(self.names())? {
            let path = name?.path();
            if read::<Seen>(&path).is_none_or(|seen| !self.of(&seen.image).exists()) {
                fs::remove_file(path)?;
            }
        }
        Ok(gone)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn cache(dir: &Path) -> Cache {
        let cache = Cache::new(dir.to_owned());
        cache.open().await.unwrap();
        cache
    }

    fn make(cache: &Cache, image: &str) {
        let workshop = cache.workshop().unwrap();
        fs::write(Cache::unfinished(workshop.path()).unwrap(), image).unwrap();
        cache.publish(workshop.path(), image, &RootImage { cmd: vec!["run".to_owned()], ..RootImage::default() }).unwrap();
    }

    #[tokio::test]
    async fn what_is_ready_is_found_and_what_is_not_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let first = cache(temp.path()).await;
        assert_eq!(first.find("sha256:1", "x"), None);
        make(&first, "sha256:1");
        let root = first.find("sha256:1", "sha256:told").unwrap();
        assert_eq!((root.cmd, root.digest.as_str()), (vec!["run".to_owned()], "sha256:told"));
        assert_eq!(fs::read_to_string(root.disk).unwrap(), "sha256:1");
        // As after a crash: half of an image, in the making and in its place.
        let half = first.workshop().unwrap().keep();
        fs::write(Cache::unfinished(&half).unwrap(), "half").unwrap();
        fs::create_dir(first.of("sha256:2")).unwrap();
        fs::write(first.of("sha256:2").join(DISK), "half").unwrap();
        let second = cache(temp.path()).await;
        assert!(!half.exists() && second.find("sha256:2", "x").is_none());
        assert!(second.find("sha256:1", "x").is_some());
        make(&second, "sha256:2");
        assert!(second.find("sha256:2", "x").is_some());
    }

    #[tokio::test]
    async fn a_name_leads_to_what_was_last_seen_under_it() {
        let temp = tempfile::tempdir().unwrap();
        let cache = cache(temp.path()).await;
        make(&cache, "sha256:1");
        assert_eq!(cache.recall("app:v1"), None);
        cache.remember("app:v1", "sha256:2", "m2").unwrap();
        assert_eq!(cache.recall("app:v1"), None, "there is no such image");
        cache.remember("app:v1", "sha256:1", "m1").unwrap();
        assert_eq!(cache.recall("app:v1").map(|root| root.digest), Some("m1".to_owned()));
    }

    #[tokio::test]
    async fn what_is_used_or_was_lately_stays() {
        let temp = tempfile::tempdir().unwrap();
        let cache = cache(temp.path()).await;
        make(&cache, "sha256:1");
        make(&cache, "sha256:2");
        cache.remember("one", "sha256:1", "m").unwrap();
        cache.remember("two", "sha256:2", "m").unwrap();
        assert_eq!(cache.clean(&HashSet::new(), Duration::from_hours(1)).unwrap(), 0);
        let used = HashSet::from([cache.find("sha256:2", "m").unwrap().disk]);
        assert_eq!(cache.clean(&used, Duration::ZERO).unwrap(), 1);
        assert_eq!((cache.recall("one"), cache.recall("two").is_some()), (None, true));
        assert_eq!(fs::read_dir(cache.names()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(cache.making()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn one_makes_and_others_wait() {
        let temp = tempfile::tempdir().unwrap();
        let cache = cache(temp.path()).await;
        let claim = cache.claim("a").await;
        let _other = cache.claim("b").await;
        let waiting = cache.claim("a");
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(claim);
        waiting.await;
    }
}
