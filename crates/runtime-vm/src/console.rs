//! The serial console: what the VMM prints, into a file it only appends to.
//!
//! The file cannot be renamed or cut while the VMM has it open. What was read is given back to the file system instead, from the
//! beginning of the file on: the file keeps its length and takes no room. What nobody has read is given back, too, when it becomes
//! too much (see [`crate::keeper`]): a reader goes on behind the hole.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::holes;

/// Read at once, bytes.
const PIECE: usize = 64 * 1024;

/// So much behind the place that was read to stays, for people who ask why a guest did not come up.
const KEPT: u64 = 1 << 20;

/// The end of a console that is looked at when something went wrong, bytes.
const TAIL: u64 = 16 * 1024;

/// What is told of it, lines.
const TOLD: usize = 5;

/// What Linux says when it gives up, before its registers and the way it got there.
const PANIC: &str = "Kernel panic - not syncing";

/// What it says behind them.
const PANICKED: &str = "---[ end Kernel panic";

/// The console of one instance, and how far it was read.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    path: PathBuf,
    offset: u64,
    /// Given back up to here.
    freed: u64,
}

impl Console {
    /// Reads on from this offset.
    pub(crate) fn new(path: &Path, offset: u64) -> Self {
        Self { path: path.to_owned(), offset, freed: 0 }
    }

    /// The next piece and where it begins. Empty when there is no more now.
    pub(crate) fn read(&mut self) -> io::Result<(u64, Vec<u8>)> {
        let file = match File::options().read(true).write(true).open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((self.offset, Vec::new())),
            opened => opened?,
        };
        let Some((at, piece)) = holes::read(&file, self.offset, PIECE)? else { return Ok((self.offset, Vec::new())) };
        self.offset = at + piece.len() as u64;
        self.give_back(&file);
        Ok((at, piece))
    }

    fn give_back(&mut self, file: &File) {
        let until = self.offset.saturating_sub(KEPT);
        if until < self.freed + KEPT {
            return;
        }
        if let Err(error) = holes::give_back(file, self.freed, until) {
            tracing::warn!(path = %self.path.display(), %error, "what was read of a console stays on the disk");
        }
        self.freed = until;
    }
}

/// The last lines, for a message: up to where its kernel gave up, if it did.
pub(crate) fn tail(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(TAIL)).ok()?];
    file.read_exact_at(&mut bytes, length.saturating_sub(TAIL)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let printable = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let lines: Vec<String> = text.lines().map(|line| line.trim_end().replace(|c| printable(c) != c, " ")).collect();
    let gave_up = |line: &String| line.contains(PANIC) && !line.contains(PANICKED);
    let end = lines.iter().rposition(gave_up).map_or(lines.len(), |line| line + 1);
    let last: Vec<_> = lines[..end].iter().rev().filter(|line| !line.is_empty()).take(TOLD).cloned().collect();
    let told = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_was_read_takes_no_room_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        let mut console = Console::new(&path, 0);
        let mut read = 0;
        for round in 0..160_u32 {
            file.write_all(&vec![u8::try_from(round % 251).unwrap(); PIECE]).unwrap();
            let (at, piece) = console.read().unwrap();
            assert_eq!(at, u64::from(round) * PIECE as u64);
            assert!(piece.iter().all(|byte| u32::from(*byte) == round % 251), "round {round}");
            read += piece.len();
        }
        assert_eq!(read, 160 * PIECE);
        assert!(console.read().unwrap().1.is_empty());
        let room = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(room <= 4 << 20, "{room} bytes are taken");
    }

    #[test]
    fn a_reader_goes_on_behind_what_was_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        file.write_all(&vec![1; 4 << 20]).unwrap();
        file.write_all(b"end").unwrap();
        let mut console = Console::new(&path, 100);
        assert_eq!(console.read().unwrap().0, 100);
        holes::give_back(&file, 0, 3 << 20).unwrap();
        let (at, piece) = console.read().unwrap();
        assert_eq!((at, piece[0]), (3 << 20, 1));
        let mut last = piece;
        loop {
            let (_, piece) = console.read().unwrap();
            if piece.is_empty() {
                break;
            }
            last = piece;
        }
        assert!(last.ends_with(b"end"));
    }

    #[test]
    fn the_end_of_a_console_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        std::fs::write(&path, "booting\r\n\r\nKernel panic - not syncing\r\n").unwrap();
        assert_eq!(tail(&path).unwrap(), "booting | Kernel panic - not syncing");
        assert_eq!(tail(&dir.path().join("none")), None);
    }

    #[test]
    fn of_a_panic_its_reason_is_told_and_no_registers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let registers = "RAX: 0 RBX: 1\r\n".repeat(40);
        let told = format!(
            "up\r\n[ 2.1] Kernel panic - not syncing: no init\r\n{registers}[ 2.2] ---[ end Kernel panic - not syncing: no init ]---\r\n"
        );
        std::fs::write(&path, told).unwrap();
        assert_eq!(tail(&path).unwrap(), "up | [ 2.1] Kernel panic - not syncing: no init");
    }
}
