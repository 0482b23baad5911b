//! `ring node rebalance`

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use clap::Args;
use ring_api::client::{Client, ClientError};
use ring_api::model::{Move, MoveState, RebalanceRequest};
use ring_types::{DeploymentId, Span};

use super::poll::poll;
use crate::error::CliError;
use crate::format::{Format, OutputArgs};
use crate::output::{Board, ListView, Reply, note};
use crate::time::took;

/// `ring node rebalance`
#[derive(Debug, Args)]
pub(crate) struct Rebalance {
    /// Show what would move, and move nothing
    #[arg(long)]
    dry_run: bool,
    /// What has not moved after so long stays where it is
    #[arg(long, value_name = "DURATION", default_value = "1h", conflicts_with = "dry_run")]
    deadline: Span,
    /// Do not wait until all is done
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
    /// Wait no longer than this, such as 10m; the moves go on (exit code 124)
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["dry_run", "detach"])]
    timeout: Option<Span>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Has instances moved until the spread is even, and waits until they are.
pub(crate) async fn run(client: &Client, args: Rebalance) -> Result<Reply, CliError> {
    let format = args.output.format;
    if args.dry_run {
        let found = client.planned_rebalance().await?;
        let busy = found.under_way.len();
        let reply = list(found.moves, format, "the spread is even: nothing would move");
        return Ok(if busy > 0 { reply.note(format!("{} of an earlier rebalance under way", counted(busy))) } else { reply });
    }
    let begun = client.rebalance(&RebalanceRequest { deadline: Some(args.deadline) }).await?;
    if args.detach {
        return Ok(list(begun.under_way, format, "the spread is even: nothing moves"));
    }
    // Those of an earlier one that are still under way are waited for too.
    let why: BTreeMap<_, _> = begun.moves.iter().map(|one| (one.instance, one.why.clone())).collect();
    let mut moves = begun.under_way;
    for one in &mut moves {
        one.why = why.get(&one.instance).cloned().flatten();
    }
    match wait(client, args.timeout, moves.len()).await {
        Ok(Some(())) => Ok(outcome(settle(client, moves).await?, format)),
        Ok(None) => {
            let after = args.timeout.map(took).unwrap_or_default();
            let left = client.moves_under_way().await?.len();
            Err(CliError::TimedOut(format!("after {after} {} not done", counted(left))))
        }
        Err(CliError::Interrupted) => {
            note("the moves go on; `ring node rebalance --dry-run` says how many are left");
            Err(CliError::Interrupted)
        }
        Err(error) => Err(error),
    }
}

async fn wait(client: &Client, limit: Option<Span>, all: usize) -> Result<Option<()>, CliError> {
    poll(
        limit,
        async || client.moves_under_way().await,
        |moves, board: &mut Board| {
            let left = moves.len();
            if left == 0 {
                return Ok(Some(()));
            }
            for one in moves.iter().filter(|one| one.state != MoveState::Waiting) {
                let line = format!("{}/{}  from {} to {}  {}", one.namespace, one.name, one.from, one.to, one.state);
                board.show(&one.instance.to_string(), line);
            }
            board.say(format!("{left} of {} left", all.max(left)));
            Ok(None)
        },
    )
    .await
}

/// What became of each: an instance that is still where it was stayed there.
async fn settle(client: &Client, mut moves: Vec<Move>) -> Result<Vec<Move>, CliError> {
    let mut known: BTreeMap<DeploymentId, Vec<_>> = BTreeMap::new();
    for one in &mut moves {
        let instances = match known.entry(one.deployment) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(match client.deployment(one.deployment).await {
                Ok(deployment) => deployment.instances,
                Err(ClientError::Problem(problem)) if problem.status == 404 => Vec::new(),
                Err(error) => return Err(error.into()),
            }),
        };
        let there = instances.iter().any(|i| i.id == one.instance && i.status.is_live());
        one.state = if there { MoveState::Stayed } else { MoveState::Moved };
    }
    Ok(moves)
}

fn outcome(moves: Vec<Move>, format: Format) -> Reply {
    let stayed = moves.iter().filter(|one| one.state == MoveState::Stayed).count();
    let said = format!("{} moved", instances(moves.len() - stayed));
    let any = !moves.is_empty();
    let reply = list(moves, format, "the spread is even: nothing moved");
    let reply = if any { reply.note(said) } else { reply };
    if stayed == 0 {
        return reply;
    }
    reply.warn([format!(
        "{} stayed where they were: look at the events of their deployments, and rebalance again",
        instances(stayed)
    )])
}

/// An empty table says nothing; for programs it is an empty list.
fn list(moves: Vec<Move>, format: Format, nothing: &str) -> Reply {
    if moves.is_empty() && matches!(format, Format::Table | Format::Wide) {
        return Reply::line(nothing);
    }
    Reply::view(ListView(moves), format)
}

fn counted(moves: usize) -> String {
    if moves == 1 { "1 move is".to_owned() } else { format!("{moves} moves are") }
}

fn instances(count: usize) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}
