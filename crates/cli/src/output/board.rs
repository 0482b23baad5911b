//! What is waited for, a moving line each on a terminal: what has come to its end scrolls away above. Silence anywhere else.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize;

use super::print::talk_has_colour;
use crate::time::took;

/// Rows left to what is above and below.
const SPARE_ROWS: usize = 4;
/// Rows of a terminal that does not know its size.
const ROWS: usize = 24;
const TICK: Duration = Duration::from_millis(120);

/// Moving lines on standard error.
pub(crate) struct Board {
    bars: MultiProgress,
    moving: BTreeMap<String, ProgressBar>,
    /// Says what has no line of its own.
    foot: ProgressBar,
    hidden: usize,
    room: usize,
    begun: Instant,
    terminal: bool,
}

impl Board {
    /// Starts it; it shows nothing where standard error is no terminal that can move lines.
    pub(crate) fn start() -> Self {
        // It hides itself where lines cannot move: off a terminal, and on one that says it is dumb.
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let terminal = !bars.is_hidden();
        let rows = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_row));
        let rows = if rows == 0 { ROWS } else { rows };
        Self {
            bars,
            moving: BTreeMap::new(),
            foot: ProgressBar::hidden(),
            hidden: 0,
            room: rows.saturating_sub(SPARE_ROWS).max(1),
            begun: Instant::now(),
            terminal,
        }
    }

    /// Says where `key` is now. Those that find no room are counted in one line below the others.
    pub(crate) fn show(&mut self, key: &str, text: String) {
        if !self.terminal {
            return;
        }
        if let Some(bar) = self.moving.get(key) {
            bar.set_message(text);
        } else if self.moving.len() < self.room {
            let foot = self.foot_bar();
            let bar = self.bars.insert_before(&foot, spinner());
            bar.set_message(text);
            self.moving.insert(key.to_owned(), bar);
        } else {
            self.hidden += 1;
        }
    }

    /// Ends a round of `show`.
    pub(crate) fn shown(&mut self) {
        let text = match std::mem::take(&mut self.hidden) {
            0 => String::new(),
            hidden => format!("and {hidden} more"),
        };
        self.foot.set_message(text);
    }

    /// `key` has come to its end: a line that stays.
    pub(crate) fn end(&mut self, key: &str, text: &str, good: bool) {
        if let Some(bar) = self.moving.remove(key) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        if !self.terminal {
            return;
        }
        let after = took(ring_types::Span::from(self.begun.elapsed()));
        // Where it cannot be written there is nobody to tell.
        let _ = self.bars.println(format!("{} {after:>5}  {text}", mark(good)));
    }

    /// Says what is in the way of all.
    pub(crate) fn say(&mut self, text: String) {
        if self.terminal {
            self.foot_bar().set_message(text);
        }
    }

    /// Can it be seen?
    pub(crate) fn is_seen(&self) -> bool {
        self.terminal
    }

    fn foot_bar(&mut self) -> ProgressBar {
        if self.foot.is_hidden() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            self.foot = self.bars.add(bar);
        }
        self.foot.clone()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for bar in self.moving.values() {
            bar.finish_and_clear();
        }
        self.foot.finish_and_clear();
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>5}  {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn mark(good: bool) -> String {
    match (talk_has_colour(), good) {
        (true, true) => "✓".green().to_string(),
        (true, false) => "✗".red().to_string(),
        (false, true) => "✓".to_owned(),
        (false, false) => "✗".to_owned(),
    }
}
