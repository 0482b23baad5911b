//! Streams of a token at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring_types::TokenId;

/// A token that has all it may have is told to come again after so many seconds: streams end when somebody ends them.
const COME_AGAIN: u64 = 5;

use crate::refusals::Limit;
use crate::rest::error::{ApiError, Result};

/// Counts the streams of each token.
pub(in crate::rest) struct Streams {
    most: usize,
    open: Arc<Mutex<HashMap<TokenId, usize>>>,
}

/// A stream of a token; it counts until it is dropped.
#[derive(Debug)]
pub(in crate::rest) struct StreamSlot {
    token: TokenId,
    open: Arc<Mutex<HashMap<TokenId, usize>>>,
}

impl Streams {
    /// At most so many of a token; 0: no bound.
    pub(super) fn new(most: u32) -> Self {
        let most = if most == 0 { usize::MAX } else { most as usize };
        Self { most, open: Arc::default() }
    }

    /// One more of a token.
    ///
    /// # Errors
    /// When it has as many as it may.
    pub(in crate::rest) fn take(&self, token: TokenId) -> Result<StreamSlot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(token).or_default();
        if *count >= self.most {
            let detail = format!(
                "this token has {} streams open here (followed logs and events, commands in instances), as many as a token may: \
                 end one, or use another token",
                self.most
            );
            return Err(ApiError::too_many(Limit::Streams, detail, COME_AGAIN));
        }
        *count += 1;
        Ok(StreamSlot { token, open: self.open.clone() })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.token) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_a_token_are_bounded_and_come_back() {
        let token = |n| TokenId(uuid::Uuid::from_u128(n));
        let streams = Streams::new(2);
        let first = streams.take(token(1)).unwrap();
        let _second = streams.take(token(1)).unwrap();
        assert!(streams.take(token(1)).is_err());
        let other = streams.take(token(2)).unwrap();
        drop(first);
        let _third = streams.take(token(1)).unwrap();
        drop(other);
        assert_eq!(streams.open.lock().unwrap().len(), 1, "nothing is remembered of who has none");
    }
}
