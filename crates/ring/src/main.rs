//! The program `ring`: reads the command line and runs what it asks for. With the feature `node` it can also be a control
//! node and an agent; without it, it is the client alone.

#[cfg(feature = "node")]
mod node;

use std::process::ExitCode;

use ring_cli::{Invocation, parse};

/// Half of a control node's time for a commit was the C library's allocator; see docs/design/0027-another-allocator.md.
#[cfg(feature = "node")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(feature = "node")]
    if let Some(code) = node::shim() {
        return code;
    }
    // Fails when there is one already, and then there is nothing to do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match parse(std::env::args_os()) {
        #[cfg(feature = "node")]
        Invocation::Client(command) => command.run(Some(&node::Drivers)),
        #[cfg(not(feature = "node"))]
        Invocation::Client(command) => command.run(None),
        #[cfg(feature = "node")]
        Invocation::Node(settings, command) => node::run(&settings, command),
        #[cfg(not(feature = "node"))]
        Invocation::Node(_, command) => ring_cli::client_only(&command),
        Invocation::Done(code) => code,
    }
}
