//! The supervisor as a program of its own, for tests; the product runs it as a hidden subcommand of `ring`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(dir) => ring_runtime_process::shim_main(Path::new(&dir)),
        None => ExitCode::from(2),
    }
}
