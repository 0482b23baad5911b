//! Lines on standard output and standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use owo_colors::OwoColorize;

use super::view::Screen;
use crate::error::{CliError, Exit, Shown};

/// May colour be used on this stream?
fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Is standard error a terminal where colour is wanted?
pub(super) fn talk_has_colour() -> bool {
    colour(io::stderr().is_terminal())
}

/// What standard output is.
pub(crate) fn data_screen() -> Screen {
    let out = io::stdout();
    let terminal = out.is_terminal();
    // A terminal that does not know its size says 0.
    let columns = || rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    Screen { colour: colour(terminal), width: if terminal { columns() } else { None } }
}

/// A line of data.
///
/// # Errors
/// [`CliError::OutputClosed`] when nobody reads any more.
pub fn data(line: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    written(out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()))
}

/// What it means that data could not be written.
pub(super) fn written(result: io::Result<()>) -> Result<(), CliError> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Output(error),
    })
}

/// A line for people.
pub fn note(line: &str) {
    talk(line);
}

/// Something that is not as it should be, but is no failure.
pub(crate) fn warning(line: &str) {
    if talk_has_colour() {
        talk(&format!("{} {line}", "warning:".yellow().bold()));
    } else {
        talk(&format!("warning: {line}"));
    }
}

/// A closed standard error is nobody's fault and changes no result.
fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A failure of this program, in the form every failure has.
pub(crate) fn failure(error: &CliError) -> ExitCode {
    if !matches!(error, CliError::OutputClosed) {
        shown(&error.show());
    }
    ExitCode::from(error.exit() as u8)
}

/// A failure of a part that this crate does not know.
pub fn failure_message(message: &str, hint: Option<&str>, exit: Exit) -> ExitCode {
    let hint = hint.map(str::to_owned);
    shown(&Shown { message: message.to_owned(), details: Vec::new(), hint, exit });
    ExitCode::from(exit as u8)
}

fn shown(failure: &Shown) {
    let colour = talk_has_colour();
    let word = if colour { "error:".red().bold().to_string() } else { "error:".to_owned() };
    talk(&format!("{word} {}", failure.message));
    for detail in &failure.details {
        talk(&format!("  {detail}"));
    }
    if let Some(hint) = &failure.hint {
        let word = if colour { "hint:".cyan().to_string() } else { "hint:".to_owned() };
        talk(&format!("{word} {hint}"));
    }
}

/// Help, version, or a wrong command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Where help cannot be printed there is nobody to tell.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Exit::General as u8 } else { 0 })
}
