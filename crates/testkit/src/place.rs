//! Where a process runs: on this machine as it is, or inside a host of the lab.

use std::path::PathBuf;
use std::process::Command;

/// The surroundings a command starts in.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// This machine, unchanged.
    #[default]
    Here,
    /// A network namespace, given as its file under `/var/run/netns`.
    Network(PathBuf),
}

impl Place {
    /// A command that will start here.
    ///
    /// `nsenter` executes the program in its own place, so the child's pid is the program's pid. (`ip netns exec` would
    /// also remount `/sys` and hide the cgroups.)
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Network(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg(program);
                command
            }
        }
    }
}
