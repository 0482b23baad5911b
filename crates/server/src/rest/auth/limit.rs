//! Login attempts: so many failures of an account, and from an address, then one every few seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that are allowed at once.
const BURST: u32 = 10;
/// Time in which one failure is forgiven.
const REFILL: Duration = Duration::from_secs(6);
/// Accounts and addresses remembered; when there are more, those with the fewest failures go first.
const REMEMBERED: usize = 10_000;

/// Counts failed logins in this process.
#[derive(Default)]
pub(in crate::rest) struct LoginLimit {
    buckets: Mutex<HashMap<Key, Bucket>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    Address(IpAddr),
}

/// When the bucket would be empty again; each failure moves that further away.
#[derive(Clone, Copy)]
struct Bucket {
    empty_at: Instant,
}

impl LoginLimit {
    /// Takes one attempt; or says how many seconds to wait.
    pub(in crate::rest) fn attempt(&self, account: &str, address: IpAddr) -> Result<(), u64> {
        self.attempt_at(account, address, Instant::now())
    }

    fn attempt_at(&self, account: &str, address: IpAddr, now: Instant) -> Result<(), u64> {
        let keys = keys(account, address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = REFILL * BURST;
        let wait = keys.iter().filter_map(|key| {
            let level = buckets.get(key)?.empty_at.saturating_duration_since(now) + REFILL;
            level.checked_sub(full).filter(|over| !over.is_zero())
        });
        if let Some(wait) = wait.max() {
            return Err(wait.as_secs().max(1));
        }
        if buckets.len() + keys.len() > REMEMBERED {
            make_room(&mut buckets, now);
        }
        for key in keys {
            let bucket = buckets.entry(key).or_insert(Bucket { empty_at: now });
            bucket.empty_at = bucket.empty_at.max(now) + REFILL;
        }
        Ok(())
    }

    /// The attempt succeeded: it does not count.
    pub(in crate::rest) fn succeeded(&self, account: &str, address: IpAddr) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(account, address) {
            if let Some(bucket) = buckets.get_mut(&key) {
                bucket.empty_at = bucket.empty_at.checked_sub(REFILL).unwrap_or(bucket.empty_at);
            }
        }
    }
}

fn keys(account: &str, address: IpAddr) -> [Key; 2] {
    let end = account.char_indices().nth(100).map_or(account.len(), |(i, _)| i);
    [Key::Account(account[..end].to_owned()), Key::Address(address)]
}

fn make_room(buckets: &mut HashMap<Key, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.empty_at > now);
    if buckets.len() < REMEMBERED {
        return;
    }
    let mut levels: Vec<_> = buckets.values().map(|bucket| bucket.empty_at).collect();
    levels.sort_unstable();
    let middle = levels[levels.len() / 2];
    buckets.retain(|_, bucket| bucket.empty_at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn failures_are_limited_and_forgiven_with_time() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(limit.attempt_at("admin", HERE, now), Ok(()));
        }
        assert!(limit.attempt_at("admin", HERE, now).is_err());
        assert!(limit.attempt_at("other", HERE, now).is_err(), "the address is limited too");
        assert_eq!(limit.attempt_at("admin", HERE, now + REFILL), Ok(()));
        assert!(limit.attempt_at("admin", HERE, now + REFILL).is_err());
    }

    #[test]
    fn what_succeeds_does_not_count() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for _ in 0..BURST * 5 {
            assert_eq!(limit.attempt_at("admin", HERE, now), Ok(()));
            limit.succeeded("admin", HERE);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (limit, now) = (LoginLimit::default(), Instant::now());
        for i in 0..u32::try_from(REMEMBERED).unwrap() * 2 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(i));
            let _ = limit.attempt_at(&i.to_string(), address, now);
        }
        assert!(limit.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
