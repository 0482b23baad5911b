//! How lists and objects are shown.

use clap::{Args, ValueEnum};

/// The forms a list or an object can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// JSON: an array or an object
    Json,
    /// YAML
    Yaml,
    /// Columns for people, all of them
    Wide,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct OutputArgs {
    /// How to show it
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
}
