//! `ring namespace`

use clap::{Args, Subcommand};
use ring_api::client::{Client, ClientError};

use super::audit::AuditArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::format::OutputArgs;
use crate::output::{ListView, Reply};
use crate::suggest::near;

/// `ring namespace`
#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    /// Make a namespace
    Create(Name),
    /// List namespaces
    List(OutputArgs),
    /// Delete an empty namespace
    Delete(Name),
    /// Delete the deployments of a namespace that are over: every status but pending, creating and running
    Prune(Prune),
    /// Show who did what in a namespace: changes, refusals, and who read logs or ran commands
    Audit(Audit),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Its name
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// The namespace
    namespace: String,
    #[command(flatten)]
    which: AuditArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The namespace
    namespace: String,
    /// Every deployment, live ones too
    #[arg(short, long)]
    all: bool,
}

pub(crate) async fn run(context: &Context, command: NamespaceCommand) -> Result<Reply, CliError> {
    let client = context.client()?;
    match command {
        NamespaceCommand::Create(args) => {
            let made = client.create_namespace(&args.name).await?.object;
            Ok(Reply::line(format!("namespace {} created", made.name)))
        }
        NamespaceCommand::List(output) => Ok(Reply::view(ListView(client.namespaces().await?), output.format)),
        NamespaceCommand::Delete(args) => {
            let deleted = client.delete_namespace(&args.name).await;
            known(&client, &args.name, deleted).await?;
            Ok(Reply::line(format!("namespace {} deleted", args.name)))
        }
        NamespaceCommand::Audit(Audit { namespace, which }) => {
            let lines = client.namespace_audit(&namespace, &which.query()).await;
            let lines = known(&client, &namespace, lines).await?;
            Ok(Reply::view(ListView(lines), which.output.format))
        }
        NamespaceCommand::Prune(args) => {
            let pruned = client.prune(&args.namespace, args.all).await;
            let pruned = known(&client, &args.namespace, pruned).await?;
            let lines: Vec<_> = pruned.deleted.iter().map(|id| format!("deployment {id} deleted")).collect();
            let count = lines.len();
            let plural = if count == 1 { "" } else { "s" };
            Ok(Reply::lines(lines).note(format!("{count} deployment{plural} pruned from {}", args.namespace)))
        }
    }
}

/// When there is no such namespace: which was probably meant, of those the caller may see.
async fn known<T>(client: &Client, wanted: &str, done: Result<T, ClientError>) -> Result<T, CliError> {
    match done {
        Err(error) if error.status() == Some(404) => {
            let names = client.namespaces().await.unwrap_or_default().into_iter().map(|namespace| namespace.name);
            Err(CliError::NotFound { kind: "namespace", wanted: wanted.to_owned(), near: near(wanted, names) })
        }
        other => Ok(other?),
    }
}
