//! `ring namespace audit` and `ring cluster audit`: who did what.

use clap::Args;
use ring_api::model::AuditOutcome;
use ring_api::query::AuditQuery;
use ring_types::Timestamp;

use crate::format::OutputArgs;
use crate::time::since;

/// Which lines of the record.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only so many of the last lines, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only lines from then on: that long ago (10m), or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only what this user did
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Only this action (secret.delete), or all with one kind of object (secret)
    #[arg(short, long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl AuditArgs {
    pub(crate) fn query(&self) -> AuditQuery {
        AuditQuery {
            limit: Some(self.limit),
            since: self.since,
            user: self.user.clone(),
            action: self.action.clone(),
            outcome: self.refused.then_some(AuditOutcome::Refused),
        }
    }
}
