//! `ring cluster ca`

use clap::{Args, Subcommand};
use ring_api::client::Client;
use ring_api::model::{AuthorityPhase, AuthorityRotation, ClusterStatus};
use ring_types::Span;

use super::poll::poll;
use crate::error::CliError;
use crate::output::Reply;
use crate::time::{span, took};

/// `ring cluster ca`
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make a new authority, give every host a certificate of it, and drop the present one, while everything runs
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Go on without the hosts the rotation under way waits for: those have to join again
    #[arg(long)]
    force: bool,
    /// Do not wait until the present authority is dropped
    #[arg(short, long)]
    detach: bool,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<Span>,
}

pub(crate) async fn run(client: &Client, CaCommand::Rotate(args): CaCommand) -> Result<Reply, CliError> {
    client.rotate_authority(args.force).await?;
    if args.detach {
        let status = client.cluster().await?;
        let line = status.authority_rotation.as_ref().map_or_else(|| over(&status), told);
        return Ok(Reply::line(line).note("see how far it is: ring cluster status"));
    }
    let mut last = String::new();
    let done = poll(
        args.timeout,
        async || client.cluster().await,
        |status, board| {
            let Some(rotation) = &status.authority_rotation else { return Ok(Some(status)) };
            last = told(rotation);
            board.show("rotation", last.clone());
            Ok(None)
        },
    );
    if let Some(status) = done.await? {
        return Ok(Reply::line(over(&status)));
    }
    let after = args.timeout.map(took).unwrap_or_default();
    Err(CliError::TimedOut(format!("after {after} the rotation goes on: {last}")))
}

fn over(status: &ClusterStatus) -> String {
    format!("every host has a certificate of authority {}; the one before is dropped", status.authority)
}

/// Where a rotation is, in one line.
pub(super) fn told(rotation: &AuthorityRotation) -> String {
    let what = match rotation.phase {
        AuthorityPhase::Trust => "hosts learn the new authority",
        AuthorityPhase::Renew => "hosts get certificates of the new authority",
    };
    if rotation.missing.is_empty() {
        return what.to_owned();
    }
    let more = rotation.missing_count.saturating_sub(rotation.missing.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what}; it waits for {}{more}", rotation.missing.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_said() {
        let mut rotation = AuthorityRotation {
            phase: AuthorityPhase::Trust,
            next: String::new(),
            started_at: ring_types::Timestamp(0),
            missing: vec!["c2".into(), "a1".into()],
            missing_count: 5,
        };
        assert_eq!(told(&rotation), "hosts learn the new authority; it waits for c2, a1 and 3 more");
        (rotation.phase, rotation.missing, rotation.missing_count) = (AuthorityPhase::Renew, Vec::new(), 0);
        assert_eq!(told(&rotation), "hosts get certificates of the new authority");
    }
}
