//! The reference of the REST interface, made from its description.

use serde_json::{Map, Value};

use super::{document, rules};

const OPENING: &str = "# REST interface

Made from the program itself (`RING_UPDATE_DOCS=1 cargo test -p ring-server --test reference`); do not edit. Every control node
describes it at `/openapi.json`, and answers every request.

Requests and replies are JSON. Times are RFC 3339, UTC. A request carries `Authorization: Bearer TOKEN` unless its route is open.

- Writes are linearizable, and so are reads. `?consistency=stale` reads the copy of the control node that answers; the header
  `Ring-Stale-Age` says how many milliseconds old it may be.
- A POST with an `Idempotency-Key` is done once, however often it comes.
- `Ring-Revision` is the log index a read reflects, `revision` in a reply to a change the index of that change.
- Errors are `application/problem+json` (RFC 9457) with a stable `code`; see [errors](errors.md). A 422 lists every broken rule. A 429
  or 503 says in `Retry-After` when to come again.
- Any route can answer 400, 408, 500 and 503; one that needs an account 401, 403, 404 and 429, too; a change 409, 413 and 422, too.
- `follow=true` gives server-sent events. After a lost connection the same request to any control
  node with `Last-Event-ID` goes on where it was.";

/// The page.
pub fn rest_reference() -> String {
    let document = serde_json::to_value(document()).unwrap_or_default();
    let mut parts = vec![OPENING.to_owned()];
    let mut tags: Vec<(String, Vec<String>)> = Vec::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let tag = text(&operation["tags"][0]);
            let section = self::operation(&method.to_uppercase(), path, operation);
            match tags.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, sections)) => sections.push(section),
                None => tags.push((tag, vec![section])),
            }
        }
    }
    for (tag, sections) in tags {
        parts.push(format!("## {}", capital(&tag)));
        parts.extend(sections);
    }
    parts.push("## Objects".to_owned());
    parts.extend(object(&document["components"]["schemas"]).map(|(name, schema)| self::schema(name, schema)));
    parts.join("\n\n") + "\n"
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn operation(method: &str, path: &str, operation: &Value) -> String {
    let needs = match operation[rules::PERMISSION].as_str() {
        Some("nothing") | None => "Open to everybody.".to_owned(),
        Some("account") => "Needs an account.".to_owned(),
        Some(permission) => format!("Needs `{permission}`."),
    };
    let about = [text(&operation["summary"]), text(&operation["description"])].join(" ");
    let mut lines = vec![format!("### `{method} {path}`"), format!("{} {needs}", about.trim())];
    let query = list(&operation["parameters"]).iter().filter(|p| p["in"] == "query");
    let query: Vec<_> = query.map(|p| format!("`{}` ({})", text(&p["name"]), kind(&p["schema"]))).collect();
    if !query.is_empty() {
        lines.push(format!("Query: {}.", query.join(", ")));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        lines.push(format!("Body: {}.", kind(body)));
    }
    lines.push(replies(&operation["responses"]));
    lines.join("\n\n")
}

fn replies(responses: &Value) -> String {
    let content = |response: &Value| object(&response["content"]).next().map(|(_, content)| kind(&content["schema"]));
    let good =
        object(responses).filter(|(status, _)| status.as_str() < "400").map(|(status, response)| match content(response) {
            Some(kind) => format!("{status} {kind}"),
            None => status.clone(),
        });
    format!("Reply: {}.", good.collect::<Vec<_>>().join(", "))
}

/// A type in a few words, with a link where it is an object of this page.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|link| link.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(any) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        let kinds: Vec<_> = any.iter().filter(|one| one["type"] != "null").map(kind).collect();
        return kinds.join(" or ");
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().map(kind).collect::<Vec<_>>().join(" and ");
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        other => other.as_str().into_iter().collect(),
    };
    match types.first() {
        Some(&"array") => format!("list of {}", kind(&schema["items"])),
        Some(&"object") if schema["additionalProperties"].is_object() => {
            format!("map to {}", kind(&schema["additionalProperties"]))
        }
        Some(kind) => match schema["enum"].as_array() {
            Some(words) => words.iter().map(|word| format!("`{}`", text(word))).collect::<Vec<_>>().join(", "),
            None => (*kind).to_owned(),
        },
        None => "anything".to_owned(),
    }
}

fn schema(name: &str, schema: &Value) -> String {
    let about = text(&schema["description"]);
    let head = if about.is_empty() { format!("### {name}") } else { format!("### {name}\n\n{about}") };
    let parts: Vec<&Value> = match schema["allOf"].as_array() {
        Some(all) => all.iter().collect(),
        None => vec![schema],
    };
    let bases: Vec<_> =
        parts.iter().filter(|part| part["$ref"].is_string()).map(|part| format!("Everything of {}, and:", kind(part))).collect();
    let rows: Vec<_> = parts
        .iter()
        .flat_map(|part| {
            let required: Vec<_> = list(&part["required"]).iter().map(text).collect();
            object(&part["properties"])
                .map(move |(field, schema)| row(field, schema, required.contains(field)))
                .collect::<Vec<_>>()
        })
        .collect();
    if rows.is_empty() {
        return format!("{head}\n\n{}", kind(schema));
    }
    let table = format!("| field | type | | |\n|---|---|---|---|\n{}", rows.join("\n"));
    [vec![head], bases, vec![table]].concat().join("\n\n")
}

fn row(field: &str, schema: &Value, required: bool) -> String {
    let about = text(&schema["description"]).replace('\n', " ").replace('|', "\\|");
    let required = if required { "always" } else { "" };
    format!("| `{field}` | {} | {required} | {about} |", kind(schema))
}
