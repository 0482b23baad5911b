//! Where the runtime keeps its files.

use std::path::Path;

use rustix::fs::Access;

use super::{Requirement, Wanted, Weight, who};
use crate::config::{SOCKET_DIR, sockets_fit};

pub(super) async fn places(wanted: &Wanted) -> Requirement {
    let dirs = [wanted.data_dir.clone(), wanted.socket_dir.clone()];
    let found = if sockets_fit(&wanted.socket_dir) {
        // A file system that hangs holds up a thread that is there for such things.
        let tried = tokio::task::spawn_blocking(move || dirs.iter().try_for_each(|dir| writable(dir))).await;
        tried.unwrap_or_else(|error| Err(error.to_string())).map(|()| wanted.data_dir.display().to_string())
    } else {
        let path = wanted.socket_dir.display();
        Err(format!("the path '{path}' is too long for the sockets in it: it has more than {SOCKET_DIR} bytes"))
    };
    let remedy = "make room for them or run the agent as root; server.runtime.cloud_hypervisor.socket_dir names another place for \
                  sockets";
    Requirement::new("directories", found, Weight::Everything, "no micro-VM has a place for its files", remedy)
}

/// Can files be made in it, or can it be made?
fn writable(dir: &Path) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("'{}' cannot be written to: {error}", dir.display());
    if dir.exists() {
        let probe = dir.join(format!(".probe-{}", std::process::id()));
        return std::fs::write(&probe, b"ring").and_then(|()| std::fs::remove_file(&probe)).map_err(wrong);
    }
    let Some(above) = dir.ancestors().find(|path| path.exists()) else { return Ok(()) };
    if !above.is_dir() {
        return Err(format!("'{}' cannot be made: '{}' is no directory", dir.display(), above.display()));
    }
    let allowed = rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK);
    allowed.map_err(|error| format!("{} cannot make '{}' in '{}': {error}", who(), dir.display(), above.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::VmConfig;

    async fn of(data_dir: &Path, socket_dir: PathBuf) -> Option<String> {
        places(&Wanted::from(&VmConfig { socket_dir, ..VmConfig::new(data_dir) })).await.problem()
    }

    #[tokio::test]
    async fn directories_that_are_of_no_use_are_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = || dir.path().join("s");
        assert_eq!(of(dir.path(), sockets()).await, None);
        assert!(!sockets().exists(), "it was made");
        let deep = of(dir.path(), PathBuf::from(format!("/{}", "x".repeat(SOCKET_DIR)))).await.unwrap();
        assert!(deep.contains("more than 58 bytes") && deep.contains("socket_dir"), "{deep}");
        std::fs::write(dir.path().join("file"), "").unwrap();
        let file = of(&dir.path().join("file/vm"), sockets()).await.unwrap();
        assert!(file.contains("is no directory"), "{file}");
        // Not even root makes a directory there.
        let made = of(Path::new("/proc/self/vm"), sockets()).await;
        assert!(made.is_some_and(|why| why.contains("/proc/self/vm")));
    }
}
