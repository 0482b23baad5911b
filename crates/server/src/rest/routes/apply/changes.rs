//! Which fields of two values differ.

use ring_api::model::FieldChange;
use serde_json::Value;

/// Every field that differs, by its path. Nothing, null, and an empty list or map are the same.
pub(super) fn changes(from: &Value, to: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare("", from, to, &mut found);
    found
}

/// Every field of something new.
pub(super) fn added(to: &Value) -> Vec<FieldChange> {
    changes(&Value::Null, to)
}

fn compare(path: &str, from: &Value, to: &Value, found: &mut Vec<FieldChange>) {
    if from == to || (is_nothing(from) && is_nothing(to)) {
        return;
    }
    match (from, to) {
        (Value::Object(_), Value::Object(_)) => maps(path, from, to, found),
        // An item of a list that comes or goes is told whole, and so is a reference to a secret.
        (Value::Object(_), Value::Null) | (Value::Null, Value::Object(_)) if !path.contains(['.', '[']) => {
            maps(path, from, to, found);
        }
        (Value::Array(old), Value::Array(new)) if old.iter().chain(new).all(Value::is_object) => {
            for index in 0..old.len().max(new.len()) {
                let item = |list: &[Value]| list.get(index).cloned().unwrap_or_default();
                compare(&format!("{path}[{index}]"), &item(old), &item(new), found);
            }
        }
        _ => found.push(FieldChange { path: path.to_owned(), from: told(from), to: told(to) }),
    }
}

fn maps(path: &str, from: &Value, to: &Value, found: &mut Vec<FieldChange>) {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let all: std::collections::BTreeSet<_> = keys(from).into_iter().chain(keys(to)).collect();
    for key in all {
        let field = |value: &Value| value.get(&key).cloned().unwrap_or_default();
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(&inner, &field(from), &field(to), found);
    }
}

/// What says nothing is null.
fn told(value: &Value) -> Value {
    if is_nothing(value) { Value::Null } else { value.clone() }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(from: &Value, to: &Value) -> Vec<String> {
        changes(from, to).iter().map(|change| format!("{}: {} -> {}", change.path, change.from, change.to)).collect()
    }

    #[test]
    fn the_deepest_field_that_differs_is_told() {
        let from =
            json!({ "image": "a:1", "environment": { "A": "1", "B": "2" }, "config": { "user": { "id": 1 } }, "replicas": 1 });
        let to =
            json!({ "image": "a:2", "environment": { "A": "1", "C": "3" }, "config": { "user": { "id": 2 } }, "replicas": 1 });
        let expected = [
            "config.user.id: 1 -> 2",
            "environment.B: \"2\" -> null",
            "environment.C: null -> \"3\"",
            "image: \"a:1\" -> \"a:2\"",
        ];
        assert_eq!(all(&from, &to), expected);
    }

    #[test]
    fn lists_of_words_are_told_whole_and_lists_of_objects_by_place() {
        let from = json!({ "command": ["a", "b"], "ports": [{ "published": 80, "target": 80 }] });
        let to = json!({ "command": ["a"], "ports": [{ "published": 81, "target": 80 }, { "published": 90, "target": 9 }] });
        let expected = [
            "command: [\"a\",\"b\"] -> [\"a\"]",
            "ports[0].published: 80 -> 81",
            "ports[1]: null -> {\"published\":90,\"target\":9}",
        ];
        assert_eq!(all(&from, &to), expected);
    }

    #[test]
    fn nothing_is_nothing_however_it_is_written() {
        assert_eq!(all(&json!({ "a": null, "b": [], "c": {} }), &json!({ "d": { "e": null } })), Vec::<String>::new());
    }

    #[test]
    fn of_something_new_every_field_is_told() {
        let paths: Vec<_> = added(&json!({ "data": { "a": "1", "b": "2" }, "labels": {} })).into_iter().map(|c| c.path).collect();
        assert_eq!(paths, ["data.a", "data.b"]);
    }
}
