//! `ring node drain`

use clap::Args;
use ring_api::client::Client;
use ring_api::model::{DrainRequest, Node, NodePatch};
use ring_types::Span;

use super::poll::poll;
use crate::error::CliError;
use crate::output::{Reply, note};
use crate::time::took;

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
    let (id, name) = (node.id, node.name);
    let mut last = String::new();
    let done = poll(
        args.timeout,
        async || client.node(id).await,
        |node, board| {
            let Some(drain) = node.drain else {
                let message = format!("the drain of node '{name}' was ended before it was empty");
                return Err(CliError::Failed { message, details: Vec::new(), hint: None });
            };
            if drain.is_over() {
                board.end(&name, &format!("{name}  empty"), true);
                return Ok(Some(()));
            }
            last = left(&node);
            board.show(&name, format!("{name}  {last}"));
            Ok(None)
        },
    );
    match done.await {
        Ok(Some(())) => Ok(Reply::line(format!("node {name} drained"))),
        Ok(None) => {
            let after = args.timeout.map(took).unwrap_or_default();
            Err(CliError::TimedOut(format!("after {after} node {name} is not empty: {last}")))
        }
        Err(CliError::Interrupted) => {
            note(&format!("node {name} is being drained further; `ring node uncordon {name}` ends that"));
            Err(CliError::Interrupted)
        }
        Err(error) => Err(error),
    }
}

/// What is left on it.
fn left(node: &Node) -> String {
    let Some(drain) = node.drain else { return "it takes new work again".to_owned() };
    let counted = |number: u32, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!("{} and {} left", counted(drain.workers, "instance"), counted(drain.jobs, "job"))
}
