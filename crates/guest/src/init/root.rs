//! From what the kernel leaves to the root the workload sees: the disk, read-only, with an overlay in memory above it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ring_guest::{Failed, Step};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move};
use rustix::process::{Resource, Rlimit};

use super::options::Test;

/// The root disk is the first.
const DISK: &str = "/dev/vda";

/// A disk that has not shown up by then is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Modules of the kernel that the initramfs brought, tried in the order of their names.
const MODULES: &str = "/modules";

/// A place that every root has, for what is above it.
const SCRATCH: &str = "/sys";

/// Open files a workload may ask for.
const FILES: u64 = 524_288;

/// Devices of the host that a test's root shows.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where the init is, and what it can do there.
pub(super) struct World {
    /// None in a micro-VM.
    pub(super) test: Option<TestWorld>,
    /// Mounts and names can be changed without anybody else noticing.
    pub(super) own: bool,
}

/// What a test gave, held open as its root hides the paths.
pub(super) struct TestWorld {
    /// Path of the socket that leads there from inside the root.
    pub(super) socket: PathBuf,
    /// Directories by tag.
    pub(super) shares: BTreeMap<String, OwnedFd>,
    /// What keeps the socket's path valid.
    _dir: Option<OwnedFd>,
}

/// Makes the root and enters it. What did not work is told to the host in place of a start.
pub(super) fn enter(test: Option<Test>) -> (World, Option<Failed>) {
    let failed = |(what, error): (String, io::Error)| Failed { step: Step::Root, message: format!("{what}: {error}") };
    let Some(test) = test else {
        return (World { test: None, own: true }, machine().err().map(failed));
    };
    let own = rustix::process::getpid().is_init();
    match stand_in(&test, own) {
        Ok(test) => (World { test: Some(test), own }, None),
        Err(error) => {
            let test = TestWorld { socket: test.socket, shares: BTreeMap::new(), _dir: None };
            (World { test: Some(test), own }, Some(failed(error)))
        }
    }
}

type Tried<T> = Result<T, (String, io::Error)>;

/// Says what was tried.
fn to<T, E: Into<io::Error>>(what: &str, tried: Result<T, E>) -> Tried<T> {
    tried.map_err(|error| (what.to_owned(), error.into()))
}

/// In a micro-VM.
fn machine() -> Tried<()> {
    // A kernel that was built so has mounted it.
    let _ = fs::create_dir_all("/dev");
    if !Path::new("/dev/kmsg").exists() {
        to("devtmpfs on /dev", put("devtmpfs", "/dev", MountFlags::NOSUID, c"mode=0755"))?;
    }
    to("proc on /proc", put("proc", "/proc", MountFlags::empty(), c""))?;
    load_modules()?;
    wait_for_disk()?;
    let below = Path::new("/lower");
    to("directory /lower", fs::create_dir_all(below))?;
    to(&format!("{DISK}, ext4, as the root"), mount(DISK, below, "ext4", MountFlags::RDONLY, c""))?;
    let new = overlay("/lower", "/over")?;
    to("a place for /dev in the image", place(&new.join("dev")))?;
    to("move of /dev", mount_move("/dev", new.join("dev")))?;
    go_into(&new)?;
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(1024), maximum: Some(FILES) });
    kernel_file_systems()
}

fn load_modules() -> Tried<()> {
    let Ok(found) = fs::read_dir(MODULES) else { return Ok(()) };
    let mut all: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
    all.sort();
    in_turns(all, |path| {
        let file = fs::File::open(path)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Err(error) if error != Errno::EXIST => Err(error.into()),
            _ => Ok(()),
        }
    })
}

/// Loads all of them. One that needs another that comes later has its turn again, as long as there is any that could be loaded.
fn in_turns(mut left: Vec<PathBuf>, mut load: impl FnMut(&Path) -> io::Result<()>) -> Tried<()> {
    loop {
        let (mut waiting, count) = (Vec::new(), left.len());
        let mut first = None;
        for path in left {
            if let Err(error) = load(&path) {
                let told = (format!("module {}", path.display()), error);
                // What the kernel says of symbols it does not know.
                if told.1.raw_os_error() != Some(Errno::NOENT.raw_os_error()) {
                    return Err(told);
                }
                first.get_or_insert(told.0);
                waiting.push(path);
            }
        }
        match first {
            None => return Ok(()),
            Some(what) if waiting.len() == count => {
                return Err((what, io::Error::other("it needs another module that is not among those that are configured")));
            }
            Some(_) => left = waiting,
        }
    }
}

fn wait_for_disk() -> Tried<()> {
    let begun = Instant::now();
    while !Path::new(DISK).exists() {
        if begun.elapsed() > PATIENCE {
            return Err((format!("root disk {DISK}"), io::ErrorKind::NotFound.into()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// In a test: in namespaces of its own with a root of its own, else where it was started.
fn stand_in(test: &Test, own: bool) -> Tried<TestWorld> {
    let open = |path: &Path| to(&path.display().to_string(), openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()));
    if !own {
        to("subreaper", rustix::process::set_child_subreaper(Some(rustix::process::getpid())))?;
        return Ok(TestWorld { socket: test.socket.clone(), shares: BTreeMap::new(), _dir: None });
    }
    to("private mounts", mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC))?;
    to("proc on /proc", put("proc", "/proc", MountFlags::empty(), c""))?;
    let shares = test.shares.iter().map(|(tag, dir)| Ok((tag.clone(), open(dir)?))).collect::<Tried<_>>()?;
    let dir = open(test.socket.parent().unwrap_or(Path::new("/")))?;
    let name = test.socket.file_name().unwrap_or_default();
    let socket = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    let root = open(&test.root)?;
    let new = overlay(&format!("/proc/self/fd/{}", root.as_raw_fd()), SCRATCH)?;
    devices(&new.join("dev"))?;
    go_into(&new)?;
    kernel_file_systems()?;
    Ok(TestWorld { socket, shares, _dir: Some(dir) })
}

fn devices(dev: &Path) -> Tried<()> {
    to("a place for /dev", place(dev))?;
    to("tmpfs on /dev", mount("dev", dev, "tmpfs", MountFlags::NOSUID, Some(c"mode=0755")))?;
    DEVICES.iter().try_for_each(|name| {
        let path = dev.join(name);
        to(name, fs::File::create(&path).and_then(|_| Ok(mount_bind(Path::new("/dev").join(name), &path)?)))
    })
}

/// The root with a layer above it that is in memory.
fn overlay(lower: &str, scratch: &str) -> Tried<PathBuf> {
    to("a place for the overlay", fs::create_dir_all(scratch))?;
    to("tmpfs for the overlay", mount("overlay", scratch, "tmpfs", MountFlags::empty(), Some(c"mode=0755")))?;
    let scratch = Path::new(scratch);
    for name in ["upper", "work", "new"] {
        to("directories of the overlay", fs::create_dir(scratch.join(name)))?;
    }
    let new = scratch.join("new");
    let [upper, work] = ["upper", "work"].map(|name| scratch.join(name).display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let options = to("options of the overlay", std::ffi::CString::new(options).map_err(io::Error::other))?;
    to("overlay above the root", mount("overlay", &new, "overlay", MountFlags::empty(), Some(options.as_c_str())))?;
    Ok(new)
}

fn go_into(new: &Path) -> Tried<()> {
    to("the new root", std::env::set_current_dir(new))?;
    to("move of the new root", mount_move(".", "/"))?;
    to("the new root", rustix::process::chroot("."))?;
    to("the new root", std::env::set_current_dir("/"))
}

/// What every Linux program expects to be there. The last ones are missing in small kernels, and not missed.
fn kernel_file_systems() -> Tried<()> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    to("proc on /proc", put("proc", "/proc", safe, c""))?;
    to("sysfs on /sys", put("sysfs", "/sys", safe, c""))?;
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    to("devpts on /dev/pts", put("devpts", "/dev/pts", terminals, c"newinstance,ptmxmode=0666,mode=0620,gid=5"))?;
    to("tmpfs on /dev/shm", put("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777"))?;
    let _ = fs::remove_file("/dev/ptmx");
    to("/dev/ptmx", symlink("pts/ptmx", "/dev/ptmx"))?;
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        let _ = symlink(format!("/proc/self/fd{target}"), Path::new("/dev").join(name));
    }
    let _ = put("mqueue", "/dev/mqueue", safe, c"");
    let _ = put("cgroup2", "/sys/fs/cgroup", safe, c"");
    Ok(())
}

fn put(kind: &str, at: &str, flags: MountFlags, options: &std::ffi::CStr) -> io::Result<()> {
    place(Path::new(at))?;
    Ok(mount(kind, at, kind, flags, Some(options))?)
}

/// A directory to mount something on; a link of the image's would lead elsewhere.
fn place(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "the image has something else than a directory there")),
        Err(_) => fs::create_dir_all(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads modules of which each needs those after the dash in its name.
    fn loaded(names: &[&str]) -> Tried<Vec<String>> {
        let mut done: Vec<String> = Vec::new();
        in_turns(names.iter().map(PathBuf::from).collect(), |path| {
            let name = path.to_str().unwrap();
            let (own, needs) = name.split_once('-').unwrap_or((name, ""));
            match needs {
                "broken" => return Err(Errno::NOEXEC.into()),
                needs if needs.split('-').all(|need| need.is_empty() || done.iter().any(|done| done == need)) => {}
                _ => return Err(Errno::NOENT.into()),
            }
            done.push(own.to_owned());
            Ok(())
        })?;
        Ok(done)
    }

    #[test]
    fn modules_may_come_in_any_order() {
        assert_eq!(loaded(&["net-virtio", "virtio-ring", "ring", "vsock"]).unwrap(), ["ring", "vsock", "virtio", "net"]);
        assert!(loaded(&[]).unwrap().is_empty());
        let (what, error) = loaded(&["ring", "net-virtio", "virtio-bus"]).unwrap_err();
        assert_eq!(what, "module net-virtio");
        assert!(error.to_string().contains("needs another module"), "{error}");
        let (what, error) = loaded(&["net-virtio", "virtio-broken"]).unwrap_err();
        assert_eq!((what.as_str(), error.raw_os_error()), ("module virtio-broken", Some(Errno::NOEXEC.raw_os_error())));
    }
}
