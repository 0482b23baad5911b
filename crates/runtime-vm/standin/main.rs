//! Stands in for Cloud Hypervisor in tests: the same arguments, the same calls, the same files and sockets, no VM.
//!
//! A guest is a process: for an OCI image the real init, in namespaces of its own, with a directory for its root; for a disk image
//! a shell that runs the image as a script, whose end is a power-off (or, by its code, a reset or a panic). Everything is done on
//! one thread, as in the real one: who waits holds up everybody.
//!
//! How it misbehaves is told by options of its own before those of the real one (see [`options`]), and while it runs by calls that
//! the real one does not have: `test.reboot`, `test.panic`, `test.hang`.
//!
//! With `--standin-keeper` it is the keeper itself, as the hidden subcommand of the product is.

mod guest;
mod http;
mod options;
mod virtiofsd;

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use guest::{Ended, Guest};
use http::{Answer, Call};
use options::{Fault, Options};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Milliseconds between two looks at the guest.
const TICK: i64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--standin-virtiofsd", arguments)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return virtiofsd::main(arguments);
    }
    if arguments.first().is_some_and(|first| first == "--standin-keeper") {
        return ring_runtime_vm::keeper_main(std::env::args_os().skip(2));
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(told) => {
            let _ = writeln!(std::io::stdout(), "{told}");
            return ExitCode::SUCCESS;
        }
    };
    match Vmm::open(options).and_then(|mut vmm| vmm.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Vmm {
    options: Options,
    listener: UnixListener,
    events: File,
    config: Option<Value>,
    guest: Option<Guest>,
    over: bool,
}

impl Vmm {
    fn open(options: Options) -> Result<Self> {
        if options.has(Fault::DieOnStart) {
            return Err("told to die at once".into());
        }
        let events = OpenOptions::new().write(true).create(true).truncate(true).open(&options.events)?;
        // A socket that is there is an error, as with versions up to 52. The lock beside it stays for good.
        let listener = UnixListener::bind(&options.api)?;
        File::create(format!("{}.lock", options.api.display()))?;
        let mut vmm = Self { options, listener, events, config: None, guest: None, over: false };
        vmm.event("vmm", "starting")?;
        Ok(vmm)
    }

    fn serve(&mut self) -> Result<()> {
        while !self.over {
            if self.options.has(Fault::HangApi) {
                hang();
            }
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: TICK * 1_000_000 };
            if poll(&mut fds, Some(&tick))? > 0 {
                let (mut stream, _) = self.listener.accept()?;
                // A client that left is no fault of ours.
                if let Ok(call) = Call::read(&mut stream) {
                    let answer = self.answer(&call);
                    let _ = answer.write(&mut stream);
                }
            }
            self.look()?;
        }
        if self.options.has(Fault::StayAfterShutdown) {
            hang();
        }
        fs::remove_file(&self.options.api)?;
        Ok(())
    }

    fn answer(&mut self, call: &Call) -> Answer {
        let done = |result: Result<()>| result.map_or_else(|error| Answer::refused(&error.to_string()), |()| Answer::done());
        match (call.method.as_str(), call.name.as_str()) {
            ("GET", "vmm.ping") => Answer::told(
                &json!({ "build_version": "v53.0.0", "version": "53.0.0", "pid": std::process::id(), "features": [] }),
            ),
            ("PUT", "vm.create") => done(self.create(&call.body)),
            ("PUT", "vm.boot") => done(self.boot()),
            ("GET", "vm.info") => match &self.config {
                Some(config) => Answer::told(&json!({ "config": config, "state": self.state() })),
                None => Answer::refused("VM is not created"),
            },
            ("GET", "vm.counters") => Answer::told(&json!({ "_disk0": { "read_bytes": 4096, "write_bytes": 0 } })),
            ("PUT", "vm.power-button") => done(self.guest.as_ref().map_or(Err("VM is not running".into()), Guest::press)),
            ("PUT", "vmm.shutdown") => {
                self.shut_down().map_or_else(|error| Answer::refused(&error.to_string()), |()| Answer::told(&Value::Null))
            }
            ("PUT", "test.reboot") => done(self.reboot()),
            ("PUT", "test.panic") => done(self.event("guest", "panic")),
            ("PUT", "test.hang") => hang(),
            _ => Answer::unknown(),
        }
    }

    fn create(&mut self, body: &[u8]) -> Result<()> {
        let config: Value = serde_json::from_slice(body)?;
        // Also what is refused is kept.
        self.config = Some(config);
        if self.options.has(Fault::RefuseCreate) {
            return Err("told to refuse the VM".into());
        }
        Ok(())
    }

    fn boot(&mut self) -> Result<()> {
        self.event("vm", "booting")?;
        if self.options.has(Fault::HangBoot) {
            hang();
        }
        if self.options.has(Fault::DieOnBoot) {
            std::process::exit(0);
        }
        if self.options.has(Fault::RefuseBoot) {
            return Err("told to refuse to boot".into());
        }
        let config = self.config.as_ref().ok_or("VM is not created")?;
        if self.guest.is_some() {
            return Err("VM is already running".into());
        }
        self.guest = Some(Guest::start(&self.options, config)?);
        self.event("vm", "booted")
    }

    fn state(&self) -> &'static str {
        if self.guest.is_some() { "Running" } else { "Created" }
    }

    /// Looks whether the guest is still there.
    fn look(&mut self) -> Result<()> {
        let Some(ended) = self.guest.as_mut().map(Guest::ended).transpose()?.flatten() else { return Ok(()) };
        match ended {
            Ended::Off if self.options.stays => {
                self.guest = None;
                self.event("vm", "shutdown")
            }
            Ended::Off => self.shut_down(),
            Ended::Reset => self.reboot(),
            Ended::Panic => {
                self.event("guest", "panic")?;
                self.reboot()
            }
        }
    }

    fn reboot(&mut self) -> Result<()> {
        self.event("vm", "rebooting")?;
        // The old guest is gone before the new one is there.
        drop(self.guest.take());
        let config = self.config.as_ref().ok_or("VM is not created")?;
        self.guest = Some(Guest::start(&self.options, config)?);
        self.event("vm", "rebooted")
    }

    fn shut_down(&mut self) -> Result<()> {
        if self.guest.take().is_some() {
            self.event("vm", "shutdown")?;
        }
        self.event("vm", "deleted")?;
        self.event("vmm", "shutdown")?;
        self.over = true;
        Ok(())
    }

    fn event(&mut self, source: &str, event: &str) -> Result<()> {
        let event = json!({ "timestamp": { "secs": 0, "nanos": 0 }, "source": source, "event": event, "properties": null });
        Ok(write!(self.events, "{event}\n\n")?)
    }
}

/// Does nothing any more, until somebody kills it.
fn hang() -> ! {
    loop {
        std::thread::park();
    }
}
