//! What the records of an instance and the processes of the host say together.

use std::io;

use ring_runtime::Observed;
use ring_types::{Outcome, UnknownExit};

use crate::layout::InstanceDir;
use crate::record::{self, Exit, Record, Started, Starting};
use ring_runtime_host::proc;

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is nothing, or nothing whole.
    Absent,
    /// Never executed, for certain.
    Created,
    /// Its supervisor is about to execute it, or just did.
    Starting(Starting),
    /// A process of it is alive, or its supervisor is and will write the end down.
    Running(Starting, Option<Started>),
    /// It ended.
    Exited(Exit),
}

impl State {
    /// The same in the words of the trait.
    pub(crate) fn observed(self) -> Observed {
        match self {
            Self::Absent => Observed::Absent,
            Self::Created | Self::Starting(_) => Observed::Created,
            Self::Running(starting, started) => {
                Observed::Running { started_at: started.map_or(starting.at, |started| started.at), address: None }
            }
            Self::Exited(Exit { outcome, started_at, finished_at }) => Observed::Exited { outcome, started_at, finished_at },
        }
    }
}

/// Looks. An end that nobody recorded, and nobody will any more, is recorded here as unknown, so that it stays the same.
pub(crate) fn observe(dir: &InstanceDir) -> io::Result<State> {
    if let Some(exit) = record::read(&dir.exit())? {
        return Ok(State::Exited(exit));
    }
    let Some(starting) = record::read::<Starting>(&dir.starting())? else {
        let made = record::read::<Record>(&dir.record())?.is_some();
        return Ok(if made { State::Created } else { State::Absent });
    };
    if starting.boot != proc::boot_id() {
        return unknown_end(dir, UnknownExit::HostRestarted);
    }
    let supervised = starting.shim.alive();
    let started = record::read::<Started>(&dir.started())?;
    match started {
        None if supervised => Ok(State::Starting(starting)),
        // Killed between the execution and its record: what was executed is in the supervisor's session.
        None if !proc::session_of(starting.shim).is_empty() => Ok(State::Running(starting, None)),
        Some(started) if supervised || started.process.alive() => Ok(State::Running(starting, Some(started))),
        _ => unknown_end(dir, UnknownExit::InstanceVanished),
    }
}

/// Nobody is left who could write the end down; but it may have been written since we looked.
fn unknown_end(dir: &InstanceDir, reason: UnknownExit) -> io::Result<State> {
    let started = record::read::<Started>(&dir.started())?;
    let exit = Exit {
        outcome: Outcome::Unknown(reason),
        started_at: started.map(|started| started.at),
        finished_at: ring_runtime::now(),
    };
    record::write_new(&dir.exit(), &exit)?;
    let recorded = record::read(&dir.exit())?;
    Ok(State::Exited(recorded.unwrap_or(exit)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ring_types::Timestamp;

    use super::*;
    use ring_runtime_host::proc::ProcessId;

    fn dir() -> (tempfile::TempDir, InstanceDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(temp.path());
        (temp, dir)
    }

    fn starting(boot: String, shim: ProcessId) -> Starting {
        Starting { boot, shim, at: Timestamp(1) }
    }

    fn me() -> ProcessId {
        ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    const NOBODY: ProcessId = ProcessId { pid: i32::MAX, start: u64::MAX };

    #[test]
    fn without_records_there_is_nothing() {
        let (_temp, dir) = dir();
        assert_eq!(observe(&dir).unwrap(), State::Absent);
    }

    #[test]
    fn a_living_supervisor_without_a_start_is_starting() {
        let (_temp, dir) = dir();
        let record = starting(proc::boot_id(), me());
        record::write(&dir.starting(), &record).unwrap();
        assert_eq!(observe(&dir).unwrap(), State::Starting(record));
    }

    #[test]
    fn another_boot_means_the_host_was_restarted() {
        let (_temp, dir) = dir();
        record::write(&dir.starting(), &starting("before".to_owned(), me())).unwrap();
        record::write(&dir.started(), &Started { process: me(), at: Timestamp(2) }).unwrap();
        let State::Exited(exit) = observe(&dir).unwrap() else { panic!("not ended") };
        assert_eq!(exit.outcome, Outcome::Unknown(UnknownExit::HostRestarted));
        assert_eq!(exit.started_at, Some(Timestamp(2)));
    }

    #[test]
    fn an_unknown_end_stays_what_it_was_when_noticed() {
        let (_temp, dir) = dir();
        record::write(&dir.starting(), &starting(proc::boot_id(), NOBODY)).unwrap();
        let first = observe(&dir).unwrap();
        assert!(matches!(&first, State::Exited(Exit { outcome: Outcome::Unknown(UnknownExit::InstanceVanished), .. })));
        fs::remove_file(dir.starting()).unwrap();
        assert_eq!(observe(&dir).unwrap(), first);
    }

    #[test]
    fn a_workload_without_its_supervisor_still_runs() {
        let (_temp, dir) = dir();
        record::write(&dir.starting(), &starting(proc::boot_id(), NOBODY)).unwrap();
        record::write(&dir.started(), &Started { process: me(), at: Timestamp(2) }).unwrap();
        assert!(matches!(observe(&dir).unwrap(), State::Running(..)));
    }
}
