//! What the releases in a cluster understand of each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a control node has to understand to belong to a cluster: which log entries and which rows. A release speaks every level up to
/// its own. A cluster is at the level all its control nodes speak; it never goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u32);

impl Level {
    /// That of the releases before there were levels.
    pub const FIRST: Self = Self(1);

    /// The level of a number that was sent or stored; 0, which nobody wrote, is the first.
    pub const fn of(number: u32) -> Self {
        if number == 0 { Self::FIRST } else { Self(number) }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
