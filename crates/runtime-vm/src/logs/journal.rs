//! Both outputs of one instance on their way into its log, each byte once.
//!
//! A place in the output counts the bytes of both outputs together, as the guest does. What is in the log up to which place is
//! written with every batch of lines, so that an agent that is started again goes on there.

use std::io;
use std::path::Path;

use ring_runtime::LogSource;
use ring_runtime_host::logs::{Ends, Lines};
use ring_types::Timestamp;

use super::marked::{Marked, Marks};

/// A line whose end has not come is cut when so many bytes of output have come after its beginning: until it is in the log,
/// nothing after it counts as safe.
const HELD: u64 = 256 * 1024;

/// One output.
struct Stream {
    lines: Lines,
    /// Everything of it before this place was in the log when that was opened.
    known: u64,
    /// Where the line begins whose end has not come.
    held: Option<u64>,
}

/// The log of an instance, open for writing.
pub(crate) struct Journal {
    writer: Marked,
    stdout: Stream,
    stderr: Stream,
    /// The place behind all that has been seen.
    next: u64,
}

impl Stream {
    fn new(source: LogSource, ends: Ends, known: u64) -> Self {
        Self { lines: Lines::new(source, ends), known, held: None }
    }

    /// Takes the bytes that begin at `at`, and gives the lines that are whole now.
    fn push(&mut self, now: Timestamp, at: u64, bytes: &[u8]) -> Vec<u8> {
        let text = self.lines.push(now, bytes);
        let waiting = self.lines.waiting();
        if waiting <= bytes.len() as u64 {
            // What waits came with these bytes, all of it.
            self.held = (waiting > 0).then(|| at + bytes.len() as u64 - waiting);
        }
        text
    }

    fn finish(&mut self, now: Timestamp) -> Vec<u8> {
        self.held = None;
        self.lines.finish(now)
    }
}

impl Journal {
    /// Opens a log, made when it is not there, to go on where it ends.
    pub(crate) fn open(dir: &Path, ends: Ends) -> io::Result<Self> {
        let writer = Marked::open(dir)?;
        let Marks { stdout, stderr } = writer.marks();
        Ok(Self {
            writer,
            stdout: Stream::new(LogSource::Stdout, ends, stdout),
            stderr: Stream::new(LogSource::Stderr, ends, stderr),
            next: stdout.min(stderr),
        })
    }

    /// Takes a piece of output that begins at this place. What was seen before is left out; what is missing is said.
    pub(crate) fn take(&mut self, now: Timestamp, source: LogSource, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let missing = offset.saturating_sub(self.next);
        if missing > 0 {
            self.finish(now);
            self.note(now, &format!("{missing} bytes of output are missing"));
        }
        let seen = self.next;
        let stream = self.stream(source);
        let from = seen.max(stream.known).max(offset);
        let fresh = usize::try_from(from - offset).ok().and_then(|skip| bytes.get(skip..)).unwrap_or_default();
        let text = if fresh.is_empty() { Vec::new() } else { stream.push(now, from, fresh) };
        self.next = self.next.max(end);
        self.write(now, &text);
        self.cut(now);
    }

    /// A line of the driver itself.
    pub(crate) fn note(&mut self, now: Timestamp, message: &str) {
        let mut lines = Lines::new(LogSource::Stderr, Ends::Lf);
        let text = lines.push(now, format!("[ring: {message}]\n").as_bytes());
        self.write(now, &text);
    }

    /// Both outputs are at their ends, or go on elsewhere.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        let mut text = self.stdout.finish(now);
        text.extend(self.stderr.finish(now));
        self.write(now, &text);
    }

    /// Everything before this place is in the log.
    pub(crate) fn written(&self) -> u64 {
        let marks = self.marks();
        marks.stdout.min(marks.stderr)
    }

    fn cut(&mut self, now: Timestamp) {
        let next = self.next;
        let mut text = Vec::new();
        for stream in [&mut self.stdout, &mut self.stderr] {
            if stream.held.is_some_and(|held| next - held > HELD) {
                text.extend(stream.finish(now));
            }
        }
        self.write(now, &text);
    }

    fn marks(&self) -> Marks {
        let of = |stream: &Stream| stream.held.unwrap_or(self.next).max(stream.known);
        Marks { stdout: of(&self.stdout), stderr: of(&self.stderr) }
    }

    fn write(&mut self, now: Timestamp, text: &[u8]) {
        let marks = self.marks();
        self.writer.write(now, text, marks);
    }

    fn stream(&mut self, source: LogSource) -> &mut Stream {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use ring_runtime::LogRequest;
    use ring_runtime::LogSource::{Stderr, Stdout};

    use super::*;

    const AT: Timestamp = Timestamp(7);

    fn told(dir: &Path) -> Vec<String> {
        let (lines, _) = super::super::read(dir, LogRequest::default()).unwrap();
        lines.into_iter().map(|line| String::from_utf8(line.line.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_comes_twice_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Ends::Lf).unwrap();
        journal.take(AT, Stdout, 0, b"one\ntw");
        journal.take(AT, Stdout, 4, b"two\n");
        journal.take(AT, Stdout, 0, b"one\n");
        assert_eq!(told(dir.path()), ["one", "two"]);
    }

    /// The output of both sources, sent again from where the log says.
    #[test]
    fn a_log_that_is_opened_again_goes_on_where_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let all = [(Stderr, 0, &b"oh\n"[..]), (Stdout, 3, b"one\nha"), (Stderr, 9, b"no\n"), (Stdout, 12, b"lf\n")];
        let mut journal = Journal::open(dir.path(), Ends::Lf).unwrap();
        for (source, offset, bytes) in &all[..3] {
            journal.take(AT, *source, *offset, bytes);
        }
        assert_eq!(journal.written(), 7, "half a line is not in the log");
        let mut journal = Journal::open(dir.path(), Ends::Lf).unwrap();
        assert_eq!(journal.written(), 7);
        journal.take(AT, Stdout, 7, b"ha");
        for (source, offset, bytes) in &all[2..] {
            journal.take(AT, *source, *offset, bytes);
        }
        assert_eq!(told(dir.path()), ["oh", "one", "no", "half"]);
        assert_eq!(journal.written(), 15);
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Ends::Lf).unwrap();
        journal.take(AT, Stdout, 0, b"half");
        journal.take(AT, Stdout, 14, b"on\n");
        assert_eq!(told(dir.path()), ["half", "[ring: 10 bytes of output are missing]", "on"]);
        assert_eq!(journal.written(), 17);
    }

    #[test]
    fn a_line_without_an_end_does_not_hold_up_the_other_output_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Ends::Lf).unwrap();
        journal.take(AT, Stdout, 0, b"prompt: ");
        let line = [b'x'; 1024].iter().copied().chain([b'\n']).collect::<Vec<_>>();
        let mut at = 8;
        while at < 2 * HELD {
            journal.take(AT, Stderr, at, &line);
            at += line.len() as u64;
            assert!(at - journal.written() <= HELD + 1025, "{at} bytes came, {} are safe", journal.written());
        }
        assert!(told(dir.path()).contains(&"prompt: ".to_owned()));
    }
}
