//! The reference of the manifest, made from the list of fields the parser reads.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use ring_api::manifest::{Field, SECTIONS, Section};

const OPENING: &str = "# Manifest

Made from the program itself (`RING_UPDATE_DOCS=1 cargo test -p ring-api --test reference`); do not edit.

YAML or JSON, read by `ring apply -f FILE`; `-f -` reads standard input. A field that is not known is a mistake, told with its
line and the nearest known name. All mistakes are told at once, and nothing is applied as long as there is one.

`$VAR`, `${VAR}` and `${VAR:-default}` are replaced on the client in every text, keys of maps included, from the environment or
`--env-file` (the environment wins); `$$` is a dollar sign. A variable without a value is a mistake in `name`, `namespace`,
`image` and keys; elsewhere the text stays as it is, with a warning, or with `--strict-env` it is a mistake as well.

Durations are numbers with `ms`, `s`, `m` or `h`: `500ms`, `1m30s`.";

fn page() -> String {
    let sections = SECTIONS.iter().map(|section| self::section(section));
    let parts: Vec<_> = std::iter::once(OPENING.to_owned()).chain(sections).chain([refused()]).collect();
    parts.join("\n\n") + "\n"
}

fn section(section: &Section) -> String {
    let rows: Vec<_> = section.fields.iter().map(row).collect();
    let about = if section.about.is_empty() { String::new() } else { format!("\n\n{}", section.about) };
    format!("## {}{about}\n\n| field | what | default | |\n|---|---|---|---|\n{}", section.title, rows.join("\n"))
}

fn row(field: &Field) -> String {
    let default = if field.default.is_empty() { "required" } else { field.default };
    format!("| `{}` | {} | {default} | {} |", field.name, field.kind, field.about)
}

fn refused() -> String {
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("../testdata/rejected.json")).unwrap();
    let rows = cases.iter().map(|case| format!("| {} | `{}` |", case["name"].as_str().unwrap(), case["code"].as_str().unwrap()));
    let rows: Vec<_> = rows.collect();
    let head = "Each with its place and a stable code, all in one reply.\n\n| what | code |\n|---|---|";
    format!("## What is refused\n\n{head}\n{}", rows.join("\n"))
}

#[test]
fn the_reference_of_the_manifest_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/manifest.md");
    if std::env::var_os("RING_UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page(), "docs/reference/manifest.md is stale: RING_UPDATE_DOCS=1 cargo test -p ring-api --test reference");
}

#[test]
fn links_between_sections_lead_to_one() {
    let anchors: Vec<_> = SECTIONS.iter().map(|section| format!("#{}", section.title.to_lowercase().replace(' ', "-"))).collect();
    for field in SECTIONS.iter().flat_map(|section| section.fields) {
        for target in field.kind.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(anchors.iter().any(|anchor| anchor == target), "{} leads to {target}", field.name);
        }
    }
}
