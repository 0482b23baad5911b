//! Log lines go to standard error: text, or JSON with `RING_LOG_FORMAT=json`; what is shown is up to `RUST_LOG`.

use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const USUAL: &str = "info,openraft=error,h2=warn,hyper=warn,rustls=warn,tonic=warn";

/// Starts logging.
pub(super) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let kept = tracing_subscriber::registry().with(filter).with(filter_fn(|line| !shows_contents(line)));
    if in_json() { kept.with(lines.json()).init() } else { kept.with(lines).init() }
}

/// Are the lines for a program, which looks for each of them in JSON?
pub(super) fn in_json() -> bool {
    std::env::var_os("RING_LOG_FORMAT").is_some_and(|format| format == "json")
}

/// Lines that hold what goes over a connection: input and output of commands, which may be secret. They are shown to nobody,
/// however much `RUST_LOG` asks for.
fn shows_contents(line: &Metadata<'_>) -> bool {
    *line.level() == Level::TRACE && line.target().starts_with("tungstenite")
}
