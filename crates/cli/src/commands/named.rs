//! Arguments of the commands about objects that have a name in a namespace.

use clap::Args;

use crate::format::OutputArgs;

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
    /// Its id, a unique prefix of it, or NAMESPACE/NAME
    pub(super) id: String,
    /// Even when a deployment refers to it
    #[arg(short, long)]
    pub(super) force: bool,
}
