//! Builds the init of micro-VMs, which the driver carries inside.

#[path = "../guest/static_build.rs"]
mod static_build;

use std::env;
use std::path::PathBuf;

fn main() -> Result<(), String> {
    let var = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let guest = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("../guest");
    for path in ["src", "Cargo.toml", "static_build.rs", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", guest.join(path).display());
    }
    let dir = PathBuf::from(var("OUT_DIR")?).join("init");
    let whom = if var("PROFILE")? == "release" { static_build::For::Release } else { static_build::For::Debug };
    let init = static_build::build(&guest.join("Cargo.toml"), &var("TARGET")?, &dir, whom)?;
    println!("cargo::rustc-env=RING_GUEST_INIT={}", init.display());
    Ok(())
}
