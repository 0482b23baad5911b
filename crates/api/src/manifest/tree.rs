//! A manifest as a tree that remembers where each part was written.

use serde_json::{Map, Number};

/// One value and the line it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its line, from 1; 0 when it has none (JSON of a request).
    pub line: u32,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as it was written: `1.10` is not `1.1` where a text is wanted.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the text; no key is there twice.
    Map(Vec<Entry>),
}

/// One key of a map and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Line of the key.
    pub line: u32,
    /// What it holds.
    pub value: Node,
}

impl Node {
    /// What a map holds under `key`; None when this is no map or the key is not there.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// What a message calls this kind of value.
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The JSON of it. A number that JSON would write differently becomes a text, so that nothing is lost on the way.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => number(text),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let map: Map<_, _> = entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect();
                map.into()
            }
        }
    }
}

fn number(text: &str) -> serde_json::Value {
    match text.parse::<Number>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}
