//! Replaces variables in a tree: `$VAR`, `${VAR}`, `${VAR:-default}`, and `$$` for a dollar sign.
//!
//! It works on the parsed tree, so that a value is always a value, whatever characters it has.

use std::collections::BTreeSet;

use ring_types::{Rule, Violation};

use super::MAX_MISTAKES;
use super::explain::shown;
use super::tree::{Entry, Node, Value};
use super::variables::Variables;
use crate::MAX_BODY;

/// What replacing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpolated {
    /// Variables without a value where one is needed.
    pub violations: Vec<Violation>,
    /// Variables without a value that stay as they are written.
    pub warnings: Vec<String>,
}

/// Deepest nesting of defaults in defaults.
const MAX_NESTING: usize = 16;
/// Most warnings of one manifest; of more only their number is told.
const MAX_WARNINGS: usize = 100;

/// With its variables replaced a text is longer than a manifest may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("with its variables replaced it is larger than {MAX_BODY} bytes")]
pub struct TooLong;

/// Replaces the variables of a manifest. A variable without a value is an error in map keys and in `name`, `namespace` and
/// `image`; elsewhere it stays as it is written, with a warning. With `strict` it is always an error. The texts of a manifest
/// together may become as long as a manifest may be.
pub fn interpolate(tree: &mut Node, variables: &Variables, strict: bool) -> Interpolated {
    let mut walk = Walk { variables, strict, room: MAX_BODY, more: 0, found: Interpolated::default() };
    walk.node(tree, &mut Vec::new());
    walk.told()
}

/// Why the variables of a text are not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReplaced {
    /// It would be too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A default is in too many others.
    #[error("{}", Why::Nested.tell(""))]
    Nested,
}

/// Replaces the variables of one text; gives what has no value and stays as it is written, each once.
///
/// # Errors
/// [`NotReplaced`].
pub fn interpolate_text(text: &str, variables: &Variables) -> Result<(String, Vec<String>), NotReplaced> {
    let mut work = Work { variables, room: MAX_BODY, unset: Unset::default() };
    let out = replace(text, &mut work, 0)?;
    let stays = work.unset.found;
    if stays.iter().any(|(why, _)| *why == Why::Nested) {
        return Err(NotReplaced::Nested);
    }
    Ok((out, stays.into_iter().map(|(_, name)| shown(&name)).collect()))
}

/// Why something stays as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It has no value.
    Unset,
    /// Its brace is not closed.
    Open,
    /// It is a default in too many others.
    Nested,
}

impl Why {
    fn tell(self, name: &str) -> String {
        match self {
            Self::Unset => format!("variable '{}' is not set", shown(name)),
            Self::Open => format!("'{}' has no closing brace", shown(name)),
            Self::Nested => format!("defaults in defaults are nested deeper than {MAX_NESTING} levels"),
        }
    }
}

/// What stays as it is written, each once, in the order of the text.
#[derive(Default)]
struct Unset {
    found: Vec<(Why, String)>,
    known: BTreeSet<(Why, String)>,
}

impl Unset {
    fn push(&mut self, why: Why, name: &str) {
        if self.known.insert((why, name.to_owned())) {
            self.found.push((why, name.to_owned()));
        }
    }
}

/// The replacing of one text.
struct Work<'a> {
    variables: &'a Variables,
    /// How many bytes it may still become.
    room: usize,
    unset: Unset,
}

impl Work<'_> {
    fn put(&mut self, out: &mut String, piece: &str) -> Result<(), TooLong> {
        self.room = self.room.checked_sub(piece.len()).ok_or(TooLong)?;
        out.push_str(piece);
        Ok(())
    }
}

struct Walk<'a> {
    variables: &'a Variables,
    strict: bool,
    /// How many bytes all replaced texts together may still have.
    room: usize,
    /// Mistakes and warnings beyond those that are kept.
    more: usize,
    found: Interpolated,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.value {
            Value::Text(text) => {
                let needed = self.strict || is_identity(path);
                *text = self.text(text, node.line, path, needed);
            }
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    path.push(format!("[{i}]"));
                    self.node(item, path);
                    path.pop();
                }
            }
            Value::Map(entries) => self.entries(entries, path),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn entries(&mut self, entries: &mut [Entry], path: &mut Vec<String>) {
        let verbatim = is_config(path) && entries.iter().any(|e| e.key == "interpolate" && e.value.value == Value::Bool(false));
        let mut keys = BTreeSet::new();
        for entry in entries {
            path.push(entry.key.clone());
            entry.key = self.text(&entry.key, entry.line, path, true);
            path.pop();
            if !keys.insert(entry.key.clone()) {
                let message = format!("the key '{}' is there twice once variables are replaced", entry.key);
                self.fail(path, entry.line, "manifest.key", Rule::Duplicate, &message);
            }
            if verbatim && entry.key == "data" {
                continue;
            }
            path.push(entry.key.clone());
            self.node(&mut entry.value, path);
            path.pop();
        }
    }

    fn text(&mut self, text: &str, line: u32, path: &[String], needed: bool) -> String {
        if !text.contains('$') {
            return text.to_owned();
        }
        let mut work = Work { variables: self.variables, room: self.room, unset: Unset::default() };
        let Ok(out) = replace(text, &mut work, 0) else {
            let message = format!("with its variables replaced the manifest is larger than {MAX_BODY} bytes");
            self.fail(path, line, "manifest.variable", Rule::TooLarge, &message);
            return String::new();
        };
        self.room = work.room;
        for (why, name) in work.unset.found {
            let needed = needed || why == Why::Nested;
            self.unset(&why.tell(&name), text, line, path, needed);
        }
        out
    }

    fn unset(&mut self, problem: &str, text: &str, line: u32, path: &[String], needed: bool) {
        if needed {
            self.fail(path, line, "manifest.variable", Rule::Unset, problem);
        } else if self.found.warnings.len() < MAX_WARNINGS {
            let kept = if is_password(path) { "the password".to_owned() } else { format!("'{}'", shown(text)) };
            self.found.warnings.push(format!("{problem}, {kept} stays as it is written (line {line})"));
        } else {
            self.more += 1;
        }
    }

    fn fail(&mut self, path: &[String], line: u32, field: &str, rule: Rule, message: &str) {
        if self.found.violations.len() >= MAX_MISTAKES {
            self.more += 1;
            return;
        }
        self.found.violations.push(Violation::new(join(path), field, rule, format!("{message} (line {line})")));
    }

    fn told(mut self) -> Interpolated {
        if self.more > 0 && self.found.violations.is_empty() {
            self.found.warnings.push(format!("{} more warnings of this kind are not listed", self.more));
        } else if self.more > 0 {
            let message = format!("{} more mistakes and warnings are not listed", self.more);
            self.found.violations.push(Violation::new("", "manifest.variable", Rule::TooMany, message));
        }
        self.found
    }
}

fn join(path: &[String]) -> String {
    let mut out = String::new();
    for part in path {
        if !out.is_empty() && !part.starts_with('[') {
            out.push('.');
        }
        out += &shown(part);
    }
    out
}

fn is_config(path: &[String]) -> bool {
    matches!(path, [top, _] if top == "configs")
}

/// What is shown to nobody, the writer's own terminal included: it may be a log.
fn is_password(path: &[String]) -> bool {
    matches!(path, [.., config, field] if config == "config" && field == "password")
}

/// The fields that say what a thing is: a wrong value there makes another thing.
fn is_identity(path: &[String]) -> bool {
    let field = match path {
        [field] => field,
        [top, _, field] if matches!(top.as_str(), "deployments" | "configs" | "namespaces") => field,
        _ => return false,
    };
    matches!(field.as_str(), "name" | "namespace" | "image")
}

fn replace(text: &str, work: &mut Work<'_>, depth: usize) -> Result<String, TooLong> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        work.put(&mut out, &rest[..start])?;
        rest = &rest[start..];
        let len = reference(&mut out, rest, work, depth)?;
        rest = &rest[len..];
    }
    work.put(&mut out, rest)?;
    Ok(out)
}

/// Writes the replacement of what stands at a `$`; gives how many bytes of the text that takes.
fn reference(out: &mut String, text: &str, work: &mut Work<'_>, depth: usize) -> Result<usize, TooLong> {
    let after = &text[1..];
    if after.starts_with('$') {
        return work.put(out, "$").map(|()| 2);
    }
    if let Some(inside) = after.strip_prefix('{') {
        return braced(out, text, inside, work, depth);
    }
    let len = name_len(after);
    if len == 0 {
        return work.put(out, "$").map(|()| 1);
    }
    value_or(out, &after[..len], &text[..=len], work)?;
    Ok(len + 1)
}

fn braced(out: &mut String, text: &str, inside: &str, work: &mut Work<'_>, depth: usize) -> Result<usize, TooLong> {
    let Some(end) = closing(inside) else {
        work.unset.push(Why::Open, text);
        return work.put(out, text).map(|()| text.len());
    };
    let (whole, body) = (&text[..end + 3], &inside[..end]);
    let len = name_len(body);
    let name = &body[..len];
    match (&body[len..], body[len..].strip_prefix(":-")) {
        ("", _) if len > 0 => value_or(out, name, whole, work)?,
        (_, Some(default)) if len > 0 && depth < MAX_NESTING => {
            match work.variables.get(name).filter(|value| !value.is_empty()) {
                Some(value) => work.put(out, value)?,
                // Its bytes are counted as they are made.
                None => out.push_str(&replace(default, work, depth + 1)?),
            }
        }
        (_, default) => {
            let why = if default.is_some() && len > 0 { Why::Nested } else { Why::Unset };
            work.unset.push(why, body);
            work.put(out, whole)?;
        }
    }
    Ok(whole.len())
}

fn value_or(out: &mut String, name: &str, written: &str, work: &mut Work<'_>) -> Result<(), TooLong> {
    if let Some(value) = work.variables.get(name) {
        return work.put(out, value);
    }
    work.unset.push(Why::Unset, name);
    work.put(out, written)
}

/// Where the brace that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1usize;
    let bytes = text.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if i > 0 && bytes[i - 1] == b'$' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

fn name_len(text: &str) -> usize {
    let len = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { len }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables::from_pairs([("A", "1"), ("EMPTY", ""), ("EVIL", "x\nkind: job # ${A} {")])
    }

    fn text(text: &str) -> (String, Vec<String>) {
        interpolate_text(text, &variables()).unwrap()
    }

    #[test]
    fn defaults_may_be_in_each_other_but_not_for_ever() {
        let nested = |levels: usize| format!("{}x{}", "${B:-".repeat(levels), "}".repeat(levels));
        assert_eq!(text(&nested(16)), ("x".into(), vec![]));
        assert_eq!(interpolate_text(&nested(17), &variables()), Err(NotReplaced::Nested), "in a file as in a manifest");
        let mut tree = Node::from_yaml(&format!("deployments: {{a: {{command: ['{}']}}}}", nested(17))).unwrap();
        let found = interpolate(&mut tree, &variables(), false);
        assert_eq!(found.violations[0].message, "defaults in defaults are nested deeper than 16 levels (line 1)");
    }

    #[test]
    fn what_grows_beyond_a_manifest_is_an_error() {
        let variables = Variables::from_pairs([("BIG", "x".repeat(1 << 20))]);
        assert_eq!(interpolate_text("$BIG$BIG$BIG$BIG", &variables).map(|(text, _)| text.len()), Ok(4 << 20));
        assert_eq!(interpolate_text("$BIG$BIG$BIG$BIG.", &variables), Err(TooLong.into()));
        let mut tree = Node::from_yaml("a: [$BIG, $BIG, $BIG, $BIG, $BIG]").unwrap();
        let found = interpolate(&mut tree, &variables, false);
        assert_eq!(found.violations.len(), 1);
        assert_eq!(found.violations[0].message, "with its variables replaced the manifest is larger than 4194304 bytes (line 1)");
    }

    #[test]
    fn every_form_is_replaced() {
        for (written, out) in [
            ("$A", "1"),
            ("${A}", "1"),
            ("a-${A}-b$A", "a-1-b1"),
            ("${A:-2}", "1"),
            ("${B:-2}", "2"),
            ("${EMPTY:-2}", "2"),
            ("[$EMPTY]", "[]"),
            ("${B:-${A}}", "1"),
            ("${B:-${C:-x}}y", "xy"),
            ("$$A", "$A"),
            ("$$$A", "$1"),
            ("$${A}", "${A}"),
            ("5$", "5$"),
            ("$1 $ $-", "$1 $ $-"),
            ("${B:-}", ""),
        ] {
            assert_eq!(text(written), (out.to_owned(), vec![]), "{written}");
        }
    }

    #[test]
    fn what_has_no_value_stays_as_written() {
        assert_eq!(text("serve $PORT"), ("serve $PORT".into(), vec!["PORT".into()]));
        assert_eq!(text("${PORT}/${A}"), ("${PORT}/1".into(), vec!["PORT".into()]));
        assert_eq!(text("${X:?needed}"), ("${X:?needed}".into(), vec!["X:?needed".into()]));
        assert_eq!(text("${A"), ("${A".into(), vec!["${A".into()]));
    }

    #[test]
    fn a_value_never_becomes_syntax() {
        let mut tree = Node::from_yaml("deployments:\n  a:\n    image: $EVIL\n").unwrap();
        assert_eq!(interpolate(&mut tree, &variables(), false), Interpolated::default());
        let entry = &tree.get("deployments").unwrap().entries().unwrap()[0];
        assert_eq!(entry.value.entries().unwrap().len(), 1);
        assert_eq!(entry.value.get("image").unwrap().value, Value::Text("x\nkind: job # ${A} {".into()));
    }

    #[test]
    fn unset_is_an_error_where_it_names_things_and_a_warning_elsewhere() {
        let written = "deployments:\n  t-${ID}:\n    name: t-${ID}\n    image: i:$TAG\n    command: [sh, -c, 'serve $PORT']\n";
        let mut tree = Node::from_yaml(written).unwrap();
        let found = interpolate(&mut tree, &variables(), false);
        let lines: Vec<_> = found.violations.iter().map(|v| v.message.as_str()).collect();
        assert_eq!(
            lines,
            ["variable 'ID' is not set (line 2)", "variable 'ID' is not set (line 3)", "variable 'TAG' is not set (line 4)",]
        );
        assert_eq!(found.warnings, ["variable 'PORT' is not set, 'serve $PORT' stays as it is written (line 5)"]);
        let mut tree = Node::from_yaml(written).unwrap();
        assert_eq!(interpolate(&mut tree, &variables(), true).violations.len(), 4);
    }

    #[test]
    fn a_password_with_a_dollar_sign_is_not_repeated_in_the_warning() {
        let written = "deployments: {a: {config: {username: u$x, password: hus$h}}}";
        let mut tree = Node::from_yaml(written).unwrap();
        let found = interpolate(&mut tree, &variables(), false);
        assert_eq!(
            found.warnings,
            [
                "variable 'x' is not set, 'u$x' stays as it is written (line 1)",
                "variable 'h' is not set, the password stays as it is written (line 1)"
            ]
        );
    }

    #[test]
    fn keys_that_become_equal_are_an_error() {
        let mut tree = Node::from_yaml("deployments:\n  x-$A: {}\n  x-1: {}\n").unwrap();
        let found = interpolate(&mut tree, &variables(), false);
        assert_eq!(found.violations[0].code, "manifest.key.duplicate");
    }

    #[test]
    fn config_data_is_replaced_unless_it_says_no() {
        let written = "configs:\n  a: {data: {k: $A}}\n  b: {interpolate: false, data: {k: $A}}\n";
        let mut tree = Node::from_yaml(written).unwrap();
        interpolate(&mut tree, &variables(), true);
        let of = |label: &str| tree.get("configs").unwrap().get(label).unwrap().get("data").unwrap().get("k").unwrap().clone();
        assert_eq!(of("a").value, Value::Text("1".into()));
        assert_eq!(of("b").value, Value::Text("$A".into()));
    }
}
