//! From YAML or JSON text to a tree, within bounds.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

use super::ManifestError;
use super::explain::{explain, explain_json, shown, too_deep, too_many};
use super::tree::{Entry, Node, Value};
use crate::MAX_BODY;

/// Deepest nesting of a manifest.
pub(super) const MAX_DEPTH: usize = 64;
/// Most values of a manifest, and most values that aliases may add.
pub(super) const MAX_NODES: usize = 100_000;

impl Node {
    /// Reads YAML (JSON is YAML, too).
    ///
    /// # Errors
    /// [`ManifestError::Syntax`] with line and column: no YAML, a key twice, or beyond a limit (4 MiB, 64 levels, 100,000
    /// values with all aliases written out).
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        check_size(text.len())?;
        let options = serde_yaml::options! {
            budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES, max_events: 4 * MAX_NODES, max_documents: 1 },
            alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_NODES },
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            with_snippet: false,
        };
        let Yaml(raw) = serde_yaml::from_str_with_options(text, options).map_err(|error| syntax(&explain(&error)))?;
        Ok(Yaml(raw).node(text))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// [`ManifestError::Syntax`]: no JSON, a key twice, or beyond the limits of YAML.
    pub fn from_json(text: &[u8]) -> Result<Self, ManifestError> {
        check_size(text.len())?;
        check_shape(text)?;
        let Json(raw) = serde_json::from_slice(text).map_err(|error| syntax(&explain_json(&error)))?;
        Ok(Json(raw).node(""))
    }
}

fn check_size(len: usize) -> Result<(), ManifestError> {
    if len <= MAX_BODY {
        return Ok(());
    }
    Err(syntax(&format!("the manifest has {len} bytes, at most {MAX_BODY} are read")))
}

/// Counts the values of a JSON text and its levels before any of it is kept.
fn check_shape(text: &[u8]) -> Result<(), ManifestError> {
    let (mut quoted, mut escaped, mut depth, mut nodes) = (false, false, 0usize, 0usize);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => (depth, nodes) = (depth + 1, nodes + 1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => nodes += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(syntax(&too_deep()));
        }
        if nodes > MAX_NODES {
            return Err(syntax(&too_many()));
        }
    }
    Ok(())
}

fn syntax(message: &str) -> ManifestError {
    ManifestError::Syntax { message: message.to_owned() }
}

/// A value as the parser gives it, before its numbers get the text they were written as.
enum Raw<F> {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<F>),
    Map(Vec<(Key, F)>),
}

struct Key {
    text: String,
    line: u32,
}

/// How a format gives its values: with locations or without.
trait Form: for<'de> Deserialize<'de> {
    fn key<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Key>, A::Error>;
    fn node(self, source: &str) -> Node;
}

struct Yaml(Spanned<Raw<Self>>);
struct Json(Raw<Self>);

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self)
    }
}

impl Form for Yaml {
    fn key<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Key>, A::Error> {
        let key: Option<Spanned<String>> = map.next_key()?;
        Ok(key.map(|key| Key { text: key.value, line: line(key.referenced) }))
    }

    fn node(self, source: &str) -> Node {
        let written = written(source, self.0.defined);
        Node { line: line(self.0.referenced), value: self.0.value.value(source, written) }
    }
}

impl Form for Json {
    fn key<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Key>, A::Error> {
        let key: Option<String> = map.next_key()?;
        Ok(key.map(|text| Key { text, line: 0 }))
    }

    fn node(self, source: &str) -> Node {
        Node { line: 0, value: self.0.value(source, None) }
    }
}

fn line(location: Location) -> u32 {
    u32::try_from(location.line()).unwrap_or(0)
}

/// The text a scalar was written as.
fn written(source: &str, location: Location) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    source.get(start..end)
}

impl<F: Form> Raw<F> {
    fn value(self, source: &str, written: Option<&str>) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(text) => Value::Number(written.filter(|w| is_number(w)).map_or(text, |w| w.trim().to_owned())),
            Self::Text(text) => Value::Text(text),
            Self::List(items) => Value::List(items.into_iter().map(|item| item.node(source)).collect()),
            Self::Map(entries) => {
                let entry = |(key, value): (Key, F)| Entry { key: key.text, line: key.line, value: value.node(source) };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        }
    }
}

/// Guards against a span that covers something else than the number (a tag, for example).
fn is_number(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

impl<'de, F: Form> Deserialize<'de> for Raw<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor(PhantomData))
    }
}

struct RawVisitor<F>(PhantomData<F>);

impl<'de, F: Form> Visitor<'de> for RawVisitor<F> {
    type Value = Raw<F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a manifest")
    }

    fn visit_unit<E>(self) -> Result<Raw<F>, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw<F>, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw<F>, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw<F>, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw<F>, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw<F>, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw<F>, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw<F>, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw<F>, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw<F>, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw<F>, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw<F>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<F>, A::Error> {
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        while let Some(key) = F::key(&mut map)? {
            if !seen.insert(key.text.clone()) {
                return Err(A::Error::custom(format_args!("the key '{}' is there twice", shown(&key.text))));
            }
            entries.push((key, map.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Node {
        Node::from_yaml(text).unwrap()
    }

    #[test]
    fn lines_are_kept() {
        let tree = yaml("a: 1\nb:\n  c: x\n  d:\n    - y\n");
        assert_eq!(tree.get("a").unwrap().line, 1);
        assert_eq!(tree.get("b").unwrap().entries().unwrap()[1].line, 4);
        assert_eq!(tree.get("b").unwrap().get("c").unwrap().line, 3);
    }

    #[test]
    fn numbers_keep_the_text_they_were_written_as() {
        let tree = yaml("a: 1.10\nb: 0x1F\nc: 1e3\nd: -5\ne: 18446744073709551616\nf: [2.50, 7]\ng: &x 3.30\nh: *x\ni: 0755\n");
        let of = |key: &str| tree.get(key).unwrap().value.clone();
        for (key, text) in [("a", "1.10"), ("b", "0x1F"), ("c", "1e3"), ("d", "-5"), ("g", "3.30"), ("h", "3.30")] {
            assert_eq!(of(key), Value::Number(text.into()), "{key}");
        }
        assert_eq!(of("i"), Value::Text("0755".into()));
        let Value::List(items) = of("f") else { panic!("no list") };
        assert_eq!(items[0].value, Value::Number("2.50".into()));
        assert_eq!(tree.get("e").unwrap().to_json().to_string().trim_matches('"'), "18446744073709551616");
    }

    #[test]
    fn words_that_look_like_booleans_stay_words() {
        let tree = yaml("a: yes\nb: no\nc: true\nd: ~\ne: 'true'\n");
        assert_eq!(tree.get("a").unwrap().value, Value::Text("yes".into()));
        assert_eq!(tree.get("c").unwrap().value, Value::Bool(true));
        assert_eq!(tree.get("d").unwrap().value, Value::Null);
        assert_eq!(tree.get("e").unwrap().value, Value::Text("true".into()));
    }

    #[test]
    fn a_key_twice_is_an_error_in_both_formats() {
        let error = Node::from_yaml("a: 1\nb: 2\na: 3\n").unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
        let error = Node::from_json(br#"{"a": 1, "a": 2}"#).unwrap_err().to_string();
        assert!(error.contains("'a' is there twice"), "{error}");
    }

    #[test]
    fn an_alias_bomb_ends_in_an_error() {
        let mut lines = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
        for i in 1..12 {
            let last = i - 1;
            let many = vec![format!("*a{last}"); 10].join(", ");
            lines.push(format!("a{i}: &a{i} [{many}]"));
        }
        assert!(Node::from_yaml(&lines.join("\n")).is_err());
    }

    #[test]
    fn deep_and_long_texts_end_in_an_error() {
        assert!(Node::from_yaml(&"[".repeat(10_000)).is_err());
        assert!(Node::from_json("[".repeat(10_000).as_bytes()).is_err());
        assert!(Node::from_yaml(&" ".repeat(MAX_BODY + 1)).is_err());
    }

    #[test]
    fn a_tree_goes_through_json_unchanged() {
        let tree = yaml("a: 1.10\nb: [1, true, null, x]\nc: {d: '1'}\n");
        let json = tree.to_json().to_string();
        assert_eq!(json, r#"{"a":"1.10","b":[1,true,null,"x"],"c":{"d":"1"}}"#);
        assert_eq!(Node::from_json(json.as_bytes()).unwrap().to_json(), tree.to_json());
    }
}
