//! Reading the files of an instance, and knowing how far.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ring_runtime::{LogLine, LogRequest};

use super::{numbers, parse_line, path};

/// A place in the output: everything before it was given.
#[derive(Clone, Debug)]
pub struct Position {
    dir: PathBuf,
    number: u64,
    offset: u64,
}

impl Position {
    /// Before everything.
    pub fn start(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), number: 0, offset: 0 }
    }

    /// Gives every whole line from here to the end of what is there, and moves behind it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn advance(&mut self, mut give: impl FnMut(LogLine)) -> io::Result<()> {
        for number in numbers(&self.dir).into_iter().filter(|number| *number >= self.number).collect::<Vec<_>>() {
            if number > self.number {
                // The file before may have grown after it was read and before this one was made.
                self.read_file(&mut give)?;
                (self.number, self.offset) = (number, 0);
            }
            self.read_file(&mut give)?;
        }
        Ok(())
    }

    fn read_file(&mut self, give: &mut impl FnMut(LogLine)) -> io::Result<()> {
        let file = match File::open(path(&self.dir, self.number)) {
            Ok(file) => file,
            // Rotated away while we were reading: what was in it is gone.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut file = BufReader::with_capacity(64 * 1024, file);
        file.seek(SeekFrom::Start(self.offset))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = file.read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                return Ok(());
            }
            self.offset += length as u64;
            parse_line(&line).into_iter().for_each(&mut *give);
        }
    }
}

/// The lines that are there and wanted, and the place behind them.
///
/// # Errors
/// Those of the disk.
pub fn read(dir: &Path, request: LogRequest) -> io::Result<(VecDeque<LogLine>, Position)> {
    let mut position = Position::start(dir);
    let mut lines = VecDeque::new();
    let keep = request.tail.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
    position.advance(|line| {
        if request.since.is_none_or(|since| line.at >= since) {
            lines.push_back(line);
        }
        if lines.len() > keep {
            lines.pop_front();
        }
    })?;
    Ok((lines, position))
}

#[cfg(test)]
mod tests {
    use ring_runtime::LogSource;
    use ring_types::Timestamp;

    use super::*;

    fn texts(lines: impl IntoIterator<Item = LogLine>) -> Vec<String> {
        lines.into_iter().map(|line| String::from_utf8(line.line.to_vec()).unwrap()).collect()
    }

    #[test]
    fn reading_goes_from_file_to_file_and_stops_before_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 4), "1 o a\ngarbage\n2 e b\n").unwrap();
        std::fs::write(path(dir.path(), 5), "3 o c\n4 o half").unwrap();
        let (lines, mut position) = read(dir.path(), LogRequest::default()).unwrap();
        assert_eq!(lines[1].source, LogSource::Stderr);
        assert_eq!(texts(lines), ["a", "b", "c"]);
        std::fs::write(path(dir.path(), 5), "3 o c\n4 o half done\n").unwrap();
        std::fs::write(path(dir.path(), 6), "5 o next\n").unwrap();
        let mut more = Vec::new();
        position.advance(|line| more.push(line)).unwrap();
        assert_eq!(texts(more), ["half done", "next"]);
    }

    #[test]
    fn tail_and_since_choose() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 1), "1 o a\n2 o b\n3 o c\n").unwrap();
        let of = |tail, since: Option<i64>| {
            let request = LogRequest { tail, since: since.map(Timestamp), follow: false };
            texts(read(dir.path(), request).unwrap().0)
        };
        assert_eq!(of(Some(2), None), ["b", "c"]);
        assert_eq!(of(None, Some(3)), ["c"]);
        assert_eq!(of(Some(0), None), Vec::<String>::new());
        assert_eq!(of(Some(9), Some(2)), ["b", "c"]);
    }
}
