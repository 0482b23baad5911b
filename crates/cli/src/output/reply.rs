//! What a command has to say, and how it is shown.

use std::process::ExitCode;

use super::print::{data, data_screen, failure, note, warning};
use super::view::{Screen, View};
use crate::error::CliError;
use crate::format::Format;

/// What a command returns.
#[derive(Default)]
pub(crate) struct Reply {
    body: Body,
    notes: Vec<String>,
    warnings: Vec<String>,
    code: u8,
}

#[derive(Default)]
enum Body {
    #[default]
    Nothing,
    Lines(Vec<String>),
    View(Box<dyn View>, Format),
}

impl Reply {
    /// A line of data.
    pub(crate) fn line(line: impl Into<String>) -> Self {
        Self::lines(vec![line.into()])
    }

    /// Lines of data.
    pub(crate) fn lines(lines: Vec<String>) -> Self {
        Self { body: Body::Lines(lines), ..Self::default() }
    }

    /// A list or an object.
    pub(crate) fn view(view: impl View + 'static, format: Format) -> Self {
        Self { body: Body::View(Box::new(view), format), ..Self::default() }
    }

    /// With a line for people.
    pub(crate) fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// With warnings.
    pub(crate) fn warn(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(lines);
        self
    }

    /// With an exit code that says something, though nothing failed.
    pub(crate) fn exit(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The text of the data, as it goes to standard output.
    pub(crate) fn text(&self, screen: Screen) -> Result<String, CliError> {
        match &self.body {
            Body::Nothing => Ok(String::new()),
            Body::Lines(lines) => Ok(lines.join("\n")),
            Body::View(view, format) => view.render(*format, screen),
        }
    }
}

/// Shows a reply.
pub(crate) fn reply(reply: &Reply) -> ExitCode {
    for line in &reply.warnings {
        warning(line);
    }
    let shown = reply.text(data_screen()).and_then(|text| if text.is_empty() { Ok(()) } else { data(&text) });
    for line in &reply.notes {
        note(line);
    }
    match shown {
        Ok(()) => ExitCode::from(reply.code),
        Err(error) => failure(&error),
    }
}
