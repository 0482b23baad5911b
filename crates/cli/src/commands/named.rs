//! What the commands about objects that have a name in a namespace have in common.

use clap::Args;
use ring_api::client::Client;
use serde::Serialize;

use crate::error::{CliError, meant};
use crate::format::OutputArgs;
use crate::output::{ListView, Reply, Row, data};
use crate::suggest::near;

/// `list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of this namespace only
    #[arg(short, long)]
    pub(super) namespace: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// `delete`
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, unique prefixes of ids, or NAMESPACE/NAME
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Even when a deployment refers to it
    #[arg(short, long)]
    pub(super) force: bool,
}

/// A sentence for each of these namespaces that does not exist. Nothing where the caller may not look.
pub(super) async fn unknown_namespaces<'a>(client: &Client, wanted: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let Ok(known) = client.namespaces().await else { return Vec::new() };
    let known: Vec<_> = known.iter().map(|namespace| namespace.name.as_str()).collect();
    let unknown = wanted.into_iter().filter(|wanted| !known.contains(wanted));
    unknown.map(|wanted| missing("namespace", wanted, known.iter().copied())).collect()
}

/// Shows what is in a namespace, or in all; warns of one that does not exist.
pub(super) async fn listed<T: Row + Serialize + 'static>(client: &Client, found: Vec<T>, args: List) -> Reply {
    let wanted = args.namespace.as_deref().filter(|_| found.is_empty());
    let warnings = unknown_namespaces(client, wanted).await;
    Reply::view(ListView(found), args.output.format).warn(warnings)
}

/// That an object does not exist, and which was probably meant.
pub(super) fn missing<'a>(kind: &str, wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    format!("{kind} '{wanted}' does not exist{}", meant(near(wanted, known).as_deref()))
}

/// Does the same to each and says so; one that fails does not keep the others.
pub(super) async fn each(ids: &[String], mut act: impl AsyncFnMut(&str) -> Result<String, CliError>) -> Result<Reply, CliError> {
    let mut failures = Vec::new();
    for id in ids {
        match act(id).await {
            Ok(done) => data(&done)?,
            Err(error) => failures.push(error),
        }
    }
    match failures.pop() {
        None => Ok(Reply::default()),
        Some(only) if ids.len() == 1 => Err(only),
        Some(last) => {
            failures.push(last);
            Err(CliError::Partly { total: ids.len(), failures })
        }
    }
}
