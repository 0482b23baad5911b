//! The client alone, as a program: what the tests run, and the least a program has to do to be `ring`.

use std::process::ExitCode;

use ring_cli::Invocation;

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ring_cli::output::failure_message("there is a rustls provider already", None, ring_cli::Exit::General);
    }
    match ring_cli::parse(std::env::args_os()) {
        Invocation::Client(command) => command.run(None),
        Invocation::Node(_, command) => ring_cli::client_only(&command),
        Invocation::Done(code) => code,
    }
}
