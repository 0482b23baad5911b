//! Log lines go to standard error: text, or JSON with `RING_LOG_FORMAT=json`; what is shown is up to `RUST_LOG`.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

const USUAL: &str = "info,openraft=error,h2=warn,hyper=warn,rustls=warn,tonic=warn";

/// Starts logging.
pub(super) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    let json = std::env::var_os("RING_LOG_FORMAT").is_some_and(|format| format == "json");
    if json { lines.json().init() } else { lines.init() }
}
