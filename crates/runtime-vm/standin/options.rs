//! What the stand-in is told on its command line.

use std::path::PathBuf;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Ends before it does anything.
    DieOnStart,
    /// Listens and never answers.
    HangApi,
    /// Refuses the description of the VM.
    RefuseCreate,
    /// Refuses to boot.
    RefuseBoot,
    /// Never comes back from booting.
    HangBoot,
    /// Ends in the middle of booting.
    DieOnBoot,
    /// Says that it ends, and does not.
    StayAfterShutdown,
}

const FAULTS: [(&str, Fault); 7] = [
    ("die-on-start", Fault::DieOnStart),
    ("hang-api", Fault::HangApi),
    ("refuse-create", Fault::RefuseCreate),
    ("refuse-boot", Fault::RefuseBoot),
    ("hang-boot", Fault::HangBoot),
    ("die-on-boot", Fault::DieOnBoot),
    ("stay-after-shutdown", Fault::StayAfterShutdown),
];

/// Everything that was told.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) api: PathBuf,
    pub(crate) events: PathBuf,
    /// It stays when its guest is off.
    pub(crate) stays: bool,
    faults: Vec<Fault>,
    /// The root of the init that is booted for an OCI image; None: nothing is, and a test plays the guest.
    pub(crate) root: Option<PathBuf>,
}

impl Options {
    /// The error is what is printed instead of running.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_default();
            match name.as_str() {
                "--version" => return Err("cloud-hypervisor v53.0.0".to_owned()),
                "--help" => return Err("Options: --api-socket --event-monitor --no-shutdown --seccomp".to_owned()),
                "--api-socket" => options.api = path(&value()),
                "--event-monitor" => options.events = path(&value()),
                "--seccomp" => drop(value()),
                "--no-shutdown" => options.stays = true,
                "--standin-root" => options.root = Some(PathBuf::from(value())),
                "--standin-fault" => {
                    let wanted = value();
                    let fault = FAULTS.iter().find(|(name, _)| *name == wanted);
                    options.faults.push(fault.ok_or_else(|| format!("there is no fault '{wanted}'"))?.1);
                }
                other => return Err(format!("error: unexpected argument '{other}' found")),
            }
        }
        Ok(options)
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

fn path(text: &str) -> PathBuf {
    text.strip_prefix("path=").unwrap_or(text).into()
}
