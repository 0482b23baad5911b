//! The help of every command, and the reference made from it.

use std::path::PathBuf;

#[test]
fn every_help_page_is_as_it_was() {
    let pages: Vec<_> = ring_cli::help_pages().into_iter().map(|(path, help)| format!("$ {path} --help\n{help}")).collect();
    insta::assert_snapshot!(pages.join("\n\n"));
}

#[test]
fn the_references_are_fresh() {
    fresh("cli.md", &ring_cli::command_reference());
    fresh("errors.md", &ring_cli::error_reference());
    fresh("configuration.md", &ring_cli::config::configuration_reference());
}

fn fresh(name: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("RING_UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("the reference is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/reference/{name} is stale: RING_UPDATE_DOCS=1 cargo test -p ring-cli --test reference");
}
