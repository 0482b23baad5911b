//! Which life of a cluster it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The generation of a cluster: how often it was begun anew from a snapshot or from one survivor, and a tag that sets two such
/// beginnings apart that know nothing of each other. Control nodes of different generations do not talk to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ClusterGeneration(pub u64);

impl ClusterGeneration {
    /// That of a cluster that was never begun anew.
    pub const FIRST: Self = Self(0);

    /// Its number: 1 for a cluster that was never begun anew.
    pub const fn number(self) -> u64 {
        (self.0 >> 32) + 1
    }

    /// The one after this, with a tag that nobody else has.
    #[must_use]
    pub const fn after(self, tag: u32) -> Self {
        Self((self.number() << 32) | tag as u64)
    }

    const fn tag(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}

impl fmt::Display for ClusterGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::FIRST { f.write_str("1") } else { write!(f, "{}-{:08x}", self.number(), self.tag()) }
    }
}

/// The text names no generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the generation of a cluster, which looks like 1 or 2-0a1b2c3d")]
pub struct ClusterGenerationError;

impl FromStr for ClusterGeneration {
    type Err = ClusterGenerationError;

    fn from_str(text: &str) -> Result<Self, ClusterGenerationError> {
        if text == "1" {
            return Ok(Self::FIRST);
        }
        let (number, tag) = text.split_once('-').ok_or(ClusterGenerationError)?;
        let (number, tag) = (number.parse::<u32>().ok(), u32::from_str_radix(tag, 16).ok());
        let (Some(number @ 2..), Some(tag)) = (number, tag) else { return Err(ClusterGenerationError) };
        Ok(Self((u64::from(number - 1) << 32) | u64::from(tag)))
    }
}

impl From<ClusterGeneration> for String {
    fn from(generation: ClusterGeneration) -> Self {
        generation.to_string()
    }
}

impl TryFrom<String> for ClusterGeneration {
    type Error = ClusterGenerationError;

    fn try_from(text: String) -> Result<Self, ClusterGenerationError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_numbered_and_read_back() {
        let second = ClusterGeneration::FIRST.after(0xa1b);
        assert_eq!((ClusterGeneration::FIRST.number(), second.number(), second.after(7).number()), (1, 2, 3));
        assert!(ClusterGeneration::FIRST < second && second < second.after(0));
        assert_eq!(second.to_string(), "2-00000a1b");
        for one in [ClusterGeneration::FIRST, second, second.after(u32::MAX)] {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        for wrong in ["", "2", "1-00000000", "0-1", "2-xyz", "-1"] {
            assert!(wrong.parse::<ClusterGeneration>().is_err(), "{wrong}");
        }
    }
}
