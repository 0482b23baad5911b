//! Process 1 of a micro-VM.
//!
//! Threads and blocking calls: one thread holds the connection to the host ([`session`]), one collects what ends ([`reaper`]), one
//! follows the workload ([`workload`]) and one its output ([`output`]); each command has a few of its own ([`exec`]). What they
//! share is in [`guest`], behind one lock. Programs are executed by a copy of this one ([`stage`]).

mod dial;
mod exec;
mod files;
mod guest;
mod measure;
mod mounts;
mod names;
mod network;
mod options;
mod output;
mod proc;
mod reaper;
mod root;
mod session;
mod setup;
mod stage;
mod terminal;
mod users;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use guest::Guest;
use options::Test;
use root::World;

/// Runs as process 1, as its stand-in in a test, or as the copy that executes a program.
pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == stage::NAME) {
        return stage::run(arguments);
    }
    let options = match Test::parse(arguments) {
        Ok(options) => options,
        Err(message) => {
            say(&message);
            return ExitCode::from(2);
        }
    };
    let (world, failed) = root::enter(options);
    // A host that cannot be reached is not told; its console is.
    match &failed {
        Some(failed) => say(&format!("there is no root: {}", failed.message)),
        None if world.test.is_none() => say("the root is there"),
        None => {}
    }
    let guest = Arc::new(Guest::new(world, failed));
    if let Err(error) = reaper::start(&guest) {
        return give_up(&error);
    }
    session::serve(&guest);
    end(&guest.world)
}

/// The workload's end is safe with the host, and nothing else is to be done.
fn end(world: &World) -> ExitCode {
    if world.test.is_some() {
        return ExitCode::SUCCESS;
    }
    rustix::fs::sync();
    loop {
        if let Err(error) = rustix::system::reboot(rustix::system::RebootCommand::PowerOff) {
            say(&format!("the machine cannot be powered off: {error}"));
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Without threads or a connection nobody can be told; the kernel's panic that follows is what the host sees.
fn give_up(error: &io::Error) -> ExitCode {
    say(&format!("the init cannot go on: {error}"));
    ExitCode::FAILURE
}

/// On the console.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "[ring-guest] {message}");
}
