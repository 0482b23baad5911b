//! `ring token`

use std::io::{self, BufRead, IsTerminal};

use clap::{Args, Subcommand};
use ring_api::model::{CreateToken, Token};
use ring_types::Span;

use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ListView, ObjectView, Reply, note};
use crate::resolve::pick;
use crate::time::span;

/// `ring token`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make an API token; it is printed once, alone on standard output
    Create(Create),
    /// List API tokens, without their secrets
    List(OutputArgs),
    /// Show an API token, without its secret
    Inspect(Inspect),
    /// Give an API token another secret, printed once, alone on standard output; the one before stops at once
    Rotate(Rotate),
    /// Take an API token away
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// What it may do: deployments:write, secrets:read, admin and so on
    #[arg(short, long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Where; everywhere when left out
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// How long it is good, such as 30d; for ever when left out
    #[arg(short, long, value_name = "DURATION", value_parser = span)]
    expires: Option<Span>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Its id, a unique prefix of it, or its name
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Its id, a unique prefix of it, or its name
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Its id, a unique prefix of it, or its name
    id: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(context: &Context, command: TokenCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        TokenCommand::Create(args) => {
            let token =
                CreateToken { name: args.name, scopes: args.scopes, namespaces: args.namespaces, expires_in: args.expires };
            let made = client.create_token(&token).await?.object;
            Ok(secret(made, "created"))
        }
        TokenCommand::List(output) => Ok(Reply::view(ListView(client.tokens().await?), output.format)),
        TokenCommand::Inspect(args) => {
            let tokens = client.tokens().await?;
            let token = client.token(pick(&tokens, &args.id)?.id).await?;
            Ok(Reply::view(ObjectView(token), args.output.format))
        }
        TokenCommand::Rotate(args) => {
            let tokens = client.tokens().await?;
            let rotated = client.rotate_token(pick(&tokens, &args.id)?.id).await?.object;
            Ok(secret(rotated, "rotated"))
        }
        TokenCommand::Revoke(args) => {
            let tokens = client.tokens().await?;
            let token = pick(&tokens, &args.id)?;
            if !args.yes && !confirmed(&format!("revoke token '{}'?", token.name))? {
                return Ok(Reply::default().note("nothing was revoked"));
            }
            client.revoke_token(token.id).await?;
            Ok(Reply::line(format!("token {} revoked", token.name)))
        }
    }
}

/// The clear token alone on standard output, and what to know of it.
fn secret(token: Token, done: &str) -> Reply {
    let until = token.expires_at.map(|time| format!(", good until {}", crate::time::shown(time))).unwrap_or_default();
    let told = format!("token '{}' {done} (id {}{until}); it is not shown again", token.name, token.id);
    Reply::line(token.token.unwrap_or_default()).note(told)
}

/// Asks on a terminal; where nobody can be asked, the answer has to be on the command line.
pub(super) fn confirmed(question: &str) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("{question} say so with --yes")));
    }
    note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| CliError::Input("the terminal", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
