//! A network that nobody else is in.

use std::path::Path;
use std::process::Command;

use rustix::thread::UnshareFlags;

#[expect(deprecated, reason = "its successor is unsafe for the sake of another flag than this one")]
fn leave_the_network() -> std::io::Result<()> {
    Ok(rustix::thread::unshare(UnshareFlags::NEWNET)?)
}

/// Runs a test where there is no network but a loopback.
pub(crate) fn apart<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let done = std::thread::spawn(move || {
        if let Err(error) = leave_the_network() {
            crate::loud::skipped(&format!("no network namespace can be made here: {error}"));
            return;
        }
        if !Path::new("/dev/net/tun").exists() {
            crate::loud::skipped("there is no /dev/net/tun");
            return;
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    done.join().unwrap();
}

/// Taps of guests in the network of this thread: their prefixes begin so.
pub(crate) fn taps() -> usize {
    let listed = Command::new("ip").args(["-o", "link", "show"]).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).matches(": rv").count()
}
