//! The supervisor: parent of one workload, from before its execution until its end is on the disk.
//!
//! It leads a session of its own and ignores the signals that ask to end, so nothing that happens to the agent reaches it. It
//! adopts what the workload leaves behind; when the workload's own process ends, everything that descends from it is ended
//! too, as in a container.

mod execute;
mod inside;
mod pump;
mod rest;
mod terminal;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ring_types::{Outcome, UnknownExit};
use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cgroup::{Cgroup, Cgroups};
use crate::env::{Answer, Order};
use crate::exec::EXEC;
use crate::layout::InstanceDir;
use crate::mounts;
use crate::record::{self, Exit, Started, Starting};
use execute::{Executed, execute};
use pump::Pumps;
use ring_runtime_host::logs::LogWriter;
use ring_runtime_host::proc::{self, ProcessId};

/// Between two attempts to write the end down when the disk does not take it.
const RETRY: Duration = Duration::from_secs(1);

/// Runs as the supervisor of an instance, or as the parent of a command run inside one: what `ring` calls for its hidden
/// subcommand, first thing in `main`, with the arguments that follow it. No other thread may exist yet.
///
/// A supervisor reads its order from standard input, executes the workload, and returns when the end of it is on the disk.
pub fn shim_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(dir) = args.next() else { return ExitCode::from(2) };
    let dir = InstanceDir::at(Path::new(&dir));
    match args.next() {
        None => supervisor(&dir),
        Some(mode) if mode == EXEC => inside::run(&dir),
        Some(_) => ExitCode::from(2),
    }
}

fn supervisor(dir: &InstanceDir) -> ExitCode {
    match begin(dir).and_then(|(order, runtime)| runtime.block_on(supervise(dir, order))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            answer(&Answer::Refused(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn begin(dir: &InstanceDir) -> io::Result<(Order, tokio::runtime::Runtime)> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let order = serde_json::from_slice(&bytes)?;
    lead()?;
    mounts::enter(&order, dir)?;
    Ok((order, tokio::runtime::Builder::new_current_thread().enable_all().build()?))
}

/// Leads a session of its own, and adopts what descends from it.
fn lead() -> io::Result<()> {
    // Fails only for one that leads a group already, such as one started from a shell: then it has what it needs.
    let _ = rustix::process::setsid();
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

async fn supervise(dir: &InstanceDir, order: Order) -> io::Result<()> {
    let _ignored = ignore_signals()?;
    let mut children = signal(SignalKind::child())?;
    let mut logs = LogWriter::open(&dir.logs())?;
    std::env::set_current_dir(dir.work())?;
    let cgroup = make_cgroup(dir, &order, &mut logs);
    if !record::write_new(&dir.starting(), &this_supervisor()?)? {
        answer(&Answer::Already);
        return Ok(());
    }
    match execute(&order, &dir.work(), cgroup.as_ref()) {
        Executed::Running(child) => run(dir, *child, &mut children, logs, cgroup).await,
        Executed::Failed { outcome, message } => {
            let at = ring_runtime::now();
            logs.write(at, &pump::note(at, &message));
            write_end(dir, &Exit { outcome, started_at: None, finished_at: at }).await;
            answer(&Answer::Done);
        }
    }
    Ok(())
}

/// Watches a workload that has been executed.
async fn run(dir: &InstanceDir, mut child: std::process::Child, children: &mut Signal, logs: LogWriter, cgroup: Option<Cgroup>) {
    let started_at = ring_runtime::now();
    let pid = i32::try_from(child.id()).unwrap_or_default();
    // It cannot be gone from /proc yet, even if it has ended: nobody has collected it.
    let process = ProcessId::of(pid).unwrap_or(ProcessId { pid, start: 0 });
    // Without this record the agent sees a start that takes long; the end is recorded all the same.
    let _ = record::write(&dir.started(), &Started { process, at: started_at });
    answer(&Answer::Done);
    let pumps = Pumps::start(&mut child, logs);
    let status = wait_for(Pid::from_child(&child), children).await;
    let finished_at = ring_runtime::now();
    rest::end(Pid::from_child(&child), cgroup.as_ref(), children).await;
    pumps.finish().await;
    let oom = cgroup.as_ref().is_some_and(Cgroup::oom_killed);
    write_end(dir, &Exit { outcome: outcome(status, oom), started_at: Some(started_at), finished_at }).await;
}

/// Returns how `main` ended, collecting every adopted process meanwhile. None when the kernel cannot say.
async fn wait_for(main: Pid, children: &mut Signal) -> Option<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == main => return Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => {
                children.recv().await;
            }
            Err(_) => return None,
        }
    }
}

/// A kill for want of memory shows as signal 9, also when a shell in between turned it into code 137.
fn outcome(status: Option<WaitStatus>, oom_killed: bool) -> Outcome {
    let signal = status.and_then(WaitStatus::terminating_signal);
    let code = status.and_then(WaitStatus::exit_status);
    match (signal, code) {
        (Some(9), _) | (None, Some(137)) if oom_killed => Outcome::Signal { signal: 9, oom_killed: true },
        (Some(signal), _) => Outcome::Signal { signal, oom_killed: false },
        (None, Some(code)) => Outcome::Code(code),
        (None, None) => Outcome::Unknown(UnknownExit::InstanceVanished),
    }
}

/// Does not give up: a status that is not on the disk is lost. Replaces what somebody who thought us dead may have written.
async fn write_end(dir: &InstanceDir, exit: &Exit) {
    while record::write(&dir.exit(), exit).is_err() && dir.path().exists() {
        tokio::time::sleep(RETRY).await;
    }
}

fn this_supervisor() -> io::Result<Starting> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let shim = ProcessId::of(pid).ok_or_else(|| io::Error::other("/proc does not show the supervisor"))?;
    Ok(Starting { boot: proc::boot_id(), shim, at: ring_runtime::now() })
}

fn make_cgroup(dir: &InstanceDir, order: &Order, logs: &mut LogWriter) -> Option<Cgroup> {
    let limits = order.record.limits;
    let cgroup = limits.any().then(|| dir.instance().map(|instance| Cgroups::detect().of(instance))).flatten()?;
    if let Err(error) = cgroup.make(limits) {
        let at = ring_runtime::now();
        logs.write(at, &pump::note(at, &format!("limits are not enforced: {error}")));
    }
    Some(cgroup)
}

fn ignore_signals() -> io::Result<[Signal; 4]> {
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::quit())?,
    ])
}

/// Tells the agent, which may be gone: the records are what counts.
fn answer(answer: &Answer) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        let mut out = io::stdout();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}
