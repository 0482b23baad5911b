//! The supervisor as a program of its own, for tests; the product runs it as a hidden subcommand of `ring`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ring_runtime_process::shim_main(std::env::args_os().skip(1))
}
