//! What a fake runtime is told to do, and what it tells about it.

use ring_types::{InstanceId, Outcome, Span};

use crate::{InstanceStats, NativeHealth, RuntimeError};

/// What happens to one instance.
#[derive(Clone, Debug, Default)]
pub struct FakeScript {
    /// `prepare` waits for [`super::FakeRuntime::release`] before it does anything.
    pub hold_prepare: bool,
    /// `start` waits for [`super::FakeRuntime::release`] before it does anything.
    pub hold_start: bool,
    /// Errors of `prepare`, one a call; after them it succeeds.
    pub prepare_errors: Vec<RuntimeError>,
    /// Digest that preparing finds.
    pub image_digest: Option<String>,
    /// What starting does.
    pub start: FakeStart,
    /// SIGTERM has no effect: stopping takes the whole grace and ends with SIGKILL.
    pub ignores_term: bool,
    /// Its network address while it runs.
    pub address: Option<String>,
    /// What commands in it do.
    pub exec: FakeExec,
    /// What it uses; None: it cannot be measured.
    pub stats: Option<InstanceStats>,
    /// What the runtime's own health check says.
    pub health: Option<NativeHealth>,
    /// `inspect` does not answer before [`super::FakeRuntime::release`].
    pub hold_inspect: bool,
}

/// What a command in an instance does.
#[derive(Clone, Debug, Default)]
pub enum FakeExec {
    /// There is no such thing here.
    #[default]
    Unsupported,
    /// It writes this and exits with this code.
    Exits(i32, String),
    /// It never ends, and takes no input.
    Hangs,
    /// It gives back what it is given, tells each new size of its terminal as a line, and exits with 0 at the end of its input.
    Echoes,
    /// It writes so many bytes, each a digit counting on, and exits with 0.
    Writes(usize),
    /// The runtime never says whether it began.
    Unanswered,
}

/// What starting does.
#[derive(Clone, Debug, Default)]
pub enum FakeStart {
    /// It runs until it is told to end.
    #[default]
    Runs,
    /// It has ended in this way by the time `start` returns.
    Ends(Outcome),
    /// Starting fails and nothing ran; every call gives the same error.
    Fails(RuntimeError),
    /// It runs, but the answer is lost: the caller sees this error.
    RunsReplyLost(RuntimeError),
}

/// One call of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeCall {
    /// `probe`
    Probe,
    /// `prepare`
    Prepare(InstanceId),
    /// `start`
    Start(InstanceId),
    /// `inspect`
    Inspect(InstanceId),
    /// `list`
    List,
    /// `stop` and its grace
    Stop(InstanceId, Span),
    /// `remove`
    Remove(InstanceId),
    /// `logs`
    Logs(InstanceId),
    /// `exec`
    Exec(InstanceId),
    /// A command was dropped before its end.
    ExecDropped(InstanceId),
    /// `stats`
    Stats(InstanceId),
    /// `health`
    Health(InstanceId),
}
