//! Namespaces and configs of a manifest, and the files a config takes in.

use std::collections::BTreeMap;

use ring_types::{Name, Rule, Violation};

use super::deployment::name;
use super::fields;
use super::parts;
use super::reader::{At, Reader};
use super::tree::{Entry, Node, Value};
use super::{ConfigEntry, NamespaceEntry};

/// Reads one namespace; without a body its key is its name.
pub(super) fn namespace(reader: &mut Reader, label: &str, node: &Node) -> Option<NamespaceEntry> {
    let at = At::new(format!("namespaces.{label}"), "namespace");
    let label_name = || Name::new(label).map_err(|error| format!("'{label}' is not a name: it {error}"));
    let name = if node.value == Value::Null {
        reader.parsed(label_name(), node, &at)?
    } else {
        let fields = reader.fields(node, &at, &fields::NAMESPACE)?;
        if fields.get("name").is_some() { name(reader, &fields, "name")? } else { reader.parsed(label_name(), node, &at)? }
    };
    Some(NamespaceEntry { label: label.to_owned(), name })
}

/// Reads one config whose files were taken in already.
pub(super) fn config(reader: &mut Reader, label: &str, node: &Node) -> Option<ConfigEntry> {
    let at = At::new(format!("configs.{label}"), "config");
    let fields = reader.fields(node, &at, &fields::CONFIG)?;
    let (namespace, name) = (name(reader, &fields, "namespace"), name(reader, &fields, "name"));
    if let Some((files, at)) = fields.get("files") {
        reader.fail(&at, files.line, Rule::NotInlined, "files are read by the command line: send their contents as data");
    }
    let data = match fields.get("data") {
        Some((data_node, at)) => data(reader, data_node, &at).unwrap_or_default(),
        None => BTreeMap::new(),
    };
    if fields.get("data").is_none() && fields.get("files").is_none() {
        reader.fail(&at.field("data"), node.line, Rule::Required, "a config needs data or files");
    }
    let labels = fields.get("labels").map(|(node, at)| parts::labels(reader, node, &at)).unwrap_or_default();
    Some(ConfigEntry { label: label.to_owned(), namespace: namespace?, name: name?, data, labels })
}

fn data(reader: &mut Reader, node: &Node, at: &At) -> Option<BTreeMap<String, String>> {
    let parsed;
    let map = match &node.value {
        Value::Text(text) => {
            parsed = reader.parsed(json_object(text), node, at)?;
            &parsed
        }
        _ => node,
    };
    let mut found = BTreeMap::new();
    for entry in reader.map(map, at)? {
        let text = match &entry.value.value {
            Value::Map(_) | Value::List(_) => Some(entry.value.to_json().to_string()),
            // The content of a file, whatever is in it.
            Value::Text(text) => Some(text.clone()),
            _ => reader.scalar(&entry.value, &at.key(&entry.key)),
        };
        found.extend(text.map(|text| (entry.key.clone(), text)));
    }
    Some(found)
}

fn json_object(text: &str) -> Result<Node, String> {
    let node = Node::from_json(text.as_bytes()).map_err(|error| format!("data is not a JSON object: {error}"))?;
    if node.entries().is_some() { Ok(node) } else { Err(format!("data is not a JSON object but {}", node.kind())) }
}

/// Reads the `files` of every config and puts their contents among its `data`. `read` gets a path as it is written and the
/// config's `interpolate`.
///
/// # Errors
/// Every file that cannot be read, and every key that is both in `data` and in `files`.
pub fn take_in_files(tree: &mut Node, mut read: impl FnMut(&str, bool) -> Result<String, String>) -> Result<(), Vec<Violation>> {
    let mut reader = Reader::default();
    let Some(Value::Map(configs)) = tree.get_mut("configs").map(|node| &mut node.value) else { return Ok(()) };
    for config in configs {
        take_in(&mut reader, &config.key, &mut config.value, &mut read);
    }
    if reader.violations.is_empty() { Ok(()) } else { Err(reader.told()) }
}

fn take_in(reader: &mut Reader, label: &str, config: &mut Node, read: &mut impl FnMut(&str, bool) -> Result<String, String>) {
    let at = At::new(format!("configs.{label}.files"), "config.files");
    let interpolate = matches!(config.get("interpolate").map(|node| &node.value), Some(Value::Bool(true)));
    let Some(files) = config.get("files").filter(|node| node.value != Value::Null).cloned() else { return };
    let Some(files) = reader.map(&files, &at) else { return };
    let mut contents = Vec::new();
    for file in files {
        let at = at.key(&file.key);
        let Some(path) = reader.text(&file.value, &at) else { continue };
        let Some(text) = reader.parsed(read(&path, interpolate), &file.value, &at) else { continue };
        let value = Node { value: Value::Text(text), line: file.line };
        contents.push(Entry { key: file.key.clone(), line: file.line, value });
    }
    merge(reader, config, contents, &at);
}

fn merge(reader: &mut Reader, config: &mut Node, contents: Vec<Entry>, at: &At) {
    let data = config.get("data").cloned().unwrap_or(Node { value: Value::Map(Vec::new()), line: config.line });
    let data = match &data.value {
        Value::Text(text) => reader.parsed(json_object(text), &data, at).unwrap_or(data),
        Value::Null => Node { value: Value::Map(Vec::new()), line: data.line },
        _ => data,
    };
    let line = data.line;
    let mut entries = data.entries().map(<[Entry]>::to_vec).unwrap_or_default();
    for content in contents {
        if entries.iter().any(|entry| entry.key == content.key) {
            let message = format!("the key '{}' is both in data and in files", content.key);
            reader.fail(&at.key(&content.key), content.line, Rule::Duplicate, message);
        } else {
            entries.push(content);
        }
    }
    if let Value::Map(fields) = &mut config.value {
        fields.retain(|entry| entry.key != "files" && entry.key != "data");
        fields.push(Entry { key: "data".to_owned(), line, value: Node { value: Value::Map(entries), line } });
    }
}
