//! The workload: executed once, followed to its end.

use std::io::{PipeWriter, pipe};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use ring_guest::{End, Failed, Source, Start, Step};
use rustix::process::WaitStatus;

use super::guest::{Guest, Phase, now};
use super::output::{Outputs, pump};
use super::reaper::Spawned;
use super::stage::{Surroundings, command};
use super::{measure, proc, setup};

/// Begins what the host asks for, if nothing has been asked for before.
pub(super) fn start(guest: &Arc<Guest>, start: Box<Start>) {
    let first = guest.change(|inner| {
        let first = matches!(inner.phase, Phase::Waiting);
        if first {
            inner.phase = Phase::Starting;
        }
        first
    });
    if !first {
        return;
    }
    let own = Arc::clone(guest);
    let begun = Builder::new().name("workload".to_owned()).spawn(move || follow(&own, &start));
    if let Err(error) = begun {
        fail(guest, Failed { step: Step::Execute, message: format!("no thread for the workload: {error}") });
    }
}

fn follow(guest: &Arc<Guest>, start: &Start) {
    let killed_before = measure::oom_kills();
    let running = match begin(guest, start) {
        Ok(running) => running,
        Err(failed) => return fail(guest, failed),
    };
    let status = running.spawned.end.recv().ok();
    let at = now();
    guest.change(|inner| inner.phase = Phase::Ending);
    proc::end_all();
    drop(running.writers);
    let _ = running.pump.join();
    let killed = guest.world.test.is_none() && measure::oom_kills() > killed_before;
    guest.change(|inner| inner.phase = Phase::Ended(end(status, killed, at)));
}

fn fail(guest: &Guest, failed: Failed) {
    guest.change(|inner| inner.phase = Phase::Failed(failed));
}

struct Running {
    spawned: Spawned,
    pump: JoinHandle<()>,
    /// Closed when everything that writes has been ended.
    writers: PipeWriter,
}

fn begin(guest: &Arc<Guest>, start: &Start) -> Result<Running, Failed> {
    let refused = |what: &str, error: &std::io::Error| Failed { step: Step::Execute, message: format!("{what}: {error}") };
    if start.argv.first().is_none_or(String::is_empty) {
        return Err(Failed {
            step: Step::Execute,
            message: "there is no command: neither the image nor the deployment has one".to_owned(),
        });
    }
    let surroundings = Arc::new(setup::apply(&guest.world, start)?);
    let (reader, writers) = pipe().map_err(|error| refused("pipe", &error))?;
    let mut spawned = execute(guest, start, &surroundings).map_err(|error| refused(&start.argv[0], &error))?;
    let outputs = [
        (Source::Stdout, spawned.child.stdout.take().map(OwnedFd::from)),
        (Source::Stderr, spawned.child.stderr.take().map(OwnedFd::from)),
    ];
    let outputs = outputs.into_iter().filter_map(|(source, fd)| Some((source, fd?)));
    let outputs = Outputs::new(outputs, reader);
    let own = Arc::clone(guest);
    let pump = Builder::new().name("output".to_owned()).spawn(move || pump(&own, outputs));
    let pump = pump.map_err(|error| {
        proc::end_all();
        refused("no thread for the output", &error)
    })?;
    Ok(Running { spawned, pump, writers })
}

/// Under the lock: a signal is kept for the process until it is there, and is sent to it from then on.
fn execute(guest: &Guest, start: &Start, surroundings: &Arc<Surroundings>) -> std::io::Result<Spawned> {
    let mut command = command(&start.argv, surroundings, false);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    guest.change(|inner| {
        let spawned = guest.reaper.spawn(&mut command)?;
        for signal in inner.early.drain(..) {
            guest.reaper.signal(spawned.pid(), signal);
        }
        inner.started = Some((spawned.pid(), now()));
        inner.phase = Phase::Running(Arc::clone(surroundings));
        Ok(spawned)
    })
}

fn end(status: Option<WaitStatus>, oom_killed: bool, at: u64) -> End {
    let signal = status.and_then(WaitStatus::terminating_signal);
    ending(signal, status.and_then(WaitStatus::exit_status), oom_killed, at)
}

/// A kill for want of memory shows as signal 9, also when a shell in between turned it into code 137.
fn ending(signal: Option<i32>, code: Option<i32>, oom_killed: bool, at: u64) -> End {
    match (signal, code) {
        (Some(9), _) | (None, Some(137)) if oom_killed => End::OutOfMemory { at },
        (Some(signal), _) => End::Signaled { signal, at },
        (None, Some(code)) => End::Exited { code, at },
        (None, None) => End::Unknown { at },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_for_want_of_memory_is_told_as_one() {
        assert_eq!(ending(Some(9), None, true, 1), End::OutOfMemory { at: 1 });
        assert_eq!(ending(None, Some(137), true, 1), End::OutOfMemory { at: 1 });
        assert_eq!(ending(None, Some(137), false, 1), End::Exited { code: 137, at: 1 });
        assert_eq!(ending(Some(9), None, false, 1), End::Signaled { signal: 9, at: 1 });
        assert_eq!(ending(Some(15), None, true, 1), End::Signaled { signal: 15, at: 1 });
        assert_eq!(ending(None, Some(3), true, 1), End::Exited { code: 3, at: 1 });
        assert_eq!(ending(None, None, true, 1), End::Unknown { at: 1 });
    }
}
