//! The reference of the REST interface is that of this program.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

#[test]
fn the_reference_of_the_rest_interface_is_fresh() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/rest.md");
    let made = ring_server::rest::rest_reference();
    if std::env::var_os("RING_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/reference/rest.md is stale: RING_UPDATE_DOCS=1 cargo test -p ring-server --test reference");
}
