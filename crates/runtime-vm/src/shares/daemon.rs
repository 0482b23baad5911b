//! The processes.
//!
//! ```text
//! <instance>/shares/
//!     <tag>.json    the share, and the process that serves it; written before it is waited for
//!     <tag>.log     what it says
//!     <tag>/        empty; where its own namespace has a file that is shared alone
//! <sockets>/
//!     <tag>         where it listens
//!     <tag>.pid     its own lock
//! ```

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Places, Planned, Share, SharesConfig};
use crate::spawn;
use ring_runtime_host::notice::Notice;
use ring_runtime_host::proc::{self, ProcessId};

/// How long one that was asked to end may take.
const GRACE: Duration = Duration::from_secs(2);

/// So much of the end of a log is told, bytes.
const TOLD: usize = 500;

/// What is on the disk of one.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boot: String,
    process: ProcessId,
    share: Share,
}

pub(super) async fn start_all(
    config: &SharesConfig,
    program: &Path,
    places: Places<'_>,
    plan: Vec<Planned>,
) -> Result<Vec<Share>, String> {
    let version = super::version(program).await?;
    let dir = dir(places);
    let made = DirBuilder::new().mode(0o700).recursive(true).create(&dir);
    made.map_err(|error| format!("{}: {error}", dir.display()))?;
    // All are started before one is waited for.
    let mut started = Vec::with_capacity(plan.len());
    for one in plan {
        let named = format!("the share of '{}' at '{}'", one.source.display(), one.destination);
        let begun = start(config, (program, &version), places, one).await.map_err(|error| format!("{named}: {error}"))?;
        started.push((named, begun));
    }
    let mut shares = Vec::with_capacity(started.len());
    for (named, begun) in started {
        let log = log(places, &begun.share.tag);
        shares.push(begun.listens(config.patience).await.map_err(|why| format!("{named}: {why}{}", told(&log)))?);
    }
    Ok(shares)
}

/// One that runs, and whose socket is waited for.
struct Begun {
    share: Share,
    process: ProcessId,
    notice: Notice,
}

async fn start(
    config: &SharesConfig,
    (program, version): (&Path, &str),
    places: Places<'_>,
    planned: Planned,
) -> io::Result<Begun> {
    let socket = places.sockets.join(&planned.tag);
    if socket.as_os_str().len() > super::SOCKET_PATH {
        return Err(io::Error::other(format!("the path of its socket is too long: {}", socket.display())));
    }
    // Watched before there is anybody who could make it.
    let notice = Notice::of([places.sockets]);
    let file = planned.file();
    let inside = dir(places).join(&planned.tag);
    if file.is_some() {
        DirBuilder::new().mode(0o700).recursive(true).create(&inside)?;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log(places, &planned.tag))?;
    let mut command = Command::new(program);
    let shared = if file.is_some() { &inside } else { &planned.source };
    command.arg("--shared-dir").arg(shared).arg("--socket-path").arg(&socket).args(["--tag", &planned.tag]);
    command.args(["--sandbox", config.sandbox.as_str(), "--cache", "auto", "--log-level", "warn"]);
    if planned.read_only && has_read_only(version) {
        command.arg("--readonly");
    }
    command.stdout(Stdio::null()).stderr(log);
    let (source, read_only) = (planned.source.clone(), planned.read_only);
    let process =
        in_a_namespace(move || prepare(&source, file.as_ref().map(|name| inside.join(name)), read_only), command).await?;
    let share = Share {
        tag: planned.tag.clone(),
        socket,
        path: planned.file().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        destination: planned.destination,
        read_only: planned.read_only,
        pid: process.pid,
    };
    let kept = Kept { boot: proc::boot_id(), process, share: share.clone() };
    if let Err(error) = crate::record::write(&record(places, &planned.tag), &kept) {
        end(process).await;
        return Err(error);
    }
    Ok(Begun { share, process, notice })
}

/// Does it have a flag for what the mount in its namespace does without it? It is older than the flag in some distributions.
fn has_read_only(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= (1, 11)
}

/// Starts a program where the mounts are its own, after `prepare` has changed them. A child is where the thread is that made it.
async fn in_a_namespace(prepare: impl FnOnce() -> io::Result<()> + Send + 'static, command: Command) -> io::Result<ProcessId> {
    let runtime = tokio::runtime::Handle::current();
    let (give, result) = tokio::sync::oneshot::channel();
    // A thread of its own, which ends: it can never be given back to others.
    std::thread::Builder::new().name("ring-share".to_owned()).spawn(move || {
        let _here = runtime.enter();
        let done = leave_the_hosts().and_then(|()| prepare()).and_then(|()| spawn::detached(command));
        let _ = give.send(done);
    })?;
    result.await.map_err(io::Error::other)?
}

#[expect(deprecated, reason = "its successor is unsafe for the sake of another flag than this one")]
fn leave_the_hosts() -> io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNS)?)
}

/// Mounts what is shared once more: a file at `place`, a directory over itself.
fn prepare(source: &Path, place: Option<PathBuf>, read_only: bool) -> io::Result<()> {
    // What the host mounts and takes away later is seen here too, and nothing of here there.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    if let Some(place) = &place {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(place)?;
    }
    let place = place.as_deref().unwrap_or(source);
    mount_bind_recursive(source, place)?;
    if read_only {
        let found = rustix::fs::statvfs(place)?.f_flag;
        let kept = [
            (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        ];
        // The kernel takes the whole set anew: what the file system forbids already stays forbidden.
        let kept = kept.into_iter().filter(|(flag, _)| found.contains(*flag)).map(|(_, flag)| flag);
        mount_remount(place, kept.fold(MountFlags::BIND | MountFlags::RDONLY, |all, flag| all | flag), c"")?;
    }
    Ok(())
}

impl Begun {
    /// Waits until its socket is there.
    async fn listens(self, patience: Duration) -> Result<Share, String> {
        let appeared = async {
            while !self.share.socket.exists() {
                self.notice.changed().await;
            }
        };
        tokio::select! {
            done = timeout(patience, appeared) => match done {
                Ok(()) if self.process.alive() => Ok(self.share),
                Ok(()) => Err("virtiofsd ended at once".to_owned()),
                Err(_) => Err(format!("virtiofsd does not listen after {} seconds", patience.as_secs_f32())),
            },
            () = proc::gone(self.process) => Err("virtiofsd ended at once".to_owned()),
        }
    }
}

pub(super) async fn stop_all(places: Places<'_>) -> io::Result<()> {
    for (path, kept) in all(places) {
        // Of another run of the kernel nothing lives any more, and its numbers are used by others.
        if kept.boot == proc::boot_id() {
            end(kept.process).await;
        }
        for left in [kept.share.socket.clone(), pid_file(&kept.share.socket), path] {
            remove(&left)?;
        }
    }
    // Started by an agent that was killed before it could write that down.
    for socket in logs(places).into_iter().map(|tag| places.sockets.join(tag)) {
        for stray in proc::with_argument(socket.as_os_str()) {
            end(stray).await;
        }
        remove(&socket)?;
        remove(&pid_file(&socket))?;
    }
    let dir = dir(places);
    spawn_blocking(move || match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
    .await
    .unwrap_or_else(|error| Err(io::Error::other(error)))
}

pub(super) fn alive(places: Places<'_>) -> Vec<Share> {
    let boot = proc::boot_id();
    let lives = |kept: &Kept| kept.boot == boot && kept.process.alive();
    all(places).into_iter().map(|(_, kept)| kept).filter(lives).map(|kept| kept.share).collect()
}

/// One that was started, by this agent or one before it.
#[derive(Debug)]
pub(crate) struct Served {
    process: ProcessId,
    destination: String,
    log: PathBuf,
}

impl Served {
    /// Returns when it has ended, with a sentence on it for people.
    pub(crate) async fn gone(self) -> String {
        proc::gone(self.process).await;
        format!("the virtiofsd that serves its '{}' has ended{}", self.destination, told(&self.log))
    }
}

pub(super) fn served(places: Places<'_>) -> Vec<Served> {
    let all = all(places).into_iter().map(|(_, kept)| kept);
    all.map(|Kept { process, share, .. }| Served { process, log: log(places, &share.tag), destination: share.destination })
        .collect()
}

/// Asks it to end, and ends it when it does not.
async fn end(process: ProcessId) {
    process.signal(Signal::TERM);
    if timeout(GRACE, proc::gone(process)).await.is_err() {
        process.signal(Signal::KILL);
        proc::gone(process).await;
    }
}

fn all(places: Places<'_>) -> Vec<(PathBuf, Kept)> {
    let entries = fs::read_dir(dir(places)).into_iter().flatten().flatten().map(|entry| entry.path());
    let records = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| serde_json::from_slice(&fs::read(&path).ok()?).ok().map(|kept| (path, kept));
    let mut found: Vec<(PathBuf, Kept)> = records.filter_map(read).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// The tags of which there is a log, but no record any more.
fn logs(places: Places<'_>) -> Vec<OsString> {
    let entries = fs::read_dir(dir(places)).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let without = logs.filter(|path| !path.with_extension("json").exists());
    without.filter_map(|path| path.file_stem().map(std::ffi::OsStr::to_owned)).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn dir(places: Places<'_>) -> PathBuf {
    places.instance.join("shares")
}

fn record(places: Places<'_>, tag: &str) -> PathBuf {
    dir(places).join(format!("{tag}.json"))
}

fn log(places: Places<'_>, tag: &str) -> PathBuf {
    dir(places).join(format!("{tag}.log"))
}

fn pid_file(socket: &Path) -> PathBuf {
    let mut name = OsString::from(socket);
    name.push(".pid");
    PathBuf::from(name)
}

/// The end of a log, for a message.
fn told(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let from = text.len().saturating_sub(TOLD);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let end = text[from..].trim();
    if end.is_empty() { String::new() } else { format!("; it says: {end}") }
}
