//! Places for connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::DoorLimits;
use crate::origin::Origin;

/// The places there are.
pub(super) struct Slots {
    limits: DoorLimits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<Origin, usize>,
}

/// There is none left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// For that origin.
    Origin,
    /// For anybody.
    All,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    origin: Origin,
    taken: Arc<Mutex<Taken>>,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Full {
    /// In words.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Origin => "its address has as many connections as one may have",
            Self::All => "there are as many connections as there may be",
        }
    }
}

impl Slots {
    pub(super) fn new(limits: DoorLimits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// A place for a connection from there.
    pub(super) fn take(&self, origin: Origin) -> Result<Slot, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.limits.connections {
            return Err(Full::All);
        }
        let of = taken.of.entry(origin).or_default();
        if *of >= self.limits.connections_per_address {
            return Err(Full::Origin);
        }
        *of += 1;
        taken.all += 1;
        Ok(Slot { origin, taken: self.taken.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of) = taken.of.get_mut(&self.origin) {
            *of -= 1;
            if *of == 0 {
                taken.of.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn places_are_bounded_in_all_and_of_one_address_and_come_back() {
        let slots = Slots::new(DoorLimits { connections: 3, connections_per_address: 2, ..DoorLimits::default() });
        let (a, b) = (origin("10.0.0.1"), origin("10.0.0.2"));
        let first = slots.take(a).unwrap();
        let second = slots.take(a).unwrap();
        assert_eq!(slots.take(a).unwrap_err(), Full::Origin);
        let third = slots.take(b).unwrap();
        assert_eq!(slots.take(b).unwrap_err(), Full::All);
        drop(first);
        let again = slots.take(b).unwrap();
        assert_eq!(slots.take(a).unwrap_err(), Full::All);
        drop((again, second, third));
        assert!(slots.taken.lock().unwrap().of.is_empty(), "nothing is remembered of who is gone");
    }
}
