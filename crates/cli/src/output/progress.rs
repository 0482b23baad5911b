//! How much of a file has come.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A line on a terminal that goes away at the end; nothing elsewhere.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Nothing has come yet.
    pub(crate) fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So much has come.
    pub(crate) fn at(&self, bytes: u64) {
        self.0.set_message(format!("{} received", HumanBytes(bytes)));
        self.0.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
