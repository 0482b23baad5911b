//! Running `ring` as a person or a CI script does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{DEADLINE, Outcome, run_within};
use crate::place::Place;
use crate::process::Process;

/// Variables of the test's own environment that must not reach a `ring` under test.
const INHERITED: [&str; 12] = [
    "RING_HOST",
    "RING_CA_FINGERPRINT",
    "RING_CA_FILE",
    "RING_TOKEN",
    "RING_CONFIG_DIR",
    "RING_CONFIG_FILE",
    "RING_DATA_DIR",
    "RING_SECRET_KEY",
    "RING_ADMIN_PASSWORD",
    "RING_ADMIN_PASSWORD_FILE",
    "RING_LOG_FORMAT",
    "RING_ROLLOUT_DEADLINE",
];

/// The `ring` binary with an environment of its own.
#[derive(Debug, Clone)]
pub struct RingCli {
    binary: PathBuf,
    place: Place,
    dir: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    deadline: Duration,
}

impl RingCli {
    /// The built binary, run on this machine.
    pub fn new() -> Result<Self> {
        Ok(Self {
            binary: binary()?,
            place: Place::Here,
            dir: None,
            variables: BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]),
            deadline: DEADLINE,
        })
    }

    /// Runs it elsewhere.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// Runs another binary, such as that of another release.
    #[must_use]
    pub fn binary(mut self, binary: &Path) -> Self {
        binary.clone_into(&mut self.binary);
        self
    }

    /// Runs it in a working directory.
    #[must_use]
    pub fn in_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the time after which a command is killed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The command line, for those who want to start it themselves.
    pub fn command<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Command {
        let mut command = self.place.command(&self.binary);
        command.args(arguments);
        for name in INHERITED {
            command.env_remove(name);
        }
        command.envs(&self.variables);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Runs `ring ARGUMENTS…` to its end.
    pub fn run<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Result<Outcome> {
        run_within(self.command(arguments), self.deadline)
    }

    /// Its standard output, when it succeeds.
    pub fn ok<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Result<String> {
        self.run(arguments)?.ok()
    }

    /// Its standard output as JSON; the caller gives `-o json` where that is needed.
    pub fn json<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, arguments: I) -> Result<Value> {
        self.run(arguments)?.json()
    }

    /// Starts it without waiting for its end.
    pub fn spawn<I>(&self, name: &str, log: &Path, arguments: I) -> Result<Process>
    where
        I: IntoIterator<Item: AsRef<std::ffi::OsStr>>,
    {
        Process::spawn(name, self.command(arguments), log)
    }
}

/// The binary under test: `RING_BIN`, or the one beside the running test binary.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("RING_BIN") {
        let path = PathBuf::from(path);
        return path.canonicalize().with_context(|| format!("RING_BIN is {}", path.display()));
    }
    let test = std::env::current_exe()?;
    // A test is target/PROFILE/deps/NAME-HASH, the binary target/PROFILE/ring.
    let found = test.ancestors().skip(1).take(2).map(|dir| dir.join("ring")).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("no `ring` beside {}: run `cargo build` first, or set RING_BIN", test.display()),
    }
}

/// The binary of the release before this one, as `scripts/previous` built it; None when it was not built.
pub fn previous_release() -> Option<PathBuf> {
    let target = std::env::current_exe().ok()?.ancestors().nth(3)?.to_owned();
    let commit = include_str!("../../../tests/previous-release").trim();
    let path = target.join("previous").join(format!("ring-{commit}"));
    path.is_file().then_some(path)
}
