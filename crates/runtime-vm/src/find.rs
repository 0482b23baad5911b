//! Programs of the host.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Looked at after `$PATH`, which is often without them for services.
const USUAL: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// Where a program of this name is; None when the host has none.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = USUAL.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|path| is_program(path))
}

/// Is it a file that can be executed?
pub(crate) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
