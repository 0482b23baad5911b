//! Lists and objects as table, JSON or YAML.

use comfy_table::presets::NOTHING;
use comfy_table::{Color, ContentArrangement, Table};
use ring_api::manifest::{Node, Value};
use ring_types::Timestamp;
use serde::Serialize;

use super::fit::Grid;
use crate::error::CliError;
use crate::format::Format;
use crate::time::{now, shown};

/// Something that can be shown in every format.
pub(crate) trait View {
    fn render(&self, format: Format, screen: Screen) -> Result<String, CliError>;
}

/// What is known of the place data goes to; the default is a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Colour may be used.
    pub(crate) colour: bool,
    /// Columns of a terminal.
    pub(crate) width: Option<usize>,
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(super) text: String,
    mood: Mood,
    pub(super) shrink: Shrink,
}

/// How a cell gives way where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shrink {
    /// Not at all.
    Never,
    /// To as much of the id as tells it from the others.
    Id,
    /// To the time since then.
    Age(Timestamp),
    /// Its end is cut off.
    KeepStart,
    /// Its beginning is cut off.
    KeepEnd,
}

/// What a cell is to a person who skims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Plain,
    Good,
    Busy,
    Bad,
}

impl Cell {
    /// A word about the state of something: coloured by what it means.
    pub(crate) fn status(text: &str) -> Self {
        let mood = match text {
            "running" | "completed" | "ready" | "yes" | "leader" | "success" => Mood::Good,
            "pending" | "creating" | "joining" | "deleted" | "unreachable" | "learner" | "draining" => Mood::Busy,
            "no" | "voter" | "drained" => Mood::Plain,
            _ => Mood::Bad,
        };
        Self { mood, ..Self::from(text) }
    }

    /// A word that says all is well.
    pub(crate) fn good(text: &str) -> Self {
        Self { mood: Mood::Good, ..Self::from(text) }
    }

    /// An id.
    pub(crate) fn id(id: impl ToString) -> Self {
        Self { shrink: Shrink::Id, ..Self::from(id.to_string()) }
    }

    /// A time, in UTC.
    pub(crate) fn time(time: impl Into<Option<Timestamp>>) -> Self {
        let time = time.into();
        let shrink = time.map_or(Shrink::Never, Shrink::Age);
        Self { shrink, ..Self::from(time.map(shown).unwrap_or_default()) }
    }

    /// A text that may be long and says most at its beginning.
    pub(crate) fn keep_start(text: impl Into<String>) -> Self {
        Self { shrink: Shrink::KeepStart, ..Self::from(text) }
    }

    /// A text that may be long and says most at its end.
    pub(crate) fn keep_end(text: impl Into<String>) -> Self {
        Self { shrink: Shrink::KeepEnd, ..Self::from(text) }
    }

    /// Leaves at most `width` characters, when it may be cut.
    pub(super) fn cut(&mut self, width: usize) {
        let length = self.text.chars().count();
        let kept = width.saturating_sub(1);
        if length <= width {
            return;
        }
        match self.shrink {
            Shrink::KeepStart => self.text = self.text.chars().take(kept).chain(['…']).collect(),
            Shrink::KeepEnd => self.text = ['…'].into_iter().chain(self.text.chars().skip(length - kept)).collect(),
            Shrink::Never | Shrink::Id | Shrink::Age(_) => {}
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        // A line break in a message would break the table.
        let text = text.into().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { text, mood: Mood::Plain, shrink: Shrink::Never }
    }
}

/// An object that can be a row.
pub(crate) trait Row: Serialize {
    /// Columns, and whether each is shown in `wide` only.
    const COLUMNS: &'static [(&'static str, bool)];

    /// Columns that go first where there is no room.
    const SPARE: &'static [&'static str] = &[];

    /// One cell a column.
    fn cells(&self) -> Vec<Cell>;
}

/// A list.
pub(crate) struct ListView<T>(pub(crate) Vec<T>);

impl<T: Row> View for ListView<T> {
    fn render(&self, format: Format, screen: Screen) -> Result<String, CliError> {
        match format {
            Format::Json => json(&self.0),
            Format::Yaml => yaml(&self.0),
            Format::Table | Format::Wide => Ok(self.table(format == Format::Wide, screen)),
        }
    }
}

impl<T: Row> ListView<T> {
    fn table(&self, wide: bool, screen: Screen) -> String {
        let shown: Vec<bool> = T::COLUMNS.iter().map(|(_, only_wide)| wide || !only_wide).collect();
        let keep = |i: usize| shown.get(i).copied().unwrap_or(false);
        let headers = T::COLUMNS.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, (name, _))| *name).collect();
        let cells = |item: &T| item.cells().into_iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, cell)| cell).collect();
        let mut grid = Grid { headers, rows: self.0.iter().map(cells).collect() };
        if let Some(width) = screen.width {
            grid.fit(width, now(), T::SPARE);
        }
        draw(grid, screen.colour)
    }
}

fn draw(grid: Grid, colour: bool) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(grid.headers);
    for row in grid.rows {
        table.add_row(row.into_iter().map(|cell| paint(cell, colour)));
    }
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    trim(&table.to_string())
}

fn paint(cell: Cell, colour: bool) -> comfy_table::Cell {
    let shown = comfy_table::Cell::new(if cell.text.is_empty() { "-".to_owned() } else { cell.text });
    match cell.mood {
        Mood::Good if colour => shown.fg(Color::Green),
        Mood::Busy if colour => shown.fg(Color::Yellow),
        Mood::Bad if colour => shown.fg(Color::Red),
        _ => shown,
    }
}

/// Ends a colour.
const PLAIN: &str = "\u{1b}[39m";

/// Takes the padding at both ends of each line away: a line as wide as the terminal would break because of it.
fn trim(table: &str) -> String {
    let end = |line: &str| match line.strip_suffix(PLAIN) {
        Some(coloured) => format!("{}{PLAIN}", coloured.trim_end()),
        None => line.to_owned(),
    };
    let lines: Vec<_> = table.lines().map(|line| end(line.strip_prefix(' ').unwrap_or(line).trim_end())).collect();
    lines.join("\n")
}

/// One object.
pub(crate) struct ObjectView<T>(pub(crate) T);

impl<T: Serialize> View for ObjectView<T> {
    fn render(&self, format: Format, _screen: Screen) -> Result<String, CliError> {
        match format {
            Format::Json => json(&self.0),
            Format::Yaml => yaml(&self.0),
            Format::Table | Format::Wide => properties(&self.0),
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map_err(|error| CliError::Format("JSON", error.to_string()))
}

fn yaml(value: &impl Serialize) -> Result<String, CliError> {
    let text = serde_yaml::to_string(value).map_err(|error| CliError::Format("YAML", error.to_string()))?;
    Ok(text.trim_end().to_owned())
}

/// A line a field that says something; what has parts is indented below.
fn properties(value: &impl Serialize) -> Result<String, CliError> {
    let json = serde_json::to_vec(value).map_err(|error| CliError::Format("a table", error.to_string()))?;
    let tree = Node::from_json(&json).map_err(|error| CliError::Format("a table", error.to_string()))?;
    let mut lines = Vec::new();
    write(&tree, 0, &mut lines);
    Ok(lines.join("\n"))
}

fn write(node: &Node, depth: usize, lines: &mut Vec<String>) {
    let entries: Vec<_> = node.entries().unwrap_or_default().iter().filter(|e| !is_empty(&e.value)).collect();
    let width = entries.iter().filter(|e| scalar(&e.value).is_some()).map(|e| e.key.chars().count()).max().unwrap_or(0);
    let indent = "  ".repeat(depth);
    for entry in entries {
        if let Some(text) = scalar(&entry.value) {
            lines.push(format!("{indent}{:<width$}  {text}", entry.key));
            continue;
        }
        lines.push(format!("{indent}{}", entry.key));
        match &entry.value.value {
            Value::List(items) => items.iter().for_each(|item| write_item(item, depth + 1, lines)),
            _ => write(&entry.value, depth + 1, lines),
        }
    }
}

fn write_item(item: &Node, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    if let Some(text) = scalar(item) {
        lines.push(format!("{indent}- {text}"));
        return;
    }
    let start = lines.len();
    write(item, depth + 1, lines);
    if let Some(first) = lines.get_mut(start) {
        first.replace_range(indent.len()..indent.len() + 2, "- ");
    }
}

/// Nothing, or a list or map of nothings.
fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.iter().all(is_empty),
        Value::Map(entries) => entries.iter().all(|entry| is_empty(&entry.value)),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(text) | Value::Text(text) => Some(text.clone()),
        Value::Null => Some("-".to_owned()),
        Value::List(_) | Value::Map(_) => None,
    }
}
