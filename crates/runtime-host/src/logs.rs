//! Output of a workload: numbered files of bounded size, one line of output a line of the file.
//!
//! A line is `<milliseconds since 1970> <o|e> <bytes>`. The newest [`FILES`] files of about [`FILE_BYTES`] each are kept, so an
//! instance keeps at least 20 MiB of its last output. A file is never renamed: a reader goes from one number to the next. It passes
//! over lines of another form: a driver may keep some for itself.

mod follow;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ring_runtime::{LogLine, LogSource};
use ring_types::Timestamp;

pub use follow::follow;
pub use reader::{Position, read};
pub use writer::{Ends, Lines, LogWriter};

/// A file that has reached this size is finished.
pub const FILE_BYTES: u64 = 10 * 1024 * 1024;

/// So many files are kept.
pub const FILES: u64 = 3;

/// Longer lines come in pieces of this size.
pub const LINE_BYTES: usize = 16 * 1024;

/// Where the file of this number is.
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// Numbers of the files there are, in order.
pub fn numbers(dir: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_suffix(".log")?.parse().ok();
    let mut numbers: Vec<u64> = entries.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

fn write_line(into: &mut Vec<u8>, at: Timestamp, source: LogSource, line: &[u8]) {
    let mark = match source {
        LogSource::Stdout => b'o',
        LogSource::Stderr => b'e',
    };
    into.extend_from_slice(at.0.to_string().as_bytes());
    into.extend_from_slice(&[b' ', mark, b' ']);
    into.extend_from_slice(line);
    into.push(b'\n');
}

/// Reads one line of a file, without its line end. None for what is not one, such as a line cut off by a full disk.
fn parse_line(text: &[u8]) -> Option<LogLine> {
    let space = text.iter().position(|b| *b == b' ')?;
    let at: i64 = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let source = match text.get(space + 1)? {
        b'o' => LogSource::Stdout,
        b'e' => LogSource::Stderr,
        _ => return None,
    };
    let line = text.get(space + 3..)?;
    (text[space + 2] == b' ').then(|| LogLine { at: Timestamp(at), source, line: Bytes::copy_from_slice(line) })
}
