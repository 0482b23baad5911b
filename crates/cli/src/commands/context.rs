//! `ring context`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{Credentials, edit};
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{Cell, ListView, Reply, Row};

/// `ring context`
#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    command: Option<ContextCommand>,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    /// List the contexts of the configuration
    Configs(OutputArgs),
    /// Print the name of the context in use
    CurrentContext,
    /// Print the token in use
    UserToken,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
}

#[derive(Serialize)]
struct Entry {
    name: String,
    current: bool,
    host: String,
    scheme: String,
    port: u16,
    user: String,
}

impl Row for Entry {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Current", false), ("Name", false), ("Host", false), ("Scheme", false), ("Port", false), ("User", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            if self.current { "*" } else { "" }.into(),
            self.name.as_str().into(),
            self.host.as_str().into(),
            self.scheme.as_str().into(),
            self.port.to_string().into(),
            self.user.as_str().into(),
        ]
    }
}

pub(crate) fn run(context: &Context, args: ContextArgs) -> Result<Reply, CliError> {
    match args.command.unwrap_or(ContextCommand::Configs(OutputArgs::default())) {
        ContextCommand::Configs(output) => Ok(Reply::view(ListView(entries(context)?), output.format)),
        ContextCommand::CurrentContext => Ok(Reply::line(context.target()?.context)),
        ContextCommand::UserToken => {
            let target = context.target()?;
            context.token(&target)?.map(Reply::line).ok_or(CliError::NotLoggedIn(target.hosts))
        }
        ContextCommand::Use { name } => switch(context, &name),
    }
}

fn entries(context: &Context) -> Result<Vec<Entry>, CliError> {
    let kept = Credentials::load(&context.paths.credentials())?;
    let current = context.target().map(|target| target.context).unwrap_or_default();
    let entry = |(name, section): (&String, &crate::config::ContextSection)| Entry {
        name: name.clone(),
        current: *name == current,
        host: section.host.clone(),
        scheme: section.api.scheme.clone(),
        port: section.api.port,
        user: kept.get(name).map(|c| c.username.clone()).unwrap_or_default(),
    };
    Ok(context.file.contexts.iter().map(entry).collect())
}

/// Moves the mark in the file; everything else in it, comments too, stays as it is.
fn switch(context: &Context, name: &str) -> Result<Reply, CliError> {
    if !context.file.contexts.contains_key(name) {
        return Err(context.file.no_context(name));
    }
    edit::use_context(&context.paths.config_file, name)?;
    Ok(Reply::default().note(format!("context '{name}' is in use")))
}
