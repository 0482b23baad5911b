//! What the records of an instance say.

use std::io;

use ring_runtime::Observed;

use crate::layout::InstanceDir;
use crate::record::{self, Exit, Record, Started, Starting};

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is nothing, or nothing whole.
    Absent,
    /// Never started, for certain.
    Created,
    /// Its guest has been told to start, or is about to be.
    Starting,
    /// The workload runs. Whether its VM still does is noticed by its machine.
    Running(Started),
    /// It ended.
    Exited(Exit),
}

impl State {
    /// The same in the words of the trait.
    pub(crate) fn observed(self) -> Observed {
        match self {
            Self::Absent => Observed::Absent,
            Self::Created | Self::Starting => Observed::Created,
            Self::Running(started) => Observed::Running { started_at: started.at, address: started.address },
            Self::Exited(Exit { outcome, started_at, finished_at, .. }) => Observed::Exited { outcome, started_at, finished_at },
        }
    }
}

/// Looks.
pub(crate) fn observe(dir: &InstanceDir) -> io::Result<State> {
    if let Some(exit) = record::read(&dir.exit())? {
        return Ok(State::Exited(exit));
    }
    if let Some(started) = record::read(&dir.started())? {
        return Ok(State::Running(started));
    }
    if record::read::<Starting>(&dir.starting())?.is_some() {
        return Ok(State::Starting);
    }
    let made = record::read::<Record>(&dir.record())?.is_some();
    Ok(if made { State::Created } else { State::Absent })
}
