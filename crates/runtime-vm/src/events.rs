//! What the VMM writes down about its VM: JSON objects one after another, in a file that stays when nobody reads it.
//!
//! A guest that is reset for ever has no end of them. When nobody reads, the oldest are given back to the file system (see
//! [`crate::keeper`]): a reader finds a hole, and goes on with the first whole event behind it. What is left tells the same.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::holes;

/// No more is read at once, bytes; a VM makes some hundred events of some hundred bytes in its life.
const MOST: usize = 16 << 20;

/// How every event begins.
const BEGIN: &[u8] = br#"{"timestamp""#;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Event {
    source: String,
    event: String,
}

/// An event that means something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The guest was started, or is about to be.
    Booting,
    /// The guest was reset, and is started again in place.
    Rebooted,
    /// The guest's kernel has panicked.
    Panicked,
    /// The guest is off.
    Off,
    /// The VMM ends, and takes its guest with it.
    Ending,
}

impl Event {
    fn sign(&self) -> Option<Sign> {
        match (self.source.as_str(), self.event.as_str()) {
            ("vm", "booting" | "booted") => Some(Sign::Booting),
            ("vm", "rebooting" | "rebooted") => Some(Sign::Rebooted),
            ("vm", "shutdown") => Some(Sign::Off),
            ("guest", "panic") => Some(Sign::Panicked),
            ("vmm", "shutdown") => Some(Sign::Ending),
            _ => None,
        }
    }
}

/// The file of events, and how far it was read.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    path: PathBuf,
    offset: u64,
}

impl Events {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0 }
    }

    /// The signs that came since the last time. What is not whole yet is read the next time.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Sign>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let Some((at, bytes)) = holes::read(&file, self.offset, MOST)? else { return Ok(Vec::new()) };
        // The end of an event whose beginning is gone.
        let torn = if at > self.offset { begin(&bytes) } else { 0 };
        let (signs, read) = signs(&bytes[torn..]);
        self.offset = at + (torn + read) as u64;
        Ok(signs)
    }
}

/// Where the first whole event begins; the length when none does.
fn begin(bytes: &[u8]) -> usize {
    bytes.windows(BEGIN.len()).position(|window| window == BEGIN).unwrap_or(bytes.len())
}

/// The signs in a piece of the file, and the length of what was whole.
fn signs(bytes: &[u8]) -> (Vec<Sign>, usize) {
    let mut events = serde_json::Deserializer::from_slice(bytes).into_iter::<Event>();
    let mut found = Vec::new();
    let mut whole = 0;
    while let Some(Ok(event)) = events.next() {
        whole = events.byte_offset();
        found.extend(event.sign());
    }
    (found, whole)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    fn event(source: &str, event: &str) -> String {
        format!(r#"{{"timestamp":{{"secs":1,"nanos":2}},"source":"{source}","event":"{event}","properties":{{"a":"b"}}}}"#)
    }

    #[test]
    fn events_are_read_as_they_come_and_never_in_halves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut events = Events::new(&path);
        assert_eq!(events.read().unwrap(), []);
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let (booted, panic) = (event("vm", "booted"), event("guest", "panic"));
        let (half, rest) = panic.split_at(40);
        write!(file, "{}\n{booted}{half}", event("virtio-device", "reset")).unwrap();
        assert_eq!(events.read().unwrap(), [Sign::Booting]);
        assert_eq!(events.read().unwrap(), []);
        write!(file, "{rest}\n\n{}", event("vm", "rebooted")).unwrap();
        assert_eq!(events.read().unwrap(), [Sign::Panicked, Sign::Rebooted]);
    }

    #[test]
    fn a_reader_goes_on_behind_what_was_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let resets = event("vm", "rebooted").repeat(30_000);
        std::fs::write(&path, format!("{}{resets}", event("vm", "booted"))).unwrap();
        let hole = 2 << 20;
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        holes::give_back(&file, 0, hole).unwrap();
        let mut events = Events::new(&path);
        let signs = events.read().unwrap();
        let each = event("vm", "rebooted").len() as u64;
        let left = (std::fs::metadata(&path).unwrap().len() - hole) / each;
        assert!(signs.iter().all(|sign| *sign == Sign::Rebooted));
        assert_eq!(signs.len() as u64, left);
        assert_eq!(events.read().unwrap(), []);
        (&file).write_all(event("guest", "panic").as_bytes()).unwrap();
        assert_eq!(events.read().unwrap(), [Sign::Panicked]);
    }

    #[test]
    fn a_device_that_is_reset_is_no_reboot() {
        assert_eq!(signs(event("virtio-device", "reset").as_bytes()).0, []);
        assert_eq!(signs(event("vm", "shutdown").as_bytes()).0, [Sign::Off]);
    }
}
