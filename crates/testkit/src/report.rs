//! The one place of the test support that prints: skipped tests, figures, and logs of what failed.

use std::io::Write;

/// Prints a line the test harness does not swallow.
pub fn line(text: &str) {
    // One write, on a line of its own: the harness has written `test NAME ... ` before. A closed stderr is no reason to fail.
    let _ = std::io::stderr().write_all(format!("\n{text}\n").as_bytes());
}

/// Says loudly that a test did not run; with `RING_REQUIRE_LAB` set it fails instead, so that CI cannot skip unnoticed.
///
/// # Panics
/// When `RING_REQUIRE_LAB` is set.
pub fn skipped(test: &str, reason: &str) {
    assert!(std::env::var_os("RING_REQUIRE_LAB").is_none(), "{test} cannot run here and RING_REQUIRE_LAB is set: {reason}");
    line(&format!("SKIPPED: {test}: {reason}"));
}
