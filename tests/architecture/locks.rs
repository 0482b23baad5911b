//! `fuzz/` is a workspace of its own with a lock file of its own, which follows that of the rest.

use std::{collections::BTreeSet, process::Command};

use crate::sources::root;

/// Name and version of each package of a lock file.
fn locked(file: &str) -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let lock: toml::Table = toml::from_str(&text).unwrap();
    let text_of = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
    lock["package"].as_array().unwrap().iter().map(|package| (text_of(package, "name"), text_of(package, "version"))).collect()
}

#[test]
fn what_is_fuzzed_is_built_from_the_versions_that_are_shipped() {
    let own = ["arbitrary", "libfuzzer-sys", "ring-fuzz"];
    let shipped = locked("Cargo.lock");
    let fuzzed = locked("fuzz/Cargo.lock");
    let others: Vec<_> = fuzzed.difference(&shipped).filter(|(name, _)| !own.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "only fuzz/Cargo.lock has {others:?}: `cargo update --manifest-path fuzz/Cargo.toml`");
}

#[test]
fn the_lock_file_of_the_fuzzer_is_up_to_date() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = root().join("fuzz/Cargo.toml");
    let told = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .unwrap();
    assert!(
        told.status.success(),
        "fuzz/Cargo.lock does not follow the manifests; `cargo metadata --manifest-path fuzz/Cargo.toml` brings it up to date\n{}",
        String::from_utf8_lossy(&told.stderr)
    );
}
