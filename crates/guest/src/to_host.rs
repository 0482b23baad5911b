//! From the guest to the host.

use serde::{Deserialize, Serialize};

/// One message of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// The first on a connection.
    Hello(Hello),
    /// The workload has been executed. Repeated on every connection until its end is acknowledged.
    Started {
        /// Its number in the guest.
        pid: u32,
        /// When, milliseconds since 1970 by the guest's clock.
        at: u64,
    },
    /// Output of the workload.
    Output {
        /// Where it was written.
        source: Source,
        /// How many bytes of output, of both sources together, came before these.
        offset: u64,
        /// At most [`crate::CHUNK`] of them, at least one.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The workload has ended, and all of its output has been sent. Repeated until [`crate::ToGuest::ExitAck`].
    Ended(End),
    /// The workload was not executed and will not be. Repeated until [`crate::ToGuest::ExitAck`].
    Failed(Failed),
    /// What the guest uses: every few seconds, and in answer to [`crate::ToGuest::Measure`].
    Heartbeat(Measured),
    /// Output of a command.
    ExecOutput {
        /// Which command.
        id: u32,
        /// Where it was written; a terminal's is all [`Source::Stdout`].
        source: Source,
        /// At most [`crate::CHUNK`] of them, at least one.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// So much more of its input has been taken: the host may have that much more on the way.
    ExecTaken {
        /// Which command.
        id: u32,
        /// Bytes.
        bytes: u32,
    },
    /// A command has ended with this code, 128 plus the signal when one ended it, 127 and 126 when it could not be executed. The
    /// last of this command; its number may be used again.
    ExecExited {
        /// Which command.
        id: u32,
        /// The code.
        code: i32,
    },
    /// A command was not tried: the workload does not run, or too many are under way. The last of this command.
    ExecRefused {
        /// Which command.
        id: u32,
        /// Why, for people.
        message: String,
    },
}

/// Who dials, and what it has done so far. Its form is the same in every version of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version the guest speaks.
    pub version: u32,
    /// Another one after every boot: a workload that was started before a reboot is not the one that could start now.
    pub boot: String,
    /// What it has done.
    pub state: State,
}

/// What a guest has done. The details come in frames of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nothing: it waits for [`crate::Start`].
    Waiting,
    /// The workload runs, or is on its way.
    Started,
    /// The workload has ended.
    Ended,
    /// The workload was not executed and will not be.
    Failed,
}

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a workload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With this code. 127 and 126 also when its program is not there or is none; standard error has the reason then.
    Exited {
        /// The code.
        code: i32,
        /// When, milliseconds since 1970 by the guest's clock.
        at: u64,
    },
    /// By this signal.
    Signaled {
        /// Number of the signal.
        signal: i32,
        /// When.
        at: u64,
    },
    /// Killed for want of memory.
    OutOfMemory {
        /// When.
        at: u64,
    },
    /// The kernel did not say how.
    Unknown {
        /// When.
        at: u64,
    },
}

/// Why a workload was not executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What could not be done.
    pub step: Step,
    /// For people: says the object and the cause.
    pub message: String,
}

/// A step on the way to the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The root file system.
    Root,
    /// A mount or a directory.
    Mount,
    /// A file of a config or a secret.
    File,
    /// The network.
    Network,
    /// The user or group is not known to the image.
    User,
    /// The execution itself, before the program had its turn.
    Execute,
}

/// What a guest uses at one moment. Counters grow from its boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Milliseconds since boot.
    pub uptime: u64,
    /// Bytes of memory in use, without what the kernel could give back.
    pub memory: u64,
    /// Bytes of memory there are.
    pub memory_total: u64,
    /// Processor time used, microseconds, of the workload and all commands.
    pub cpu: u64,
    /// Threads of the workload and all commands.
    pub threads: u64,
}
