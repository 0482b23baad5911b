//! Writing the output down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring_runtime::LogSource;
use ring_types::Timestamp;

use super::{FILE_BYTES, FILES, LINE_BYTES, numbers, path, write_line};

/// Appends to the newest file and goes on to the next when it is full.
pub struct LogWriter {
    dir: PathBuf,
    file: File,
    number: u64,
    written: u64,
    limit: u64,
    /// Bytes that could not be written since the last that could.
    lost: u64,
}

impl LogWriter {
    /// Opens the log of a directory, made when it is not there.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::with_limit(dir, FILE_BYTES)
    }

    fn with_limit(dir: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let number = numbers(dir).last().copied().unwrap_or(1);
        let file = create(dir, number)?;
        let written = file.metadata()?.len();
        Ok(Self { dir: dir.to_owned(), file, number, written, limit, lost: 0 })
    }

    /// Writes whole lines. Output that does not fit on the disk is dropped, and the log says so as soon as it can: a workload is
    /// never stopped or slowed by its log.
    pub fn write(&mut self, at: Timestamp, lines: &[u8]) {
        self.write_marked(at, lines, &[]);
    }

    /// As [`Self::write`], with a line of the driver's own behind them, in the same piece. It is not counted as output.
    pub fn write_marked(&mut self, at: Timestamp, lines: &[u8], mark: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let text = [&self.note_of_loss(at), lines, mark].concat();
        if self.append(&text).is_ok() {
            self.lost = 0;
        } else {
            self.lost += lines.len() as u64;
        }
    }

    fn note_of_loss(&self, at: Timestamp) -> Vec<u8> {
        let mut note = Vec::new();
        if self.lost > 0 {
            // The write that failed may have left half a line.
            note.push(b'\n');
            write_line(
                &mut note,
                at,
                LogSource::Stderr,
                format!("[ring: {} bytes of output could not be kept]", self.lost).as_bytes(),
            );
        }
        note
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written >= self.limit {
            self.rotate()?;
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = create(&self.dir, self.number + 1)?;
        self.number += 1;
        self.written = 0;
        for old in numbers(&self.dir).into_iter().filter(|number| number + FILES <= self.number) {
            fs::remove_file(path(&self.dir, old))?;
        }
        Ok(())
    }
}

fn create(dir: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path(dir, number))
}

/// Cuts what an output gives into lines.
pub struct Lines {
    source: LogSource,
    ends: Ends,
    rest: Vec<u8>,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A line feed.
    Lf,
    /// A line feed, with a carriage return before it that is no part of the line: a serial console.
    CrLf,
}

impl Lines {
    /// Of one output.
    pub fn new(source: LogSource, ends: Ends) -> Self {
        Self { source, ends, rest: Vec::new() }
    }

    /// Takes what was read and gives the lines that are whole now, as they go into the file.
    pub fn push(&mut self, at: Timestamp, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (line, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |line| (line, true));
            self.rest.extend_from_slice(line);
            while self.rest.len() > LINE_BYTES {
                let tail = self.rest.split_off(LINE_BYTES);
                write_line(&mut out, at, self.source, &self.rest);
                self.rest = tail;
            }
            if ended {
                if self.ends == Ends::CrLf && self.rest.last() == Some(&b'\r') {
                    self.rest.pop();
                }
                write_line(&mut out, at, self.source, &self.rest);
                self.rest.clear();
            }
        }
        out
    }

    /// Bytes that wait for the end of their line.
    pub fn waiting(&self) -> u64 {
        self.rest.len() as u64
    }

    /// What is left when the output has ended.
    pub fn finish(&mut self, at: Timestamp) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.rest.is_empty() {
            write_line(&mut out, at, self.source, &self.rest);
            self.rest.clear();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(7);

    #[test]
    fn lines_are_whole_or_in_pieces_of_the_stated_size() {
        let mut lines = Lines::new(LogSource::Stderr, Ends::Lf);
        assert_eq!(lines.push(AT, b"a\nb"), b"7 e a\n");
        assert_eq!(lines.push(AT, b"c\n\n"), b"7 e bc\n7 e \n");
        assert_eq!(Lines::new(LogSource::Stdout, Ends::CrLf).push(AT, b"a\r\n\rb\n"), b"7 o a\n7 o \rb\n");
        let long = vec![b'x'; LINE_BYTES + 3];
        let out = lines.push(AT, &long);
        assert_eq!(out.len(), LINE_BYTES + b"7 e \n".len());
        assert_eq!(lines.finish(AT), b"7 e xxx\n");
        assert!(lines.finish(AT).is_empty());
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_line() {
        let mut lines = Lines::new(LogSource::Stdout, Ends::Lf);
        let mut exact = vec![b'x'; LINE_BYTES];
        exact.push(b'\n');
        assert_eq!(lines.push(AT, &exact).split(|b| *b == b'\n').count(), 2);
    }

    #[test]
    fn only_the_newest_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::with_limit(dir.path(), 10).unwrap();
        for _ in 0..20 {
            writer.write(AT, b"7 o hello\n");
        }
        assert_eq!(numbers(dir.path()), [18, 19, 20]);
    }
}
