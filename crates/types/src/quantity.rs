//! Amounts of processor time and memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Thousandths of one processor. Written `500m`, `1`, `0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(pub u64);

/// Bytes. Written as a number, or with `Ki Mi Gi Ti` (powers of 1024) or `K M G T` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(pub u64);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not an amount of processor time.
    #[error("'{0}' is not an amount of cpu: write \"500m\", \"1\" or \"0.5\"")]
    Cpu(String),
    /// Not an amount of memory.
    #[error("'{0}' is not an amount of memory: write bytes or a number with Ki, Mi, Gi, K, M or G, such as \"512Mi\"")]
    Memory(String),
}

impl FromStr for Cpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = || QuantityError::Cpu(text.to_owned());
        let text_trimmed = text.trim();
        if let Some(millis) = text_trimmed.strip_suffix('m') {
            return millis.parse().map(Self).map_err(|_| fail());
        }
        let (whole, fraction) = text_trimmed.split_once('.').unwrap_or((text_trimmed, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
            return Err(fail());
        }
        let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| fail())?;
        let whole: u64 = whole.parse().map_err(|_| fail())?;
        whole.checked_mul(1000).and_then(|w| w.checked_add(thousandths)).map(Self).ok_or_else(fail)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

const SUFFIXES: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("K", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

impl FromStr for Memory {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let fail = || QuantityError::Memory(text.to_owned());
        let trimmed = text.trim();
        let (number, scale) = SUFFIXES
            .iter()
            .find_map(|(suffix, scale)| trimmed.strip_suffix(suffix).map(|number| (number, *scale)))
            .unwrap_or((trimmed, 1));
        let number: u64 = number.trim().parse().map_err(|_| fail())?;
        number.checked_mul(scale).map(Self).ok_or_else(fail)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = SUFFIXES[..4].iter().rev().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        match found {
            Some((suffix, scale)) => write!(f, "{}{suffix}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

macro_rules! text_serde {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_serde!(Cpu, Memory);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_reads_every_form() {
        for (text, millis) in [("500m", 500), ("1", 1000), ("0.5", 500), ("2", 2000), ("0.125", 125)] {
            assert_eq!(text.parse::<Cpu>().unwrap(), Cpu(millis), "{text}");
        }
        for bad in ["", "m", "1.", ".5", "-1", "1e3", "0.1234", "1 core"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_reads_every_form() {
        for (text, bytes) in [("4Gi", 4 << 30), ("512Mi", 512 << 20), ("1024", 1024), ("1K", 1000), ("2G", 2_000_000_000)] {
            assert_eq!(text.parse::<Memory>().unwrap(), Memory(bytes), "{text}");
        }
        for bad in ["", "Gi", "1.5Gi", "-1", "4GB", "99999999999Ti"] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
        assert_eq!(Memory(4 << 30).to_string(), "4Gi");
    }
}
