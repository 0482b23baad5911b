//! Small disks, for tests of a full one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Lab;
use crate::command::{command, run};

/// The file that takes the space. A disk is filled with real blocks: a sparse file would take none.
const BALLAST: &str = "ballast";

/// A file system of a given size (in memory; the lab's clean-up unmounts it).
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl Lab {
    /// Mounts an empty disk of `bytes` for a host, under `<its directory>/<name>`.
    pub fn small_disk(&self, host: &str, name: &str, bytes: u64) -> Result<SmallDisk> {
        let path = self.host(host).dir().join(name);
        fs::create_dir(&path).with_context(|| format!("{} is in the way", path.display()))?;
        let mut mount = command("mount", ["-t", "tmpfs", "-o", &format!("size={bytes},mode=755"), "ring-lab"]);
        mount.arg(&path);
        run(mount)?.ok()?;
        Ok(SmallDisk { path })
    }
}

impl SmallDisk {
    /// The directory it is mounted at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the space that is left.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.path.join(BALLAST))?;
        // First in large steps, then to the last page.
        for block in [vec![0xA5; 1 << 20], vec![0xA5; 4096], vec![0xA5; 1]] {
            loop {
                match file.write(&block) {
                    Ok(written) => ensure!(written > 0, "the disk takes nothing and says nothing"),
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives the space back.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.path.join(BALLAST))?)
    }
}
