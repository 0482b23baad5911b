//! The keeper: a process beside each VMM that keeps small what the VMM only ever appends to, also while no agent is there.
//!
//! The VMM writes the serial console, its own log and its events into files it holds open, so that nothing has to be there for it
//! to go on. A guest that floods its console, or is reset for ever, would fill the disk. The keeper gives the oldest part of such a
//! file back to the file system: the file keeps its length, and a reader finds a hole where something is gone (see
//! [`crate::holes`]). It carries no byte itself: a keeper that is killed costs the bound and nothing else, and the next agent
//! starts another.
//!
//! File systems that cannot make holes (NFS before 4.2) have no bound.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use ring_runtime_host::notice::Notice;
use ring_runtime_host::proc::{self, ProcessId};
use tokio::process::Command;

use crate::holes;
use crate::layout::InstanceDir;
use crate::spawn;

/// So much of a file stays, bytes; up to [`PIECE`] more between two looks.
pub(crate) const KEPT: u64 = 16 << 20;

/// Given back at once, and to a multiple of it: a block of a file system is gone as a whole or not at all.
const PIECE: u64 = 1 << 20;

/// Between two looks, however often something is written.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the keeper of an instance's files, unless one is there. `command` is empty: there is none.
pub(crate) fn ensure(command: &[OsString], dir: &InstanceDir, vmm: ProcessId) -> io::Result<()> {
    let Some((program, first)) = command.split_first() else { return Ok(()) };
    let (run, of) = (dir.run(), argument(vmm));
    // One of a VMM that was there before is about to end.
    let of_this = proc::with_argument(&of);
    if proc::with_argument(run.as_os_str()).iter().any(|keeper| of_this.contains(keeper)) {
        return Ok(());
    }
    let mut command = Command::new(program);
    command.args(first).arg(run).arg(of);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    spawn::detached(command).map(drop)
}

/// Runs as a keeper until its VMM is gone: what `ring` calls for its hidden subcommand, with the arguments that follow it.
pub fn keeper_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [run, of] = args.as_slice() else { return ExitCode::from(2) };
    let Some(vmm) = process(of) else { return ExitCode::from(2) };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return ExitCode::FAILURE };
    runtime.block_on(keep(Path::new(run), vmm));
    ExitCode::SUCCESS
}

/// A process, as a keeper is told of it.
fn argument(process: ProcessId) -> OsString {
    format!("{}@{}", process.pid, process.start).into()
}

fn process(argument: &OsStr) -> Option<ProcessId> {
    let (pid, start) = argument.to_str()?.split_once('@')?;
    Some(ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? })
}

async fn keep(run: &Path, vmm: ProcessId) {
    let notice = Notice::of([run]);
    let files = [InstanceDir::console_in(run), InstanceDir::vmm_log_in(run), InstanceDir::events_in(run)];
    let gone = proc::gone(vmm);
    tokio::pin!(gone);
    loop {
        for file in &files {
            // A file that is not there yet, or a disk that says no: there is another look.
            let _ = shorten(file, KEPT);
        }
        let looked = async {
            tokio::time::sleep(PAUSE).await;
            notice.changed().await;
        };
        tokio::select! {
            () = looked => {}
            () = &mut gone => return,
        }
    }
}

/// Gives back what is older than the last `kept` bytes, in whole pieces.
fn shorten(path: &Path, kept: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let until = file.metadata()?.len().saturating_sub(kept) / PIECE * PIECE;
    if until == 0 {
        return Ok(());
    }
    if holes::data(&file, 0)?.is_some_and(|from| from < until) { holes::give_back(&file, 0, until) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_process_is_written_as_it_is_read() {
        let vmm = ProcessId { pid: 42, start: 98765 };
        assert_eq!(process(&argument(vmm)), Some(vmm));
        assert_eq!(process(OsStr::new("42")), None);
    }

    #[test]
    fn the_newest_bytes_stay_and_the_oldest_take_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        let piece: Vec<u8> = (0..PIECE).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for _ in 0..10 {
            file.write_all(&piece).unwrap();
        }
        file.write_all(b"end").unwrap();
        shorten(&path, 2 * PIECE).unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(found.len(), 10 * PIECE + 3, "places in the file stay what they are");
        assert!(found.blocks() * 512 <= 3 * PIECE, "{} bytes are taken", found.blocks() * 512);
        let content = std::fs::read(&path).unwrap();
        assert!(content.ends_with(&[&piece[..], b"end"].concat()));
        let file = File::open(&path).unwrap();
        assert_eq!(holes::data(&file, 0).unwrap(), Some(8 * PIECE));
        shorten(&path, 2 * PIECE).unwrap();
        shorten(&path, 64 * PIECE).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().blocks(), found.blocks());
    }
}
