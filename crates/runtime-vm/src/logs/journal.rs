//! Both outputs of one instance on their way into its log, each byte once.

use std::io;
use std::path::Path;

use ring_runtime::LogSource;
use ring_types::Timestamp;

use super::writer::{Lines, LogWriter, Marks};

/// One output.
struct Stream {
    lines: Lines,
    /// Position of the next byte that has not been seen.
    next: u64,
}

/// The log of an instance, open for writing.
pub(crate) struct Journal {
    writer: LogWriter,
    stdout: Stream,
    stderr: Stream,
}

impl Stream {
    fn new(source: LogSource, next: u64) -> Self {
        Self { lines: Lines::new(source), next }
    }

    /// How much is in the log. What waits for the end of its line is not, and comes again when the log is opened again.
    fn written(&self) -> u64 {
        self.next - self.lines.waiting()
    }
}

impl Journal {
    /// Opens a log, made when it is not there, to go on where it ends.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let writer = LogWriter::open(dir)?;
        let Marks { stdout, stderr } = writer.marks();
        Ok(Self {
            writer,
            stdout: Stream::new(LogSource::Stdout, stdout),
            stderr: Stream::new(LogSource::Stderr, stderr),
        })
    }

    /// Takes a piece of an output that begins at this position of it. What was seen before is left out; what is missing is said.
    pub(crate) fn take(&mut self, at: Timestamp, source: LogSource, offset: u64, bytes: &[u8]) {
        let stream = self.stream(source);
        let seen = usize::try_from(stream.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let missing = offset.saturating_sub(stream.next);
        let Some(fresh) = bytes.get(seen..).filter(|fresh| !fresh.is_empty()) else { return };
        let mut text = Vec::new();
        if missing > 0 {
            text.extend(stream.lines.finish(at));
            text.extend(note(at, &format!("{missing} bytes of output are missing")));
        }
        stream.next = offset.max(stream.next) + fresh.len() as u64;
        text.extend(stream.lines.push(at, fresh));
        self.write(at, &text);
    }

    /// A line of the driver itself.
    pub(crate) fn note(&mut self, at: Timestamp, message: &str) {
        self.write(at, &note(at, message));
    }

    /// Both outputs are at their ends.
    pub(crate) fn finish(&mut self, at: Timestamp) {
        let mut text = self.stdout.lines.finish(at);
        text.extend(self.stderr.lines.finish(at));
        self.write(at, &text);
    }

    /// Position behind what is in the log of an output.
    pub(crate) fn written(&self, source: LogSource) -> u64 {
        match source {
            LogSource::Stdout => self.stdout.written(),
            LogSource::Stderr => self.stderr.written(),
        }
    }

    /// Position of the next byte of an output that has not been seen.
    pub(crate) fn next(&self, source: LogSource) -> u64 {
        match source {
            LogSource::Stdout => self.stdout.next,
            LogSource::Stderr => self.stderr.next,
        }
    }

    fn write(&mut self, at: Timestamp, text: &[u8]) {
        let marks = Marks { stdout: self.stdout.written(), stderr: self.stderr.written() };
        self.writer.write(at, text, marks);
    }

    fn stream(&mut self, source: LogSource) -> &mut Stream {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        }
    }
}

fn note(at: Timestamp, message: &str) -> Vec<u8> {
    let mut lines = Lines::new(LogSource::Stderr);
    lines.push(at, format!("[ring: {message}]\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use ring_runtime::LogRequest;

    use super::*;

    const AT: Timestamp = Timestamp(7);

    fn told(dir: &Path) -> Vec<String> {
        let (lines, _) = super::super::read(dir, LogRequest::default()).unwrap();
        lines.into_iter().map(|line| String::from_utf8(line.line.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_comes_twice_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.take(AT, LogSource::Stdout, 0, b"one\ntw");
        journal.take(AT, LogSource::Stdout, 4, b"two\n");
        journal.take(AT, LogSource::Stdout, 0, b"one\n");
        assert_eq!(told(dir.path()), ["one", "two"]);
    }

    #[test]
    fn a_log_that_is_opened_again_goes_on_at_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.take(AT, LogSource::Stderr, 0, b"oh\n");
        journal.take(AT, LogSource::Stdout, 0, b"one\nhalf");
        assert_eq!((journal.written(LogSource::Stdout), journal.next(LogSource::Stdout)), (4, 8));
        let mut journal = Journal::open(dir.path()).unwrap();
        assert_eq!((journal.written(LogSource::Stdout), journal.written(LogSource::Stderr)), (4, 3));
        journal.take(AT, LogSource::Stdout, 4, b"half a line");
        journal.finish(AT);
        assert_eq!(told(dir.path()), ["oh", "one", "half a line"]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.take(AT, LogSource::Stdout, 0, b"half");
        journal.take(AT, LogSource::Stdout, 14, b"on\n");
        assert_eq!(told(dir.path()), ["half", "[ring: 10 bytes of output are missing]", "on"]);
        assert_eq!(journal.written(LogSource::Stdout), 17);
    }
}
