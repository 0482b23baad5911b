//! How the init is built: as one static program, small, in a target directory of its own. Used by the build of whoever carries it and
//! by the tests that drive it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the program.
const NAME: &str = "ring-guest";

/// For whom it is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// People: as small as it gets.
    Release,
    /// Tests: as soon as it gets.
    Debug,
}

/// Settings of the build, in the terms of `cargo --config`.
const RELEASE: &[&str] = &["opt-level='s'", "lto=true", "codegen-units=1"];
const DEBUG: &[&str] = &["opt-level=0", "debug=false", "package.'*'.opt-level=0"];

/// Builds the init for `target` into `dir`, and says where it is. `manifest` is the one of the crate.
///
/// Nothing is fetched: what the lock file names is on the host already, as this crate is built from the same. The directory is locked
/// by nobody who waits for this.
pub(crate) fn build(manifest: &Path, target: &str, dir: &Path, whom: For) -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--offline", "--bin", NAME, "--target", target]);
    let (profile, folder, settings) = match whom {
        For::Release => ("release", "release", RELEASE),
        For::Debug => ("dev", "debug", DEBUG),
    };
    command.args(["--profile", profile]);
    for setting in settings.iter().chain(&["panic='abort'", "strip='symbols'"]) {
        command.arg("--config").arg(format!("profile.{profile}.{setting}"));
    }
    command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(dir);
    // What the outer build was told is for its own programs: coverage, sanitizers, another target.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        let own = ["CARGO_FEATURE_", "CARGO_CFG_", "CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_PKG_", "DEP_"];
        if own.iter().any(|prefix| name_text.starts_with(prefix)) || name_text == "RUSTFLAGS" || name_text == "CARGO_MAKEFLAGS" {
            command.env_remove(&name);
        }
    }
    for name in ["RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR", "LLVM_PROFILE_FILE", "RUSTDOCFLAGS", "TARGET", "HOST", "PROFILE"]
    {
        command.env_remove(name);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    let output = command.output().map_err(|error| format!("cargo could not be run to build {NAME}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the init of micro-VMs, {NAME}, was not built for {target}. It needs this target in the toolchain (rustup target add \
             {target}), a linker for it, its static C library (libc.a of libc6-dev), and every crate of Cargo.lock on the host \
             (cargo fetch --locked, once, with a network). Cargo says:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(dir.join(target).join(folder).join(NAME))
}
