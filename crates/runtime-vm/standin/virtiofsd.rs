//! Stands in for virtiofsd: serves nobody, and leaves a word beside its socket on what it would serve.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--version") {
        let _ = writeln!(std::io::stdout(), "virtiofsd 1.13.0");
        return ExitCode::SUCCESS;
    }
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1).cloned().unwrap_or_default();
    let socket = value("--socket-path");
    // Who finds the socket finds the word.
    let left = std::fs::write(format!("{socket}.dir"), value("--shared-dir"));
    match left.and_then(|()| UnixListener::bind(&socket)) {
        Ok(listener) => {
            // It ends when the VMM does, as that hangs up on it; here it is ended.
            let _ = listener.accept();
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
