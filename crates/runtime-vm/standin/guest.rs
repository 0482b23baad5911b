//! A guest that is a process.

use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::Result;
use crate::options::Options;

/// A disk image that ends with this code has reset its machine.
const RESET: i32 = 100;

/// And with this one its kernel has panicked.
const PANIC: i32 = 101;

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Off,
    Reset,
    Panic,
}

/// A guest. It ends when it is dropped, and when the VMM is killed.
pub(crate) struct Guest {
    /// None: a test plays it.
    process: Option<Child>,
    image: bool,
    vsock: Option<(UnixListener, PathBuf)>,
}

impl Guest {
    pub(crate) fn start(options: &Options, config: &Value) -> Result<Self> {
        check(config)?;
        let Some(vsock) = config["vsock"]["socket"].as_str() else {
            let disk = config["disks"][0]["path"].as_str().ok_or("a disk image has no disk")?;
            let mut command = guarded();
            command.args(["sh", disk]);
            return Ok(Self { process: Some(run(command)?), image: false, vsock: None });
        };
        // One that is there makes the boot fail.
        let listener = UnixListener::bind(vsock)?;
        let process = options.root.as_ref().map(|root| {
            let mut command = guarded();
            command.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net"]);
            command.arg(env!("RING_GUEST_INIT")).arg("--test-socket").arg(format!("{vsock}_1024"));
            command.arg("--test-root").arg(root);
            for share in config["fs"].as_array().into_iter().flatten() {
                let tag = share["tag"].as_str().unwrap_or_default();
                let served = format!("{}.dir", share["socket"].as_str().unwrap_or_default());
                let dir = std::fs::read_to_string(&served).unwrap_or_default();
                command.arg("--test-share").arg(format!("{tag}={dir}"));
            }
            run(command)
        });
        Ok(Self { process: process.transpose()?, image: true, vsock: Some((listener, vsock.into())) })
    }

    /// None as long as it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<Ended>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let Some(status) = process.try_wait()? else { return Ok(None) };
        Ok(Some(match (self.image, status.code()) {
            // An init that ends for another reason takes its kernel with it.
            (true, Some(0)) => Ended::Off,
            (true, _) => Ended::Panic,
            (false, Some(RESET)) => Ended::Reset,
            (false, Some(PANIC)) => Ended::Panic,
            (false, _) if status.signal() == Some(9) => Ended::Panic,
            (false, _) => Ended::Off,
        }))
    }

    /// Presses the power button.
    pub(crate) fn press(&self) -> Result<()> {
        let pid = self.process.as_ref().map(Pid::from_child).ok_or("there is no button")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = kill_process_group(Pid::from_child(process), Signal::KILL);
            let _ = process.wait();
        }
        if let Some((_, path)) = &self.vsock {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Ends with this process, also when that is killed.
fn guarded() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command
}

fn run(mut command: Command) -> Result<Child> {
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    Ok(command.stdin(Stdio::null()).process_group(0).spawn()?)
}

/// What the real one refuses or what would go wrong with it.
fn check(config: &Value) -> Result<()> {
    let payload = &config["payload"];
    if payload["kernel"].is_null() && payload["firmware"].is_null() {
        return Err("no payload".into());
    }
    for disk in config["disks"].as_array().into_iter().flatten() {
        if disk["image_type"] != "Raw" {
            return Err("the type of a disk image is not given".into());
        }
        std::fs::metadata(disk["path"].as_str().unwrap_or_default())?;
    }
    for share in config["fs"].as_array().into_iter().flatten() {
        if ["tag", "socket", "num_queues", "queue_size"].iter().any(|field| share[field].is_null()) {
            return Err("a field of fs is missing".into());
        }
        if config["memory"]["shared"] != true {
            return Err("virtiofs needs shared memory".into());
        }
    }
    if config["cpus"]["boot_vcpus"].as_u64().unwrap_or_default() == 0
        || config["memory"]["size"].as_u64().unwrap_or_default() == 0
    {
        return Err("no processors or no memory".into());
    }
    Ok(())
}
