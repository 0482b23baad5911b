//! The init of a micro-VM: mounts what is there to be mounted, runs one workload for the host, and tells how it ended.

mod init;

use std::process::ExitCode;

fn main() -> ExitCode {
    init::main()
}
