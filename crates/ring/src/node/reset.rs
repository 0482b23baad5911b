//! `ring user reset-password`

use std::process::ExitCode;

use ring_cli::output::{data, failure_message, note};
use ring_cli::{Exit, NodeSettings, ResetPassword, password_file, read_password};
use ring_server::node::{NodeError, reset_password};
use ring_server::pki::PkiError;
use zeroize::Zeroizing;

/// Gives an account a new password and says how it went.
pub(super) fn run(settings: &NodeSettings, args: &ResetPassword) -> ExitCode {
    let password = match &args.password_file {
        Some(path) if path.as_os_str() == "-" => read_password(&args.username).map(Some),
        Some(path) => password_file(path).map(Some),
        None => Ok(None),
    };
    let password = match password {
        Ok(password) => password.map(Zeroizing::new),
        Err(error) => return failure_message(&error.to_string(), None, Exit::General),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure_message(&format!("cannot start: {error}"), None, Exit::General),
    };
    match runtime.block_on(reset_password(&settings.paths.data_dir, &args.username, password)) {
        Ok(made_up) => told(&args.username, made_up.as_ref().map(|password| password.as_str())),
        Err(error) => {
            let (hint, exit) = advice(&error);
            failure_message(&with_source(&error), hint, exit)
        }
    }
}

fn told(username: &str, made_up: Option<&str>) -> ExitCode {
    note(&format!("The password of '{username}' is reset; its sessions and tokens have ended."));
    let Some(password) = made_up else { return ExitCode::SUCCESS };
    note("The new one, which is not shown again:");
    match data(password) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure_message(&error.to_string(), Some("run it again for another password"), Exit::General),
    }
}

pub(super) fn with_source(error: &NodeError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What to do next, and the exit code.
fn advice(error: &NodeError) -> (Option<&'static str>, Exit) {
    match error {
        NodeError::NoUser(_) => (Some("see what there is with: ring user list"), Exit::NotFound),
        NodeError::Unreachable(_) => (Some("start the control node first: ring server start"), Exit::Unreachable),
        NodeError::Refused(_) => (None, Exit::Denied),
        NodeError::NotJoined(_) | NodeError::NotControl(_) => {
            (Some("run it on the host of a control node, with the --data-dir it was started with"), Exit::General)
        }
        NodeError::Pki(PkiError::File { .. }) => (Some("run it as the owner of the data directory"), Exit::Denied),
        _ => (None, Exit::General),
    }
}
