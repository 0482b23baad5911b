//! The parent of a command inside an instance.
//!
//! Standard output and error are the command's own; standard input carries [`Frame`]s. It exits with the command's code, after
//! everything that descends from the command has ended.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitStatus};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::execute::{code, command, spawn_inside};
use super::terminal::{self, Keys, Terminal};
use super::{ignore_signals, lead, rest, wait_for};
use crate::cgroup::Cgroups;
use crate::exec::ExecOrder;
use crate::exec::frame::{self, Frame};
use crate::layout::InstanceDir;
use crate::mounts;

/// Of a command that could not be run at all; the reason is on standard error.
const NOT_RUN: u8 = 126;

/// Of a command that was ended: 128 and the signal.
const KILLED: u8 = 137;

/// The rest of what a terminal has to say comes at once when nobody has it any more.
const DRAIN: Duration = Duration::from_secs(2);

/// What a terminal sends to stop and to continue: SIGTSTP, SIGTTIN, SIGTTOU. They are for the command, not for its parent.
const STOPS: [i32; 3] = [20, 21, 22];

/// Runs as the parent of one command.
pub(super) fn run(dir: &InstanceDir) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = runtime.and_then(|runtime| runtime.block_on(parent(dir)));
    ExitCode::from(code.unwrap_or_else(|error| {
        say(&error.to_string());
        NOT_RUN
    }))
}

/// No other thread exists as long as this has not begun to wait for something else than its order.
async fn parent(dir: &InstanceDir) -> io::Result<u8> {
    let mut frames = Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let Some(Frame::Order(order)) = frame::read(&mut frames).await? else { return Ok(NOT_RUN) };
    let order: ExecOrder = serde_json::from_slice(&order)?;
    lead()?;
    if !order.record.mounts.is_empty() {
        mounts::join(order.process)?;
    }
    std::env::set_current_dir(dir.work())?;
    let _caught = (ignore_signals()?, STOPS.map(|number| signal(SignalKind::from_raw(number))));
    let mut children = signal(SignalKind::child())?;
    let terminal = order.terminal.map(|size| terminal::open(size, order.record.user, order.record.group)).transpose()?;
    match start(dir, &order, terminal.as_ref().map(|(_, slave)| slave)) {
        Ok(child) => watch(child, terminal.map(|(terminal, _)| terminal), frames, &mut children).await,
        Err(error) => {
            say(&format!("cannot execute '{}': {error}", order.command.first().map_or("", String::as_str)));
            Ok(code(&error))
        }
    }
}

/// Starts the command, on the terminal when there is one: its parent leads the session, and both are in the foreground.
fn start(dir: &InstanceDir, order: &ExecOrder, terminal: Option<&OwnedFd>) -> io::Result<Child> {
    let none = || io::Error::from(io::ErrorKind::NotFound);
    let mut command = command(&order.command, &order.environment, &order.record, &dir.work()).ok_or_else(none)?;
    if let Some(slave) = terminal {
        let own = || slave.try_clone().map(Stdio::from);
        command.stdin(own()?).stdout(own()?).stderr(own()?);
        if !order.environment.contains_key("TERM") {
            command.env("TERM", "xterm");
        }
    } else {
        command.stdin(if order.stdin { Stdio::piped() } else { Stdio::null() }).process_group(0);
    }
    let limited = order.record.limits.any();
    let cgroup = limited.then(|| dir.instance().map(|instance| Cgroups::detect().of(instance))).flatten();
    spawn_inside(&mut command, cgroup.as_ref())
}

async fn watch(mut child: Child, terminal: Option<Terminal>, frames: Receiver, children: &mut Signal) -> io::Result<u8> {
    let pid = Pid::from_child(&child);
    let mut end = signal(SignalKind::terminate())?;
    let (keys, printing) = match terminal {
        Some(terminal) => (Keys::Terminal(terminal.clone()), Some(tokio::spawn(terminal.print()))),
        None => (pipe(&mut child)?, None),
    };
    let status = tokio::select! {
        status = wait_for(pid, children) => status,
        _ = end.recv() => None,
        // The agent is gone, or nobody listens any more.
        () = pass_on(frames, keys) => None,
    };
    rest::end(pid, None, children).await;
    if let Some(printing) = printing {
        let _ = timeout(DRAIN, printing).await;
    }
    Ok(status.map_or(KILLED, number))
}

fn pipe(child: &mut Child) -> io::Result<Keys> {
    let pipe = child.stdin.take().map(|pipe| Sender::from_owned_fd(pipe.into())).transpose()?;
    Ok(pipe.map_or(Keys::None, Keys::Pipe))
}

/// Passes input on until there is nobody it could come from.
async fn pass_on(mut frames: Receiver, mut keys: Keys) {
    while let Ok(Some(frame)) = frame::read(&mut frames).await {
        match frame {
            Frame::Input(bytes) => keys.press(&bytes).await,
            Frame::Close => keys.close().await,
            Frame::Resize(rows, columns) => keys.resize(rows, columns),
            Frame::Order(_) => return,
        }
    }
}

fn number(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    signal.or_else(|| status.exit_status()).and_then(|code| u8::try_from(code).ok()).unwrap_or(KILLED)
}

fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
