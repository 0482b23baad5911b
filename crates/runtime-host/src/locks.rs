//! Locks, one for each instance.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring_types::InstanceId;

/// Held by whoever prepares, starts or removes an instance.
#[derive(Default)]
pub struct Locks(Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// The lock of an instance.
    pub fn of(&self, instance: InstanceId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds need not be kept.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(instance).or_default())
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_one_lock_as_long_as_somebody_has_it() {
        let of = |text: &str| text.parse::<InstanceId>().unwrap();
        let (one, other) = (of("00000000-0000-0000-0000-000000000001"), of("00000000-0000-0000-0000-000000000002"));
        let locks = Locks::default();
        let first = locks.of(one);
        let held = first.try_lock().unwrap();
        assert!(locks.of(one).try_lock().is_err());
        assert!(locks.of(other).try_lock().is_ok());
        drop(held);
        drop(first);
        assert!(locks.of(one).try_lock().is_ok());
        assert_eq!(locks.0.lock().unwrap().len(), 1, "what nobody has is forgotten");
    }
}
