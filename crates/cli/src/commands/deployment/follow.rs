//! What restart and rollback have in common: a deployment is followed by another of its name, and that is waited for.

use clap::Args;
use ring_api::client::Client;
use ring_api::model::ApplyReply;
use ring_types::Span;

use crate::commands::wait::{Until, Wait, summary};
use crate::error::CliError;
use crate::output::{Reply, data};
use crate::time::span;

#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    pub(crate) id: String,
    /// Wait until every instance runs and is ready; fail when it does not get there
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = span, requires = "wait")]
    timeout: Option<Span>,
}

/// Says what became of it, and waits for it.
pub(crate) async fn followed(client: &Client, args: &Follow, reply: ApplyReply) -> Result<Reply, CliError> {
    let mut watched = Vec::new();
    for applied in &reply.deployments {
        let name = format!("{}/{}", applied.namespace, applied.name);
        data(&format!("deployment {name} {} (id {})", applied.outcome, applied.id))?;
        watched.push((applied.id, name));
    }
    if !args.wait {
        return Ok(Reply::default());
    }
    let wait = Wait { client, until: Until::Done, timeout: args.timeout.map(Span::duration) };
    let done = wait.run(watched).await?;
    let mut reply = Reply::default();
    for deployment in &done {
        reply = reply.note(format!("deployment {}/{} {}", deployment.namespace, deployment.name, summary(deployment)));
    }
    Ok(reply)
}
