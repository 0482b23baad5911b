//! The pure crates have no clock, no randomness, no hash order, no I/O; only the client's output prints; one place has unsafe code.

use crate::sources::rust;

const PURE: &[&str] = &["crates/types/src", "crates/state/src", "crates/planner/src"];

const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant::now",
    "HashMap",
    "HashSet",
    "tokio",
    "rand::",
    "std::fs",
    "std::net::Tcp",
    "std::thread",
    "std::env",
    "now_v7",
    "new_v4",
    "RandomState",
];

#[test]
fn the_pure_crates_are_pure() {
    for source in PURE.iter().flat_map(|folder| rust(folder)) {
        for (line, text) in source.program() {
            let found = IMPURE.iter().find(|word| text.contains(**word));
            assert!(found.is_none(), "{}:{line} names {}: {text}", source.path, found.unwrap());
        }
    }
}

#[test]
fn one_place_prints() {
    for source in rust("crates") {
        let may = source.path.starts_with("crates/cli/src/output")
            || source.path.starts_with("crates/testkit/")
            || source.path.contains("/tests/")
            || source.path.contains("/benches/")
            || source.path.contains("/examples/")
            || source.path.ends_with("/tests.rs")
            || source.path.ends_with("build.rs");
        for (line, text) in source.program().filter(|_| !may) {
            let prints = ["println!", "print!(", "eprintln!", "eprint!("].iter().any(|word| text.contains(word));
            assert!(!prints, "{}:{line} prints; output belongs to crates/cli/src/output", source.path);
        }
    }
}

#[test]
fn one_place_has_unsafe_code() {
    let places: Vec<_> =
        rust("crates").into_iter().filter(|source| source.text.contains("(unsafe_code")).map(|s| s.path).collect();
    assert_eq!(places, ["crates/ring/src/node/pages.rs"]);
}
