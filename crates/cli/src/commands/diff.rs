//! `ring diff`

use std::path::PathBuf;

use clap::Args;

use super::apply::load;
use super::plan::{PlanView, warnings};
use crate::context::Context;
use crate::error::CliError;
use crate::format::{Format, OutputArgs};
use crate::output::{Reply, warning};

/// `ring diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The manifest, YAML or JSON; '-' reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Values of variables; those of the environment win
    #[arg(short, long, value_name = "ENVFILE")]
    env_file: Option<PathBuf>,
    /// As if applied with --force
    #[arg(long)]
    force: bool,
    /// Fail on any variable without a value
    #[arg(long)]
    strict_env: bool,
    /// Exit with 1 when applying it would change something, with 0 when it would not
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(context: &Context, args: DiffArgs) -> Result<Reply, CliError> {
    let loaded = load::load(&args.file, args.env_file.as_deref(), args.strict_env)?;
    for line in &loaded.warnings {
        warning(line);
    }
    let mut plan = context.client()?.plan(&loaded.json, args.force).await?;
    let (changes, told) = (plan.changes_anything(), warnings(&plan));
    let for_people = matches!(args.output.format, Format::Table | Format::Wide);
    if for_people {
        plan.drop_unchanged();
    }
    let reply = Reply::view(PlanView(plan), args.output.format).warn(told).exit(u8::from(args.exit_code && changes));
    Ok(if for_people && !changes { reply.note("nothing would change") } else { reply })
}
