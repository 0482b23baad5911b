//! Control groups: limits where the host has them writable, of version 1 or 2, and plainly none elsewhere.
//!
//! Groups are made under `ring/` at the top of each hierarchy, as container engines do it. Only instances with limits get one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring_types::InstanceId;

use crate::record::Limits;

/// Length of the period in which processor time is counted, in microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// What a hierarchy controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// Version 1, memory.
    Memory,
    /// Version 1, processor.
    Cpu,
    /// Version 2, both.
    Unified,
}

/// The usable hierarchies of this host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cgroups(Vec<(Control, PathBuf)>);

/// The groups of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup(Vec<(Control, PathBuf)>);

/// What the groups of an instance count; None where they do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_time_us: Option<u64>,
    /// Without the part of the page cache that is given back first.
    pub(crate) memory: Option<u64>,
}

impl Cgroups {
    /// Looks for hierarchies in which groups can be made.
    pub(crate) fn detect() -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let usable = hierarchies(&mounts).into_iter().map(|(control, top)| (control, top.join("ring")));
        Self(usable.filter(|(control, dir)| open_hierarchy(*control, dir)).collect())
    }

    /// What is enforced here, in words.
    pub(crate) fn describe(&self) -> &'static str {
        let has = |wanted| self.0.iter().any(|(control, _)| *control == wanted);
        match (has(Control::Unified), has(Control::Memory), has(Control::Cpu)) {
            (true, ..) => "cpu and memory limits by cgroup v2",
            (false, true, true) => "cpu and memory limits by cgroup v1",
            (false, true, false) => "memory limits by cgroup v1, no cpu limits",
            (false, false, true) => "cpu limits by cgroup v1, no memory limits",
            (false, false, false) => "no cpu or memory limits",
        }
    }

    /// Would these limits hold?
    pub(crate) fn enforces(&self, limits: Limits) -> bool {
        let has = |wanted| self.0.iter().any(|(control, _)| *control == Control::Unified || *control == wanted);
        (limits.memory.is_none() || has(Control::Memory)) && (limits.cpu_milli.is_none() || has(Control::Cpu))
    }

    /// The groups of an instance, there or not.
    pub(crate) fn of(&self, instance: InstanceId) -> Cgroup {
        Cgroup(self.0.iter().map(|(control, dir)| (*control, dir.join(instance.to_string()))).collect())
    }
}

impl Cgroup {
    /// Makes the groups and sets the limits.
    pub(crate) fn make(&self, limits: Limits) -> io::Result<()> {
        self.0.iter().try_for_each(|(control, dir)| {
            make_dir(dir)?;
            set_limits(*control, dir, limits)
        })
    }

    /// Moves the calling process in. What it starts from now on begins life there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|(_, dir)| fs::write(dir.join("cgroup.procs"), "0"))
    }

    /// Moves the calling process to where supervisors are: beside the instances, without limits.
    pub(crate) fn leave(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|(_, dir)| {
            let beside = dir.with_file_name("supervisors");
            make_dir(&beside)?;
            fs::write(beside.join("cgroup.procs"), "0")
        })
    }

    /// Has the kernel ended a process of it for want of memory?
    pub(crate) fn oom_killed(&self) -> bool {
        self.0.iter().any(|(control, dir)| match control {
            Control::Memory => counter(&dir.join("memory.oom_control"), "oom_kill") > 0,
            Control::Unified => counter(&dir.join("memory.events"), "oom_kill") > 0,
            Control::Cpu => false,
        })
    }

    /// What it used and uses.
    pub(crate) fn usage(&self) -> Usage {
        self.0.iter().fold(Usage::default(), |sum, (control, dir)| {
            let found = usage(*control, dir);
            Usage { cpu_time_us: sum.cpu_time_us.or(found.cpu_time_us), memory: sum.memory.or(found.memory) }
        })
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let listed = self.0.iter().filter_map(|(_, dir)| fs::read_to_string(dir.join("cgroup.procs")).ok());
        let mut pids: Vec<i32> =
            listed.flat_map(|text| text.lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Takes the groups away; they have to be empty.
    pub(crate) fn remove(&self) {
        for (_, dir) in &self.0 {
            // A group that is still busy is left; the next removal of the instance tries again.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// The hierarchies in a mount table that control memory or processor time.
fn hierarchies(mounts: &str) -> Vec<(Control, PathBuf)> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, dir, kind, options, ..] = fields.as_slice() else { continue };
        let has = |name: &str| options.split(',').any(|option| option == name);
        match *kind {
            "cgroup" if has("memory") => found.push((Control::Memory, PathBuf::from(dir))),
            "cgroup" if has("cpu") => found.push((Control::Cpu, PathBuf::from(dir))),
            // With version 1 beside it, version 2 is mounted without controllers.
            "cgroup2" if Path::new(dir).join("cgroup.controllers").is_file() => {
                found.push((Control::Unified, PathBuf::from(dir)));
            }
            _ => {}
        }
    }
    found
}

/// Makes our part of a hierarchy. False when that is not possible here.
fn open_hierarchy(control: Control, dir: &Path) -> bool {
    if control == Control::Unified {
        let controllers =
            dir.parent().and_then(|top| fs::read_to_string(top.join("cgroup.controllers")).ok()).unwrap_or_default();
        let has = |name: &str| controllers.split_ascii_whitespace().any(|c| c == name);
        if !has("memory") || !has("cpu") {
            return false;
        }
        let enable = |dir: &Path| fs::write(dir.join("cgroup.subtree_control"), "+cpu +memory").is_ok();
        return dir.parent().is_some_and(enable) && make_dir(dir).is_ok() && enable(dir);
    }
    make_dir(dir).is_ok()
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn set_limits(control: Control, dir: &Path, limits: Limits) -> io::Result<()> {
    let set = |file: &str, value: String| fs::write(dir.join(file), value);
    if let Some(bytes) = limits.memory {
        match control {
            Control::Memory => {
                set("memory.limit_in_bytes", bytes.to_string())?;
                // Not there without swap accounting, and then nothing else is lost.
                let _ = set("memory.memsw.limit_in_bytes", bytes.to_string());
            }
            Control::Unified => {
                set("memory.max", bytes.to_string())?;
                let _ = set("memory.swap.max", "0".to_owned());
            }
            Control::Cpu => {}
        }
    }
    if let Some(milli) = limits.cpu_milli {
        let quota = (milli * PERIOD_US / 1000).max(1000);
        match control {
            Control::Cpu => {
                set("cpu.cfs_period_us", PERIOD_US.to_string())?;
                set("cpu.cfs_quota_us", quota.to_string())?;
            }
            Control::Unified => set("cpu.max", format!("{quota} {PERIOD_US}"))?,
            Control::Memory => {}
        }
    }
    Ok(())
}

fn usage(control: Control, dir: &Path) -> Usage {
    let file = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let field = |name: &str, field: &str| dir.join(name).exists().then(|| counter(&dir.join(name), field));
    let without = |usage: u64, cache: Option<u64>| usage.checked_sub(cache.unwrap_or_default()).unwrap_or(usage);
    match control {
        Control::Memory => {
            let cache = field("memory.stat", "total_inactive_file");
            Usage { cpu_time_us: None, memory: file("memory.usage_in_bytes").map(|usage| without(usage, cache)) }
        }
        // There when the hierarchy counts too, as it mostly does.
        Control::Cpu => Usage { cpu_time_us: file("cpuacct.usage").map(|ns| ns / 1000), memory: None },
        Control::Unified => {
            let cache = field("memory.stat", "inactive_file");
            let memory = file("memory.current").map(|usage| without(usage, cache));
            Usage { cpu_time_us: field("cpu.stat", "usage_usec"), memory }
        }
    }
}

fn counter(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_hierarchies_are_found_in_the_mount_table() {
        let mounts = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
            cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n";
        let expected = vec![
            (Control::Cpu, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct")),
            (Control::Memory, PathBuf::from("/sys/fs/cgroup/memory")),
        ];
        assert_eq!(hierarchies(mounts), expected);
    }

    #[test]
    fn limits_become_the_kernels_figures() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { cpu_milli: Some(1500), memory: Some(4096) };
        set_limits(Control::Unified, dir.path(), limits).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(read("memory.max"), "4096");
        set_limits(Control::Cpu, dir.path(), limits).unwrap();
        assert_eq!(read("cpu.cfs_quota_us"), "150000");
        set_limits(Control::Memory, dir.path(), limits).unwrap();
        assert_eq!(read("memory.limit_in_bytes"), "4096");
    }

    #[test]
    fn use_is_read_from_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put("memory.usage_in_bytes", "9000\n");
        put("memory.stat", "inactive_file 1000\ntotal_inactive_file 2000\n");
        put("cpuacct.usage", "5000999\n");
        put("memory.current", "8000\n");
        put("cpu.stat", "usage_usec 77\nuser_usec 50\n");
        let of = |control| usage(control, dir.path());
        assert_eq!(of(Control::Memory), Usage { cpu_time_us: None, memory: Some(7000) });
        assert_eq!(of(Control::Cpu), Usage { cpu_time_us: Some(5000), memory: None });
        assert_eq!(of(Control::Unified), Usage { cpu_time_us: Some(77), memory: Some(7000) });
    }

    #[test]
    fn the_oom_counter_is_not_mistaken_for_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        fs::write(&file, "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 7\n").unwrap();
        assert_eq!(counter(&file, "oom_kill"), 2);
        fs::write(&file, "oom_kill_disable 1\nunder_oom 0\n").unwrap();
        assert_eq!(counter(&file, "oom_kill"), 0);
    }
}
