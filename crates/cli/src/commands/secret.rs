//! `ring secret`

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ring_api::model::CreateSecret;

use super::named::{Delete, List, each, listed};
use super::rotate::{self, RotateKey};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Reply;
use crate::resolve::pick;

/// `ring secret`
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a secret, or give one a new value
    Create(Create),
    /// List secrets; never their values
    List(List),
    /// Delete a secret
    Delete(Delete),
    /// Make a new data key and seal every secret and registry password with it, while everything runs
    RotateKey(RotateKey),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// Its namespace
    #[arg(short, long)]
    namespace: String,
    /// Its value; standard input when neither this nor --value-file is given
    #[arg(short, long, conflicts_with = "value_file", allow_hyphen_values = true)]
    value: Option<String>,
    /// A file with its value, taken as it is; '-' is standard input
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, command: SecretCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        SecretCommand::RotateKey(args) => rotate::run(context, args).await,
        SecretCommand::Create(args) => {
            let value = match (args.value, &args.value_file) {
                (Some(value), _) => value,
                (None, Some(path)) if path.as_os_str() != "-" => read_file(path)?,
                (None, _) => read_stdin()?,
            };
            let secret = CreateSecret { namespace: args.namespace, name: args.name, value };
            let made = client.create_secret(&secret).await?.object;
            let done = if made.created_at == made.updated_at { "created" } else { "changed" };
            Ok(Reply::line(format!("secret {}/{} {done} (id {})", made.namespace, made.name, made.id)))
        }
        SecretCommand::List(args) => {
            let secrets = client.secrets(args.namespace.as_deref()).await?;
            Ok(listed(&client, secrets, args).await)
        }
        SecretCommand::Delete(args) => {
            let secrets = client.secrets(None).await?;
            each(&args.ids, async |id| {
                let secret = pick(&secrets, id)?;
                client.delete_secret(secret.id, args.force).await?;
                Ok(format!("secret {}/{} deleted", secret.namespace, secret.name))
            })
            .await
        }
    }
}

pub(super) fn read_file(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// One line end at the end is not part of the value: that is how `echo` and here-documents write.
pub(super) fn read_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::Input("standard input", error))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
