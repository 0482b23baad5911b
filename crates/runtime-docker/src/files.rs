//! Files of configs and secrets, shown to containers by bind mounts.
//!
//! They are on a file system in memory, in a directory for each instance: an agent that is started again finds the container
//! with its files as they were, and nothing of them reaches a disk. A container is never started again after a restart of the
//! host, so they need not outlive one.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring_runtime::{MountedFile, RuntimeError, RuntimeErrorKind, private_tmpfs};
use ring_types::{InstanceId, StartFailure};
use tokio::task::spawn_blocking;

/// Name of the directory on the file system in memory.
const NAME: &str = "ring-files";

/// The place of all files.
#[derive(Clone, Debug)]
pub(crate) struct Files(Option<PathBuf>);

impl Files {
    /// `dir` is taken as it is; None means the usual place.
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self(dir.or_else(|| private_tmpfs(NAME)))
    }

    /// Where the files of an instance are, in the order of its workload.
    pub(crate) fn paths(&self, instance: InstanceId, count: usize) -> Result<Vec<PathBuf>, RuntimeError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let dir = self.dir(instance).ok_or_else(|| failed("this host has no file system in memory to keep it on"))?;
        Ok((0..count).map(|number| dir.join(number.to_string())).collect())
    }

    /// Writes the files of an instance.
    pub(crate) async fn write(&self, instance: InstanceId, files: &[MountedFile]) -> Result<(), RuntimeError> {
        let Some(dir) = self.dir(instance).filter(|_| !files.is_empty()) else { return Ok(()) };
        let contents: Vec<_> = files.iter().map(|file| file.content.clone()).collect();
        let written = spawn_blocking(move || write(&dir, &contents)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| failed(&error.to_string()))
    }

    /// Takes away what an instance has; nothing is no fault.
    pub(crate) async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let Some(dir) = self.dir(instance) else { return Ok(()) };
        let removed = spawn_blocking(move || fs::remove_dir_all(dir)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("the files of instance {instance} were not removed: {error}");
                Err(RuntimeError::new(RuntimeErrorKind::Other, message))
            }
            _ => Ok(()),
        }
    }

    fn dir(&self, instance: InstanceId) -> Option<PathBuf> {
        Some(self.0.as_ref()?.join(instance.to_string()))
    }
}

fn failed(message: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), format!("configs and secrets cannot be mounted: {message}"))
}

/// The directory is for its owner alone; the files are readable for whoever the container runs as.
fn write(dir: &Path, contents: &[impl AsRef<[u8]>]) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    for (number, content) in contents.iter().enumerate() {
        let path = dir.join(number.to_string());
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?.write_all(content.as_ref())?;
        fs::set_permissions(&path, Permissions::from_mode(0o444))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_go_and_are_written_again() {
        let temp = tempfile::tempdir().unwrap();
        let files = Files::new(Some(temp.path().to_owned()));
        let instance: InstanceId = "01890000-0000-7000-8000-0000deadbeef".parse().unwrap();
        let file =
            |content: &'static str| MountedFile { destination: "/etc/app".to_owned(), content: content.into(), secret: true };
        files.write(instance, &[file("one"), file("two")]).await.unwrap();
        files.write(instance, &[file("1"), file("2")]).await.unwrap();
        let paths = files.paths(instance, 2).unwrap();
        assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "2");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&paths[0]), mode(paths[0].parent().unwrap())), (0o444, 0o700));
        files.remove(instance).await.unwrap();
        files.remove(instance).await.unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn without_such_a_place_only_those_who_need_it_are_refused() {
        let files = Files(None);
        let instance: InstanceId = "01890000-0000-7000-8000-0000deadbeef".parse().unwrap();
        assert_eq!(files.paths(instance, 0).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(files.paths(instance, 1).unwrap_err().kind, RuntimeErrorKind::Start(StartFailure::Config));
        files.remove(instance).await.unwrap();
    }
}
