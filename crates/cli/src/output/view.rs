//! Lists and objects as table, JSON or YAML.

use comfy_table::presets::NOTHING;
use comfy_table::{Color, ContentArrangement, Table};
use ring_api::manifest::{Node, Value};
use serde::Serialize;

use crate::error::CliError;
use crate::format::Format;

/// Something that can be shown in every format.
pub(crate) trait View {
    fn render(&self, format: Format, colour: bool) -> Result<String, CliError>;
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    mood: Mood,
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
            "running" | "completed" | "ready" | "yes" | "leader" => Mood::Good,
            "pending" | "creating" | "joining" | "deleted" | "unreachable" | "learner" => Mood::Busy,
            "no" | "voter" => Mood::Plain,
            _ => Mood::Bad,
        };
        Self { text: text.to_owned(), mood }
    }
}

impl Cell {
    /// A word that says all is well.
    pub(crate) fn good(text: &str) -> Self {
        Self { text: text.to_owned(), mood: Mood::Good }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), mood: Mood::Plain }
    }
}

/// An object that can be a row.
pub(crate) trait Row: Serialize {
    /// Columns, and whether each is shown in `wide` only.
    const COLUMNS: &'static [(&'static str, bool)];

    /// One cell a column.
    fn cells(&self) -> Vec<Cell>;
}

/// A list.
pub(crate) struct ListView<T>(pub(crate) Vec<T>);

impl<T: Row> View for ListView<T> {
    fn render(&self, format: Format, colour: bool) -> Result<String, CliError> {
        match format {
            Format::Json => json(&self.0),
            Format::Yaml => yaml(&self.0),
            Format::Table | Format::Wide => Ok(self.table(format == Format::Wide, colour)),
        }
    }
}

impl<T: Row> ListView<T> {
    fn table(&self, wide: bool, colour: bool) -> String {
        let shown: Vec<bool> = T::COLUMNS.iter().map(|(_, only_wide)| wide || !only_wide).collect();
        let mut table = Table::new();
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let keep = |i: &usize| shown.get(*i).copied().unwrap_or(false);
        table.set_header(T::COLUMNS.iter().enumerate().filter(|(i, _)| keep(i)).map(|(_, (name, _))| *name));
        for item in &self.0 {
            let cells = item.cells().into_iter().enumerate().filter(|(i, _)| keep(i));
            table.add_row(cells.map(|(_, cell)| paint(cell, colour)));
        }
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        trim(&table.to_string())
    }
}

fn paint(cell: Cell, colour: bool) -> comfy_table::Cell {
    // A line break in a message would break the table.
    let text = cell.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = comfy_table::Cell::new(if text.is_empty() { "-".to_owned() } else { text });
    match cell.mood {
        Mood::Good if colour => shown.fg(Color::Green),
        Mood::Busy if colour => shown.fg(Color::Yellow),
        Mood::Bad if colour => shown.fg(Color::Red),
        _ => shown,
    }
}

fn trim(table: &str) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n")
}

/// One object.
pub(crate) struct ObjectView<T>(pub(crate) T);

impl<T: Serialize> View for ObjectView<T> {
    fn render(&self, format: Format, _colour: bool) -> Result<String, CliError> {
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
