//! Login attempts: so many failures of an account, and from an address, then one every few seconds.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::buckets::{Buckets, seconds};

/// Failures that are allowed at once.
const BURST: u32 = 10;
/// Time in which one failure is forgiven.
const REFILL: Duration = Duration::from_secs(6);

/// Counts failed logins in this process.
pub(in crate::rest) struct LoginLimit {
    buckets: Buckets<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    Address(IpAddr),
}

impl Default for LoginLimit {
    fn default() -> Self {
        Self { buckets: Buckets::refilled_in(REFILL, BURST) }
    }
}

impl LoginLimit {
    /// Takes one attempt; or says how many seconds to wait.
    pub(in crate::rest) fn attempt(&self, account: &str, address: IpAddr) -> Result<(), u64> {
        self.attempt_at(account, address, Instant::now())
    }

    fn attempt_at(&self, account: &str, address: IpAddr, now: Instant) -> Result<(), u64> {
        self.buckets.take_at(keys(account, address), now).map_err(seconds)
    }

    /// The attempt succeeded: it does not count.
    pub(in crate::rest) fn succeeded(&self, account: &str, address: IpAddr) {
        self.buckets.give_back(keys(account, address));
    }
}

fn keys(account: &str, address: IpAddr) -> [Key; 2] {
    let end = account.char_indices().nth(100).map_or(account.len(), |(i, _)| i);
    [Key::Account(account[..end].to_owned()), Key::Address(address)]
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
}
