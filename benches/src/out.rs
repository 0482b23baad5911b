//! The one place that prints: the figures on stdout, how far the run is on stderr.

use std::io::Write;

/// A line of the result.
pub fn line(text: &str) {
    // A closed pipe is the reader's decision.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line about the progress of the run.
pub fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "scale: {text}");
}
