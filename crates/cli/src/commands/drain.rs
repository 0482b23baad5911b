//! `ring node drain`

use std::time::Duration;

use clap::Args;
use ring_api::client::Client;
use ring_api::model::{DrainRequest, Node, NodePatch};
use ring_types::{NodeId, Span};
use tokio::time::{Instant, sleep, timeout};

use crate::error::CliError;
use crate::output::{Board, Reply, note};
use crate::time::took;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How long no control node may serve before waiting is given up.
const OUTAGE: Duration = Duration::from_mins(2);

/// `ring node drain`
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Its name, id, or a unique prefix of its id
    node: String,
    /// Jobs, and workers that nothing can take the place of, are told to end after so long
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    deadline: Span,
    /// Tell everything on it to end now
    #[arg(long, conflicts_with = "deadline")]
    now: bool,
    /// Do not wait until it is empty
    #[arg(long)]
    detach: bool,
    /// Wait no longer than this, such as 10m; the drain goes on (exit code 124)
    #[arg(long, value_name = "DURATION", conflicts_with = "detach")]
    timeout: Option<Span>,
}

/// Has a node emptied, and waits until it is.
pub(crate) async fn run(client: &Client, args: Drain) -> Result<Reply, CliError> {
    let node = super::node::find(client, &args.node).await?;
    let deadline = if args.now { Span::ZERO } else { args.deadline };
    let patch = NodePatch { drain: Some(DrainRequest { deadline: Some(deadline) }), ..NodePatch::default() };
    let node = client.patch_node(node.id, &patch).await?.object;
    if args.detach {
        return Ok(Reply::line(format!("node {} is being drained: {}", node.name, left(&node))));
    }
    let mut board = Board::start();
    let limit = args.timeout.map_or(Duration::MAX, Span::duration);
    let waiting = emptied(client, node.id, &mut board);
    let result = tokio::select! {
        result = timeout(limit, waiting) => result,
        _ = tokio::signal::ctrl_c() => {
            drop(board);
            note(&format!("node {} is being drained further; `ring node uncordon {}` ends that", node.name, node.name));
            return Err(CliError::Interrupted);
        }
    };
    match result {
        Ok(Ok(())) => {
            board.end(&node.name, &format!("{}  empty", node.name), true);
            drop(board);
            Ok(Reply::line(format!("node {} drained", node.name)))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let now = client.node(node.id).await.map(|node| left(&node)).unwrap_or_default();
            Err(CliError::TimedOut(format!("after {} node {} is not empty: {now}", took(Span::from(limit)), node.name)))
        }
    }
}

/// Waits until nothing is left; or says that the drain was ended by somebody else.
async fn emptied(client: &Client, id: NodeId, board: &mut Board) -> Result<(), CliError> {
    let mut last_answer = Instant::now();
    loop {
        match client.node(id).await {
            Ok(node) if node.drain.is_none() => {
                let message = format!("the drain of node '{}' was ended before it was empty", node.name);
                return Err(CliError::Failed { message, details: Vec::new(), hint: None });
            }
            Ok(node) if node.drain.is_some_and(|drain| drain.is_over()) => return Ok(()),
            Ok(node) => {
                last_answer = Instant::now();
                board.show(&node.name, format!("{}  {}", node.name, left(&node)));
                board.shown();
            }
            Err(error) if error.retryable() && last_answer.elapsed() < OUTAGE => board.say(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        sleep(PAUSE).await;
    }
}

/// What is left on it.
fn left(node: &Node) -> String {
    let Some(drain) = node.drain else { return "it takes new work again".to_owned() };
    let counted = |number: u32, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!("{} and {} left", counted(drain.workers, "instance"), counted(drain.jobs, "job"))
}
