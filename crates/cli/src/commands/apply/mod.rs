//! `ring apply`

pub(crate) mod load;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ring_api::client::Client;
use ring_api::manifest::Manifest;
use ring_api::model::{Applied, ApplyReply};
use ring_types::Span;

use super::plan::{PlanView, counts, warnings};
use super::wait::{Until, Wait, explain, is_well, summary};
use crate::context::Context;
use crate::error::CliError;
use crate::format::Format;
use crate::output::{Reply, data, note, warning};
use crate::resolve::Named;
use crate::time::span;

/// `ring apply`
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The manifest, YAML or JSON; '-' reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Values of variables; those of the environment win
    #[arg(short, long, value_name = "ENVFILE")]
    env_file: Option<PathBuf>,
    /// Change nothing and show what would change, and where new instances would be placed
    #[arg(short, long)]
    dry_run: bool,
    /// With --dry-run: check the manifest alone and ask no server
    #[arg(long, requires = "dry_run")]
    offline: bool,
    /// With --dry-run: how to show it
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT", requires = "dry_run", conflicts_with = "offline")]
    output: Option<Format>,
    /// Show the manifest as it is sent, with variables replaced
    #[arg(long)]
    verbose: bool,
    /// Replace at once where a rolling update would begin
    #[arg(long)]
    force: bool,
    /// Wait until jobs completed and workers run with every replica; fail when one does not get there
    #[arg(long, conflicts_with = "detach")]
    wait: bool,
    /// Do not wait at all
    #[arg(long)]
    detach: bool,
    /// Give up waiting after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Span>,
    /// Fail on any variable without a value
    #[arg(long)]
    strict_env: bool,
}

/// How long a start is waited for when nothing else is said.
const START_PATIENCE: Duration = Duration::from_mins(5);

pub(crate) async fn run(context: &Context, args: ApplyArgs) -> Result<Reply, CliError> {
    let loaded = load::load(&args.file, args.env_file.as_deref(), args.strict_env)?;
    for line in &loaded.warnings {
        warning(line);
    }
    if args.verbose {
        note(&load::shown(&loaded.json)?);
    }
    if args.offline {
        return Ok(checked(&loaded.manifest));
    }
    let client = context.client()?;
    if args.dry_run {
        return dry_run(&client, &loaded.json, &args).await;
    }
    let reply = client.apply(&loaded.json, args.force).await?;
    say(&loaded.manifest, &reply)?;
    let watched = reply.deployments.iter().map(|applied| (applied.id, full_name(applied))).collect();
    match (args.wait, args.detach) {
        (true, _) => wait_done(&client, watched, args.timeout).await,
        (_, true) => Ok(Reply::default()),
        _ => wait_started(&client, watched, args.timeout).await,
    }
}

fn full_name(applied: &Applied) -> String {
    format!("{}/{}", applied.namespace, applied.name)
}

/// What would be done, as the server works it out.
async fn dry_run(client: &Client, json: &serde_json::Value, args: &ApplyArgs) -> Result<Reply, CliError> {
    let plan = client.plan(json, args.force).await?;
    let (told, counts) = (warnings(&plan), counts(&plan));
    let reply = Reply::view(PlanView(plan), args.output.unwrap_or_default()).warn(told);
    Ok(reply.note(format!("{counts} (dry run: nothing was changed)")))
}

fn checked(manifest: &Manifest) -> Reply {
    let line = |entry: &ring_api::manifest::DeploymentEntry| {
        format!("deployment {}/{} valid (not sent)", entry.spec.namespace, entry.spec.name)
    };
    let warnings = manifest.deployments.iter().flat_map(|entry| local_warnings(&entry.label, &entry.warnings));
    Reply::lines(manifest.deployments.iter().map(line).collect()).warn(warnings.collect::<Vec<_>>())
}

fn local_warnings<'a>(label: &'a str, warnings: &'a [String]) -> impl Iterator<Item = String> + 'a {
    warnings.iter().map(move |warning| format!("{label}: {warning}"))
}

/// One line a deployment, before any waiting; warnings of both ends, each once.
fn say(manifest: &Manifest, reply: &ApplyReply) -> Result<(), CliError> {
    let local = manifest.deployments.iter().flat_map(|entry| local_warnings(&entry.label, &entry.warnings));
    let remote = reply.deployments.iter().flat_map(|applied| local_warnings(&applied.label, &applied.warnings));
    for line in local.chain(remote).collect::<BTreeSet<_>>() {
        warning(&line);
    }
    for applied in &reply.deployments {
        data(&format!("deployment {} {} (id {})", full_name(applied), applied.outcome, applied.id))?;
    }
    Ok(())
}

type Watched = Vec<(ring_types::DeploymentId, String)>;

/// Until each left `pending` and `creating`. What is not well by then is said, but is no failure: it was applied.
async fn wait_started(client: &Client, watched: Watched, limit: Option<Span>) -> Result<Reply, CliError> {
    let patience = limit.map_or(START_PATIENCE, Span::duration);
    let wait = Wait { client, until: Until::Started, timeout: Some(patience) };
    let started = match wait.run(watched).await {
        Ok(started) => started,
        Err(CliError::TimedOut(message)) if limit.is_none() => {
            return Ok(Reply::default().warn([format!("{message}; it goes on, see: ring deployment list")]));
        }
        Err(error) => return Err(error),
    };
    let mut told = Vec::new();
    for deployment in started.iter().filter(|deployment| !is_well(deployment.status)) {
        told.push(explain(client, deployment).await.warning());
    }
    Ok(Reply::default().warn(told))
}

async fn wait_done(client: &Client, watched: Watched, limit: Option<Span>) -> Result<Reply, CliError> {
    let wait = Wait { client, until: Until::Done, timeout: limit.map(Span::duration) };
    let done = wait.run(watched).await?;
    let mut reply = Reply::default();
    for deployment in &done {
        reply = reply.note(format!("deployment {} {}", deployment.full_name(), summary(deployment)));
    }
    Ok(reply)
}
