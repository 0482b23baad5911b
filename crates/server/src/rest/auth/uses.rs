//! When API tokens were used last: gathered in memory and committed together, so that a request costs no log entry.
//!
//! Each control node writes one entry at most in each period, and none for a token whose last use is known to be within it. So what
//! is shown is at most two periods late, and what a control node gathered is lost with it when it is killed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring_state::{ApiToken, Command, TokenUse, limits};
use ring_store::Store;
use ring_types::{RequestId, Timestamp, TokenId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Gathers uses of tokens and has them committed.
pub struct Uses {
    every: Duration,
    /// Of tokens that are there, so that there are never more of these than of those.
    waiting: Mutex<BTreeMap<TokenId, Timestamp>>,
    some: Notify,
}

impl Uses {
    /// One that commits once in `every` at most.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, waiting: Mutex::default(), some: Notify::new() }
    }

    /// Somebody comes with a token. Sessions are not noted: nobody is shown them.
    pub(in crate::rest) fn note(&self, token: &ApiToken, now: Timestamp) {
        let period = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX);
        let known = token.last_used_at.is_some_and(|last| now.0.saturating_sub(last.0) < period);
        if token.name.is_empty() || known {
            return;
        }
        self.keep([TokenUse { token: token.id, at: now }]);
    }

    fn keep(&self, uses: impl IntoIterator<Item = TokenUse>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for used in uses {
            let at = waiting.entry(used.token).or_insert(used.at);
            *at = used.at.max(*at);
        }
        drop(waiting);
        self.some.notify_one();
    }

    fn take(&self) -> Vec<TokenUse> {
        let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_iter().map(|(token, at)| TokenUse { token, at }).collect()
    }

    /// Commits what comes in until the end; then what is left, once.
    pub(crate) async fn run(&self, store: &Store, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.some.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.every) => {}
            }
            self.commit(store).await;
        }
        self.commit(store).await;
    }

    async fn commit(&self, store: &Store) {
        for uses in self.take().chunks(limits::USES_PER_ENTRY) {
            let command = Command::NoteTokenUse { uses: uses.to_vec() };
            if let Err(error) = store.propose(RequestId::NONE, command).await {
                tracing::debug!("uses of tokens could not be noted, it is tried again: {error}");
                self.keep(uses.iter().copied());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ring_types::{Revision, UserId};
    use uuid::Uuid;

    use super::*;

    fn token(n: u128, label: &str, last: Option<i64>) -> ApiToken {
        ApiToken {
            id: TokenId(Uuid::from_u128(n)),
            user: UserId(Uuid::nil()),
            name: label.to_owned(),
            hash: [0; 32],
            scopes: Vec::new(),
            namespaces: Vec::new(),
            created_at: Timestamp(0),
            expires_at: None,
            last_used_at: last.map(Timestamp),
            version: Revision(1),
        }
    }

    #[test]
    fn many_uses_are_one_and_what_is_known_is_not_told_again() {
        let uses = Uses::new(Duration::from_mins(1));
        for at in [70_000, 90_000, 80_000] {
            uses.note(&token(1, "ci", None), Timestamp(at));
        }
        uses.note(&token(2, "known", Some(40_000)), Timestamp(90_000));
        uses.note(&token(3, "long ago", Some(30_000)), Timestamp(90_000));
        uses.note(&token(4, "", None), Timestamp(90_000));
        let told: Vec<_> = uses.take().iter().map(|used| (used.token.0.as_u128(), used.at.0)).collect();
        assert_eq!(told, [(1, 90_000), (3, 90_000)]);
        assert!(uses.take().is_empty());
    }
}
