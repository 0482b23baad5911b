//! Finding and ending what a test left behind: processes, mounts, control groups.
//!
//! Nothing is found by a command's name. A process belongs to a test because it lives in one of the test's own network
//! namespaces or control groups, or has a file of the test's own directory open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::wait;

/// Kills every process `belongs` accepts, and those they start meanwhile, until none is left.
pub fn kill_all(belongs: impl Fn(i32) -> bool) -> Result<()> {
    wait::eventually(Duration::from_secs(10), "every leftover process to end", || {
        let found: Vec<i32> = processes()?.into_iter().filter(|&pid| belongs(pid)).collect();
        for &pid in &found {
            kill_one(pid, &belongs);
        }
        Ok(found.is_empty().then_some(()))
    })
}

/// Kills through a descriptor and looks once more after opening it, so that a reused pid cannot be hit.
fn kill_one(pid: i32, belongs: &impl Fn(i32) -> bool) {
    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    if belongs(pid) {
        // It may have ended by itself, which is what is wanted.
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
}

/// Ids of all processes but this one and those that have ended and only wait to be reaped.
fn processes() -> Result<Vec<i32>> {
    let own = std::process::id() as i32;
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if pid != own && !matches!(state(pid), None | Some('Z' | 'X')) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// The state letter of a process as in proc(5), `None` when there is no such process.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in parentheses and may itself contain some.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The identity of a namespace: device and inode of its file.
pub fn namespace_id(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The process lives in one of these network namespaces.
pub fn in_networks(pid: i32, networks: &[(u64, u64)]) -> bool {
    namespace_id(Path::new(&format!("/proc/{pid}/ns/net"))).is_some_and(|id| networks.contains(&id))
}

/// The process lives in the control group `name` (a top-level one) or below it.
pub fn in_cgroup(pid: i32, name: &str) -> bool {
    let Ok(groups) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
    groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| path.split('/').nth(1) == Some(name))
}

/// The process runs in, or has open, a file below `dir`.
pub fn uses(pid: i32, dir: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let points_below = |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(dir));
    points_below(process.join("cwd"))
        || fs::read_dir(process.join("fd")).is_ok_and(|entries| entries.flatten().any(|entry| points_below(entry.path())))
}

/// Detaches every mount below `dir`, the innermost first.
pub fn unmount_below(dir: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).map(PathBuf::from);
    let below: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    for point in below.iter().rev() {
        match unmount(point, UnmountFlags::DETACH) {
            // Gone already, with a mount above it.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", point.display())),
        }
    }
    Ok(())
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Removes the top-level control group `name` from every hierarchy; its processes must have ended.
pub fn remove_cgroup(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    remove_cgroup_tree(&root.join(name))?;
    let Ok(hierarchies) = fs::read_dir(root) else { return Ok(()) };
    for hierarchy in hierarchies.flatten() {
        remove_cgroup_tree(&hierarchy.path().join(name))?;
    }
    Ok(())
}

/// A group can be removed only when empty, and stays busy for a moment after its last process.
fn remove_cgroup_tree(group: &Path) -> Result<()> {
    let Ok(children) = fs::read_dir(group) else { return Ok(()) };
    for child in children.flatten().filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup_tree(&child.path())?;
    }
    let what = format!("{} to be free", group.display());
    wait::eventually(Duration::from_secs(5), &what, || match fs::remove_dir(group) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(Some(())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;
    use crate::command::command;

    #[test]
    fn a_process_is_found_by_the_directory_it_uses() {
        let dir = tempfile::tempdir().unwrap();
        let script = "setsid sh -c 'echo detached; sleep 600' &";
        let process = Process::spawn("parent", command("sh", ["-c", script]), &dir.path().join("log")).unwrap();
        process.wait_exit(Duration::from_secs(10)).unwrap();
        let running = || process.log().unwrap().contains("detached");
        wait::until(Duration::from_secs(10), "the detached child", running).unwrap();
        let left = || processes().unwrap().into_iter().any(|pid| uses(pid, dir.path()));
        assert!(left(), "the detached child outlives its parent");
        kill_all(|pid| uses(pid, dir.path())).unwrap();
        assert!(!left());
    }

    #[test]
    fn control_groups_are_compared_by_whole_name() {
        let own = std::process::id() as i32;
        assert!(!in_cgroup(own, "ring-lab-of-nobody"));
        assert_eq!(unescape("/tmp/a\\040b"), "/tmp/a b");
    }
}
