//! From a directory to an ext4 file system that is only ever read.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::find::program;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// Bytes of an inode.
const INODE: u64 = 256;

/// Room for what a file system has besides files, bytes.
const BASE: u64 = 16 << 20;

/// Features every kernel with ext4 knows. No journal: nothing is ever written.
const FEATURES: &str = "none,extent,filetype,dir_index,ext_attr,sparse_super,large_file,huge_file,dir_nlink,extra_isize,64bit";

/// What makes the file system.
const PROGRAM: &str = "mke2fs";

/// What a directory takes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Size {
    blocks: u64,
    inodes: u64,
}

/// Makes `disk` with everything in `dir` in it. Dropping the future ends the program that does it.
pub(super) async fn make(dir: PathBuf, disk: &Path) -> io::Result<()> {
    let size = tokio::task::spawn_blocking(move || measure(&dir).map(|size| (dir, size))).await.map_err(io::Error::other)??;
    let (dir, size) = size;
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{PROGRAM} is not on this host; install e2fsprogs"));
    let mke2fs = program(PROGRAM).ok_or_else(missing)?;
    let output = Command::new(mke2fs)
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-O", FEATURES, "-L", "ring-root"])
        .args([
            "-U",
            "00000000-0000-0000-0000-000000000001",
            "-E",
            "root_owner=0:0,nodiscard,hash_seed=00000000-0000-0000-0000-000000000002",
        ])
        .args(["-N", &(size.inodes + 64).to_string()])
        .arg("-d")
        .arg(dir)
        .arg(disk)
        .arg(format!("{}k", bytes(&size).div_ceil(1024)))
        // Else the time of the making would be in it.
        .env("E2FSPROGS_FAKE_TIME", "1")
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{PROGRAM} of {}: {}", disk.display(), String::from_utf8_lossy(&output.stderr).trim())))
}

/// Generous, as what is not used takes no room: the file is sparse.
fn bytes(size: &Size) -> u64 {
    let content = size.blocks * BLOCK + (size.inodes + 64) * INODE;
    (content + content / 16 + BASE).next_multiple_of(BLOCK)
}

fn measure(dir: &Path) -> io::Result<Size> {
    let (mut size, mut counted, mut open) = (Size { blocks: 1, inodes: 1 }, HashSet::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        // Names in a directory take room too.
        let mut names = 0;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            names += entry.file_name().len() as u64 + 12;
            let found = entry.metadata()?;
            if found.is_dir() {
                open.push(entry.path());
            } else if found.nlink() > 1 && !counted.insert(found.ino()) {
                continue;
            }
            size.inodes += 1;
            // An extent block for files that are large, and one for attributes.
            size.blocks += if found.is_file() { found.len().div_ceil(BLOCK) + found.len() / (BLOCK * 1024) + 1 } else { 1 };
        }
        size.blocks += names.div_ceil(BLOCK / 2);
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// What debugfs, which needs no rights, sees in the file system.
    fn debugfs(disk: &Path, request: &str) -> String {
        let output =
            std::process::Command::new("/sbin/debugfs").args(["-R", request]).arg(disk).stderr(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[tokio::test]
    async fn a_directory_becomes_a_file_system() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("tree");
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/large"), vec![7; 40 << 20]).unwrap();
        fs::hard_link(dir.join("a/large"), dir.join("a/same")).unwrap();
        for number in 0..5000 {
            fs::write(dir.join(format!("a/b/a-name-that-is-not-so-short-{number}")), "x").unwrap();
        }
        let disk = temp.path().join("disk");
        make(dir.clone(), &disk).await.unwrap();
        assert!(debugfs(&disk, "ls -l /a/b").lines().count() >= 5000);
        assert!(debugfs(&disk, "stat /a/large").contains("Size: 41943040"));
        assert!(!debugfs(&disk, "features").contains("has_journal"));
        let again = temp.path().join("again");
        make(dir, &again).await.unwrap();
        let length = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!(length(&disk), length(&again));
        println!("{} bytes of {} are on the host's disk", fs::metadata(&disk).unwrap().blocks() * 512, length(&disk));
    }

    #[tokio::test]
    async fn what_went_wrong_is_said() {
        let temp = tempfile::tempdir().unwrap();
        let failed = make(temp.path().to_owned(), Path::new("/no/such/dir/disk")).await.unwrap_err().to_string();
        assert!(failed.contains("mke2fs") && failed.contains("/no/such/dir/disk"), "{failed}");
    }
}
