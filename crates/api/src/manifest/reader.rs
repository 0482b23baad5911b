//! Takes values out of a tree and keeps every mistake on the way.

use std::fmt::Display;
use std::str::FromStr;

use ring_types::{Rule, Violation};

use super::MAX_MISTAKES;
use super::explain::shown;
use super::fields::Section;
use super::tree::{Entry, Node, Value};

/// A path longer than this is cut, bytes: it is part of every mistake below it.
const LONGEST_PATH: usize = 1000;

/// Where a value is: its path for people, and the stem of the codes of its mistakes.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) path: String,
    code: String,
}

impl At {
    pub(super) fn new(path: impl Into<String>, code: &str) -> Self {
        let mut path = path.into();
        if path.len() > LONGEST_PATH {
            path = shown(&path);
        }
        Self { path, code: code.to_owned() }
    }

    pub(super) fn field(&self, name: &str) -> Self {
        Self { code: format!("{}.{name}", self.code), ..self.key(name) }
    }

    /// A key that people chose: part of the path, not of the code.
    pub(super) fn key(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self::new(path, &self.code)
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self { path: format!("{}[{index}]", self.path), code: self.code.clone() }
    }
}

/// A map with known fields.
pub(super) struct Fields<'a> {
    entries: &'a [Entry],
    pub(super) at: At,
    pub(super) line: u32,
}

impl<'a> Fields<'a> {
    /// A field and where it is; None when it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<(&'a Node, At)> {
        let node = &self.entries.iter().find(|entry| entry.key == name)?.value;
        (node.value != Value::Null).then(|| (node, self.at.field(name)))
    }
}

/// Reads, and remembers what is wrong.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The first [`MAX_MISTAKES`].
    pub(super) violations: Vec<Violation>,
    /// How many there are beyond those.
    more: usize,
}

impl Reader {
    /// Remembers a mistake of the value at `at`.
    pub(super) fn fail(&mut self, at: &At, line: u32, rule: Rule, message: impl Display) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        let message = if line == 0 { message.to_string() } else { format!("{message} (line {line})") };
        self.violations.push(Violation::new(&at.path, &at.code, rule, message));
    }

    /// Remembers a mistake found elsewhere.
    pub(super) fn keep(&mut self, violation: Violation) {
        if self.is_full() { self.more += 1 } else { self.violations.push(violation) }
    }

    /// Further mistakes are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.violations.len() >= MAX_MISTAKES
    }

    /// What is told: the mistakes, and how many more there are.
    pub(super) fn told(mut self) -> Vec<Violation> {
        if self.more > 0 {
            let message = format!("{} more mistakes are not listed: correct these first", self.more);
            self.violations.push(Violation::new("", "manifest", Rule::TooMany, message));
        }
        self.violations
    }

    fn wrong_type(&mut self, node: &Node, at: &At, wanted: &str) {
        self.fail(at, node.line, Rule::Type, format_args!("{wanted} is wanted here, not {}", node.kind()));
    }

    /// A map whose fields are known; unknown ones are mistakes.
    pub(super) fn fields<'a>(&mut self, node: &'a Node, at: &At, section: &Section) -> Option<Fields<'a>> {
        let entries = self.map(node, at)?;
        let known = section.names();
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            if self.is_full() {
                self.more += 1;
                continue;
            }
            let near = nearest(&entry.key, &known)
                .map_or_else(|| format!("known here are {}", known.join(", ")), |near| format!("did you mean '{near}'?"));
            let key = shown(&entry.key);
            self.fail(&at.key(&key), entry.line, Rule::UnknownField, format_args!("unknown field '{key}'; {near}"));
        }
        Some(Fields { entries, at: at.clone(), line: node.line })
    }

    /// A map with keys of any name.
    pub(super) fn map<'a>(&mut self, node: &'a Node, at: &At) -> Option<&'a [Entry]> {
        if let Value::Map(entries) = &node.value {
            return Some(entries);
        }
        self.wrong_type(node, at, "a map");
        None
    }

    /// A list; `each` reads one item.
    pub(super) fn list<T>(&mut self, node: &Node, at: &At, mut each: impl FnMut(&mut Self, &Node, &At) -> Option<T>) -> Vec<T> {
        let Value::List(items) = &node.value else {
            self.wrong_type(node, at, "a list");
            return Vec::new();
        };
        items.iter().enumerate().filter_map(|(i, item)| each(self, item, &at.index(i))).collect()
    }

    /// A text; a number is taken as it was written.
    pub(super) fn text(&mut self, node: &Node, at: &At) -> Option<String> {
        match &node.value {
            Value::Text(text) | Value::Number(text) if text.contains('\0') => {
                self.fail(at, node.line, Rule::Invalid, "a text must not contain a NUL character");
                None
            }
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            _ => {
                self.wrong_type(node, at, "a text");
                None
            }
        }
    }

    /// A text, number or boolean, as a text.
    pub(super) fn scalar(&mut self, node: &Node, at: &At) -> Option<String> {
        match &node.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Null => Some(String::new()),
            _ => self.text(node, at),
        }
    }

    /// A text of a special form: a name, an amount, a duration, one of some words.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, node: &Node, at: &At) -> Option<T> {
        let text = self.text(node, at)?;
        self.parsed(text.parse(), node, at)
    }

    /// Keeps the mistake of a value that was read by other means.
    pub(super) fn parsed<T, E: Display>(&mut self, result: Result<T, E>, node: &Node, at: &At) -> Option<T> {
        result.map_err(|error| self.fail(at, node.line, Rule::Invalid, Cut(&error))).ok()
    }

    /// A whole number up to `max`; a text of digits is one, too (it may come from a variable).
    pub(super) fn integer<T: TryFrom<u64>>(&mut self, node: &Node, at: &At, max: u64) -> Option<T> {
        let text = match &node.value {
            Value::Text(text) | Value::Number(text) => text.trim(),
            _ => "",
        };
        let number = text.parse::<u64>().ok().filter(|n| *n <= max).and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            let shown = if text.is_empty() { node.kind().to_owned() } else { format!("'{}'", shown(text)) };
            self.fail(at, node.line, Rule::Invalid, format_args!("{shown} is not a whole number from 0 to {max}"));
        }
        number
    }

    /// True or false.
    pub(super) fn boolean(&mut self, node: &Node, at: &At) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            _ => {
                self.fail(at, node.line, Rule::Invalid, "true or false is wanted here");
                None
            }
        }
    }
}

/// The message of a value that may be long, and may be repeated in it: its beginning and its end are told.
struct Cut<'a, E>(&'a E);

impl<E: Display> Display for Cut<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LONG: usize = 1000;
        const END: usize = 200;
        let text = self.0.to_string();
        let count = text.chars().count();
        if count <= LONG {
            return f.write_str(&text);
        }
        let begin: String = text.chars().take(END).collect();
        let end: String = text.chars().skip(count - END).collect();
        write!(f, "{begin}…{end}")
    }
}

/// Longer words than this are near to none.
const LONGEST_FIELD: usize = 64;

/// The known word closest to what was written, when it is close enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    if written.len() > LONGEST_FIELD {
        return None;
    }
    let lower = written.to_lowercase().replace('-', "_");
    let score = |word: &&str| strsim::damerau_levenshtein(&lower, word);
    let best = known.iter().copied().min_by_key(score)?;
    let limit = (written.chars().count() / 3).clamp(1, 4);
    let longer = || known.iter().copied().find(|word| lower.len() > 2 && word.starts_with(&lower));
    if score(&best) <= limit { Some(best) } else { longer() }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_offered_only_when_near() {
        let known = ["image", "health_checks", "environment", "namespace"];
        assert_eq!(nearest("imgae", &known), Some("image"));
        assert_eq!(nearest("healthChecks", &known), Some("health_checks"));
        assert_eq!(nearest("env", &known), Some("environment"));
        assert_eq!(nearest("cron", &known), None);
    }
}
