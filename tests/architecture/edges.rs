//! Which crate may depend on which, and which alone may name a big library.

use std::collections::BTreeSet;

use crate::sources::{crates, root};

/// Crate, and those of ours it may name. What is not listed is a wall.
const EDGES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("state", &["types"]),
    ("planner", &["state", "types"]),
    ("proto", &["state", "types"]),
    ("api", &["types"]),
    ("store", &["state", "proto", "types"]),
    ("controller", &["planner", "store", "state", "types"]),
    ("runtime", &["types"]),
    ("runtime-docker", &["runtime", "types"]),
    ("runtime-host", &["runtime", "types"]),
    ("runtime-process", &["runtime", "runtime-host", "types"]),
    ("guest", &[]),
    ("runtime-vm", &["runtime", "runtime-host", "guest", "types"]),
    ("agent", &["runtime", "proto", "state", "types"]),
    ("server", &["types", "state", "planner", "proto", "api", "store", "controller", "agent"]),
    ("cli", &["api", "types"]),
    ("ring", &["types", "cli", "server", "agent", "runtime", "runtime-docker", "runtime-process", "runtime-vm"]),
];

/// Library, and the crates that may name it.
const OWNED: &[(&str, &[&str])] = &[
    ("openraft", &["store"]),
    ("rocksdb", &["store"]),
    ("bollard", &["runtime-docker", "runtime-vm"]),
    ("axum", &["server"]),
    ("clap", &["cli", "ring"]),
    ("comfy-table", &["cli"]),
    ("indicatif", &["cli"]),
];

/// Crates that must build without the Raft store, so that the client and the agent stay small.
const LIGHT: &[&str] = &[
    "types",
    "state",
    "planner",
    "proto",
    "api",
    "runtime",
    "runtime-docker",
    "runtime-host",
    "runtime-process",
    "guest",
    "runtime-vm",
    "agent",
    "cli",
];

fn dependencies(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest.get("dependencies").and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn every_crate_keeps_to_its_edges() {
    for name in crates().iter().filter(|name| *name != "testkit") {
        let (_, allowed) = EDGES.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("crate {name} has no line in EDGES"));
        let ours: BTreeSet<_> = dependencies(name).iter().filter_map(|d| d.strip_prefix("ring-").map(str::to_owned)).collect();
        let allowed: BTreeSet<_> = allowed.iter().map(|&n| n.to_owned()).collect();
        let surplus: Vec<_> = ours.difference(&allowed).collect();
        assert!(surplus.is_empty(), "{name} depends on {surplus:?}; the walls are in docs/architecture.md");
    }
}

#[test]
fn test_support_is_for_tests() {
    for name in crates() {
        assert!(!dependencies(&name).contains("ring-testkit"), "{name} depends on ring-testkit outside its tests");
    }
}

#[test]
fn big_libraries_have_one_owner() {
    for (library, owners) in OWNED {
        for name in crates().iter().filter(|n| !owners.contains(&n.as_str()) && *n != "testkit") {
            assert!(!dependencies(name).contains(*library), "{name} names {library}; only {owners:?} may");
        }
    }
}

#[test]
fn client_and_agent_build_without_the_store() {
    for name in LIGHT {
        let direct = dependencies(name);
        for heavy in ["ring-store", "ring-server", "ring-controller", "rocksdb", "openraft"] {
            assert!(!direct.contains(heavy), "{name} depends on {heavy}");
        }
    }
}
