//! A log that says how much of each output is in it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use ring_runtime_host::logs::{LogWriter, numbers, path};
use ring_types::Timestamp;

/// A log, and how far it goes.
pub(crate) struct Marked {
    log: LogWriter,
    marks: Marks,
}

/// How much of each output is in the log, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

impl Marked {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let numbers = numbers(dir);
        let (marks, whole) = marks(dir, &numbers)?;
        if let (Some(newest), Some(whole)) = (numbers.last(), whole) {
            // What comes behind the last mark was cut off in the middle, and comes again.
            OpenOptions::new().write(true).open(path(dir, *newest))?.set_len(whole)?;
        }
        Ok(Self { log: LogWriter::open(dir)?, marks })
    }

    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    /// Writes whole lines, and how far they go.
    pub(crate) fn write(&mut self, at: Timestamp, lines: &[u8], marks: Marks) {
        self.marks = marks;
        let mark = format!("{} m {} {}\n", at.0, marks.stdout, marks.stderr);
        self.log.write_marked(at, lines, mark.as_bytes());
    }
}

/// The last mark of a log, and where in its newest file the last whole batch ends: None when that file has no mark of its own.
fn marks(dir: &Path, numbers: &[u64]) -> io::Result<(Marks, Option<u64>)> {
    for number in numbers.iter().rev() {
        let text = fs::read(path(dir, *number))?;
        let mut end = 0;
        let mut last = None;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            end += line.len() as u64;
            if let Some(marks) = line.strip_suffix(b"\n").and_then(parse_mark) {
                last = Some((marks, end));
            }
        }
        if let Some((marks, end)) = last {
            return Ok((marks, (Some(number) == numbers.last()).then_some(end)));
        }
    }
    // A log without a mark has nothing that would not come again.
    Ok((Marks::default(), (!numbers.is_empty()).then_some(0)))
}

fn parse_mark(line: &[u8]) -> Option<Marks> {
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [at, "m", stdout, stderr] = words.as_slice() else { return None };
    at.parse::<i64>().ok()?;
    Some(Marks { stdout: stdout.parse().ok()?, stderr: stderr.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const AT: Timestamp = Timestamp(7);

    #[test]
    fn writing_goes_on_behind_the_last_mark() {
        let dir = tempfile::tempdir().unwrap();
        let first = Marks { stdout: 6, stderr: 0 };
        let mut writer = Marked::open(dir.path()).unwrap();
        writer.write(AT, b"7 o hello\n", first);
        let mut file = OpenOptions::new().append(true).open(path(dir.path(), 1)).unwrap();
        file.write_all(b"7 e cut off in the mid").unwrap();
        let mut writer = Marked::open(dir.path()).unwrap();
        assert_eq!(writer.marks(), first);
        writer.write(AT, b"7 e again\n", Marks { stderr: 6, ..first });
        let text = fs::read_to_string(path(dir.path(), 1)).unwrap();
        assert_eq!(text, "7 o hello\n7 m 6 0\n7 e again\n7 m 6 6\n");
    }

    #[test]
    fn a_mark_is_found_in_an_older_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path(), 3), "7 o a\n7 m 2 0\n").unwrap();
        fs::write(path(dir.path(), 4), "").unwrap();
        assert_eq!(Marked::open(dir.path()).unwrap().marks(), Marks { stdout: 2, stderr: 0 });
        assert_eq!(fs::read_to_string(path(dir.path(), 3)).unwrap(), "7 o a\n7 m 2 0\n");
    }
}
