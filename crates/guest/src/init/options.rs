//! What the init is told on its command line: nothing, but in tests.
//!
//! A test runs the init as a process of its own host, as root in namespaces (`unshare --mount --pid --fork --kill-child --uts
//! --ipc --net`) or as anybody without: then it has the host's files for a root, and cannot mount anything.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What a test asks for.
#[derive(Debug)]
pub(super) struct Test {
    /// Socket of the host, in place of vsock.
    pub(super) socket: PathBuf,
    /// Directory in place of the root disk; it stays as it is.
    pub(super) root: PathBuf,
    /// Directories in place of virtiofs shares, by tag.
    pub(super) shares: BTreeMap<String, PathBuf>,
}

/// Names of what can be given.
const SOCKET: &str = "--test-socket";
const ROOT: &str = "--test-root";
const SHARE: &str = "--test-share";

impl Test {
    /// None in a micro-VM. A kernel gives its own words to process 1: they are not looked at.
    pub(super) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut test = Self { socket: PathBuf::new(), root: PathBuf::from("/"), shares: BTreeMap::new() };
        while let Some(name) = arguments.next() {
            let Some(name) = name.to_str().filter(|name| [SOCKET, ROOT, SHARE].contains(name)) else { continue };
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            match name {
                SOCKET => test.socket = value.into(),
                ROOT => test.root = value.into(),
                _ => {
                    let share = value.to_str().and_then(|value| value.split_once('='));
                    let (tag, dir) = share.ok_or_else(|| format!("{SHARE} wants TAG=DIRECTORY"))?;
                    test.shares.insert(tag.to_owned(), dir.into());
                }
            }
        }
        let is_test = !test.socket.as_os_str().is_empty();
        if !is_test && !rustix::process::getpid().is_init() {
            return Err(format!("this is the init of a micro-VM; to try it on a host, give {SOCKET}"));
        }
        Ok(is_test.then_some(test))
    }
}
