//! What is wrong with a text that is no manifest, in the words of those who write manifests.

use serde_yaml::Error;
use serde_yaml::budget::BudgetBreach;

use super::parse::{MAX_DEPTH, MAX_NODES};

/// Longest piece of a manifest that a message repeats, characters.
const SHOWN: usize = 80;

/// A piece of a manifest as a message shows it: what is long is cut.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// What the YAML reader found, and where.
pub(super) fn explain(error: &Error) -> String {
    let error = error.without_snippet();
    let (error, location) = match error {
        // Where it is used, not where what it stands for was written.
        Error::AliasError { error, locations, .. } => (error.without_snippet(), Some(locations.reference_location)),
        other => (other, other.location()),
    };
    let what = match error {
        Error::Budget { breach, .. } => breached(breach),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            format!("with its aliases written out the manifest has more than {MAX_NODES} values")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an alias refers to a value it is a part of".to_owned(),
        Error::UnknownAnchor { .. } => "an alias refers to an anchor that is not there".to_owned(),
        Error::MultipleDocuments { .. } => one_document(),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key '{}' is there twice", shown(key)),
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        Error::NonFiniteFloat { value, .. } => format!("'{}' is not a number ring can hold", shown(value)),
        other => {
            let said = other.to_string();
            if !said.contains("recursion limit exceeded") {
                return shown_error(&said);
            }
            too_deep()
        }
    };
    match location {
        Some(at) => format!("{what} at line {}, column {}", at.line(), at.column()),
        None => what,
    }
}

fn breached(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => too_deep(),
        BudgetBreach::Documents { .. } => one_document(),
        BudgetBreach::ScalarBytes { .. } => "with its aliases written out the manifest has more than 64 MiB of text".to_owned(),
        _ => too_many(),
    }
}

pub(super) fn too_deep() -> String {
    format!("the manifest is nested deeper than {MAX_DEPTH} levels")
}

pub(super) fn too_many() -> String {
    format!("the manifest has more than {MAX_NODES} values")
}

fn one_document() -> String {
    "one file is one manifest: more than one YAML document is in it".to_owned()
}

/// The reader's own words, which may repeat a long value.
fn shown_error(text: &str) -> String {
    const LONG: usize = 400;
    match text.char_indices().nth(LONG) {
        Some((end, _)) => {
            let tail = text.rfind(" at line ").map_or("", |at| &text[at..]);
            format!("{}…{tail}", &text[..end])
        }
        None => text.to_owned(),
    }
}

/// What is wrong with JSON.
pub(super) fn explain_json(error: &serde_json::Error) -> String {
    shown_error(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(shown("short"), "short");
        let long = "é".repeat(100);
        assert_eq!(shown(&long), format!("{}… (200 bytes)", "é".repeat(80)));
    }
}
