//! Compiles every file under `/proto` to Rust, without `protoc`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    // As it is now, not as it was when this was compiled: checkouts may share a build directory.
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo says where it builds")?).join("../../proto");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    find(&root, &mut files)?;
    files.sort();
    tonic_prost_build::configure()
        // Maps are ordered, so that the same value always has the same bytes.
        .btree_map(".")
        // Log entries are passed on as they are, without a copy.
        .bytes(".ring.raft")
        .skip_debug(SECRET)
        .include_file("packages.rs")
        .compile_fds(protox::compile(files, [root])?)?;
    Ok(())
}

/// Messages whose `Debug` is written by hand in `src/redact.rs`, because they carry something in the clear that belongs in no
/// log line.
const SECRET: [&str; 5] = [
    "ring.agent.v1.ClaimResult",
    "ring.agent.v1.MountedFile",
    "ring.agent.v1.RegistryLogin",
    "ring.cluster.v1.JoinRequest",
    "ring.cluster.v1.JoinReply",
];

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
