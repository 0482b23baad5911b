//! A moving line on a terminal; silence anywhere else.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One moving line on standard error.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Starts it; it shows nothing where standard error is no terminal.
    pub(crate) fn start() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Says what is going on.
    pub(crate) fn say(&self, text: String) {
        self.0.set_message(text);
    }

    /// Lets a line be printed without the moving one in its way.
    pub(crate) fn aside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
