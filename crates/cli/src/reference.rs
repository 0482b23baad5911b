//! The reference of the command line, made from the command line itself.

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::args::Cli;
use crate::error::Exit;

/// Width help is wrapped at, wherever it is made.
const WIDTH: usize = 100;

/// Says that a page is not to be edited.
const MADE: &str = "Made from the program itself (`RING_UPDATE_DOCS=1 cargo test -p ring-cli --test reference`); do not edit.";

fn tree() -> Command {
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    command
}

/// Every command with the help it shows, in the order of the tree: `ring`, `ring apply` and so on.
pub fn help_pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    visit(&tree(), "ring", &mut |path, command| {
        pages.push((path.to_owned(), command.clone().term_width(WIDTH).render_long_help().to_string()));
    });
    pages
}

/// The reference of all commands, in Markdown.
pub fn command_reference() -> String {
    let mut out = vec!["# Command line".to_owned(), MADE.to_owned()];
    visit(&tree(), "ring", &mut |path, command| out.extend(section(path, command)));
    out.push("## Exit codes".to_owned());
    out.push(exit_codes());
    out.push(OF_EXEC.to_owned());
    out.push("## Environment".to_owned());
    out.push(environment());
    out.join("\n\n") + "\n"
}

fn visit(command: &Command, path: &str, each: &mut impl FnMut(&str, &Command)) {
    each(path, command);
    for sub in command.get_subcommands() {
        visit(sub, &format!("{path} {}", sub.get_name()), each);
    }
}

fn section(path: &str, command: &Command) -> Vec<String> {
    let mut out = vec![format!("## `{path}`")];
    out.extend(command.get_about().map(|about| format!("{about}.")));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim().to_owned();
    out.push(format!("```text\n{usage}\n```"));
    let subcommands: Vec<_> = command
        .get_subcommands()
        .map(|sub| format!("| `{path} {}` | {} |", sub.get_name(), sub.get_about().map(ToString::to_string).unwrap_or_default()))
        .collect();
    if !subcommands.is_empty() {
        out.push(format!("| command | what |\n|---|---|\n{}", subcommands.join("\n")));
    }
    let own = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let globals = |arg: &&Arg| path == "ring" || !arg.is_global_set();
    let args: Vec<_> = command.get_arguments().filter(own).filter(globals).map(row).collect();
    if !args.is_empty() {
        out.push(format!("| argument | what | default |\n|---|---|---|\n{}", args.join("\n")));
    }
    out
}

fn row(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !values.is_empty();
    let value = if takes { format!(" {}", values.join(" ")) } else { String::new() };
    let names = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("`-{short}`, `--{long}{value}`"),
        (None, Some(long)) => format!("`--{long}{value}`"),
        (Some(short), None) => format!("`-{short}{value}`"),
        (None, None) => format!("`{}`", values.join(" ")),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    let possible: Vec<_> = arg.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
    let possible = if possible.is_empty() || !takes { String::new() } else { format!(": {}", possible.join(", ")) };
    let default: Vec<_> = arg.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy())).collect();
    let default = if takes { default.join(", ") } else { String::new() };
    format!("| {} | {help}{possible} | {default} |", names.replace('|', "\\|"))
}

/// Whose the exit code of one command is.
const OF_EXEC: &str = "`ring deployment exec` exits with the code of the command it ran, 0 to 255, and with 128 and the signal's number \
    when one ended that. A failure of `ring` itself has one of the codes above and a line on standard error that begins with `error:`.";

fn exit_codes() -> String {
    let rows: Vec<_> = Exit::ALL.iter().map(|exit| format!("| {} | {} |", *exit as u8, exit.meaning())).collect();
    format!("| code | when |\n|---|---|\n{}", rows.join("\n"))
}

/// The reference of errors: what the command line exits with, and what the API answers.
pub fn error_reference() -> String {
    let parts = [
        "# Errors".to_owned(),
        MADE.to_owned(),
        "## Exit codes".to_owned(),
        "A failed command says on standard error what failed, and where there is one, the next step; its exit code is one of \
         these."
            .to_owned(),
        exit_codes(),
        ring_api::errors::reference(),
    ];
    parts.join("\n\n") + "\n"
}

fn environment() -> String {
    let variables = [
        ("RING_HOST", "control nodes to ask, comma separated: `HOST`, `HOST:PORT` or a URL; wins over the context"),
        ("RING_TOKEN", "token to use; wins over the one `ring login` kept"),
        (
            "RING_CA_FINGERPRINT",
            "SHA-256 fingerprint of the certificate authority of the control nodes, several with commas; wins over the context. \
             Hosts without a scheme are spoken to over TLS then",
        ),
        ("RING_CA_FILE", "file with the certificate of that authority, PEM, instead of its fingerprint"),
        ("RING_CONFIG_DIR", "configuration directory; `ring` under `$XDG_CONFIG_HOME` or `~/.config` when unset"),
        ("RING_CONFIG_FILE", "configuration file; `config.toml` in the directory when unset"),
        ("RING_DATA_DIR", "data directory of a node; `/var/lib/ring` for root, else `ring` under `~/.local/share`"),
        ("RING_SECRET_KEY", "key that encrypts secrets, base64 of 32 bytes; the file `secret-key` when unset"),
        ("RING_ADMIN_PASSWORD", "password of `admin` at the first start; a random one is printed once when unset"),
        ("RING_ADMIN_PASSWORD_FILE", "file with that password; as `--admin-password-file`"),
        ("RING_JOIN_TOKEN", "token of `ring cluster join`"),
        ("RING_NODE_GRACE", "how long a node may be silent before its work counts as lost; 60s when unset"),
        (
            "RING_SNAPSHOT_EVERY",
            "log entries after which a control node writes its state as a whole and cuts the log; 20000 when unset",
        ),
        ("RING_CERTIFICATE_LIFETIME", "how long certificates made by this control node are good; 90d when unset"),
        (
            "RING_AUTOSCALE_PAUSE",
            "shortest time from one change by load to the next, up or down; for tests. 30s up and 5m down when unset",
        ),
        ("RING_ROLLOUT_DEADLINE", "how long a rolling update may take to get ready"),
        ("RING_LOG_FORMAT", "`json`: a node logs JSON lines"),
        ("RUST_LOG", "what a node logs: `info`, `ring_server=debug` and the like"),
        ("NO_COLOR", "no colour, whatever its value"),
    ];
    let rows: Vec<_> = variables.iter().map(|(name, what)| format!("| `{name}` | {what} |")).collect();
    format!("| variable | what |\n|---|---|\n{}", rows.join("\n"))
}
