//! The scripts of the page "Run a job", and running them as a person does.

use std::path::Path;
use std::process::Command;

use ring_testkit::RingCli;
use ring_testkit::cli::binary;
use ring_testkit::command::{Outcome, run};

/// "Watch a job to completion".
pub(crate) const WATCH: &str = include_str!("watch.sh");
/// "Re-run a job", by deleting it first.
pub(crate) const RERUN: &str = include_str!("rerun.sh");
/// "Job logs are also available while it runs".
pub(crate) const FOLLOW: &str = include_str!("follow.sh");

/// Runs a script in `dir` with `bash` that finds `ring` in its path and the environment of `cli`.
pub(crate) fn script(cli: &RingCli, dir: &Path, text: &str) -> Outcome {
    let binaries = binary().unwrap().parent().unwrap().display().to_string();
    let mut bash = Command::new("bash");
    bash.args(["-c", text]).current_dir(dir).env("PATH", format!("{binaries}:{}", std::env::var("PATH").unwrap()));
    for (name, value) in cli.command([""; 0]).get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    run(bash).unwrap()
}
