//! Replaces variables in a tree: `$VAR`, `${VAR}`, `${VAR:-default}`, and `$$` for a dollar sign.
//!
//! It works on the parsed tree, so that a value is always a value, whatever characters it has.

use std::collections::BTreeSet;

use ring_types::{Rule, Violation};

use super::tree::{Entry, Node, Value};
use super::variables::Variables;

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

/// Replaces the variables of a manifest. A variable without a value is an error in map keys and in `name`, `namespace` and
/// `image`; elsewhere it stays as it is written, with a warning. With `strict` it is always an error.
pub fn interpolate(tree: &mut Node, variables: &Variables, strict: bool) -> Interpolated {
    let mut walk = Walk { variables, strict, found: Interpolated::default() };
    walk.node(tree, &mut Vec::new());
    walk.found
}

/// Replaces the variables of one text; gives the names that have no value and stay as they are written.
pub fn interpolate_text(text: &str, variables: &Variables) -> (String, Vec<String>) {
    let mut unset = Vec::new();
    let out = replace(text, variables, &mut unset, 0);
    (out, unset)
}

struct Walk<'a> {
    variables: &'a Variables,
    strict: bool,
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
        let (out, unset) = interpolate_text(text, self.variables);
        for name in unset {
            if needed {
                let message = format!("variable '{name}' is not set");
                self.fail(path, line, "manifest.variable", Rule::Unset, &message);
            } else {
                let shown = if is_password(path) { "the password".to_owned() } else { format!("'{text}'") };
                let warning = format!("variable '{name}' is not set, {shown} stays as it is written (line {line})");
                self.found.warnings.push(warning);
            }
        }
        out
    }

    fn fail(&mut self, path: &[String], line: u32, field: &str, rule: Rule, message: &str) {
        self.found.violations.push(Violation::new(join(path), field, rule, format!("{message} (line {line})")));
    }
}

fn join(path: &[String]) -> String {
    let mut out = String::new();
    for part in path {
        if !out.is_empty() && !part.starts_with('[') {
            out.push('.');
        }
        out += part;
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

fn replace(text: &str, variables: &Variables, unset: &mut Vec<String>, depth: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        out += &rest[..start];
        rest = &rest[start..];
        let (piece, len) = reference(rest, variables, unset, depth);
        out += &piece;
        rest = &rest[len..];
    }
    out + rest
}

/// What stands at a `$`: its replacement, and how many bytes of the text it takes.
fn reference(text: &str, variables: &Variables, unset: &mut Vec<String>, depth: usize) -> (String, usize) {
    let after = &text[1..];
    if after.starts_with('$') {
        return ("$".to_owned(), 2);
    }
    if let Some(inside) = after.strip_prefix('{') {
        return braced(text, inside, variables, unset, depth);
    }
    let len = name_len(after);
    if len == 0 {
        return ("$".to_owned(), 1);
    }
    let name = &after[..len];
    (value_or(name, &text[..=len], variables, unset), len + 1)
}

fn braced(text: &str, inside: &str, variables: &Variables, unset: &mut Vec<String>, depth: usize) -> (String, usize) {
    let Some(end) = closing(inside) else {
        unset.push(text.to_owned());
        return (text.to_owned(), text.len());
    };
    let (whole, body) = (&text[..end + 3], &inside[..end]);
    let len = name_len(body);
    let name = &body[..len];
    let piece = match (&body[len..], body[len..].strip_prefix(":-")) {
        ("", _) if len > 0 => value_or(name, whole, variables, unset),
        (_, Some(default)) if len > 0 && depth < MAX_NESTING => match variables.get(name).filter(|value| !value.is_empty()) {
            Some(value) => value.to_owned(),
            None => replace(default, variables, unset, depth + 1),
        },
        _ => {
            unset.push(body.to_owned());
            whole.to_owned()
        }
    };
    (piece, whole.len())
}

fn value_or(name: &str, written: &str, variables: &Variables, unset: &mut Vec<String>) -> String {
    variables.get(name).map_or_else(
        || {
            unset.push(name.to_owned());
            written.to_owned()
        },
        str::to_owned,
    )
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
        interpolate_text(text, &variables())
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
