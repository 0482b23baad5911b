//! The first failure of a store, told to everybody who waits for it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::StoreError;

/// Keeps the first failure.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<watch::Sender<Option<StoreError>>>);

impl Failure {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }

    /// Reports a failure; later ones are consequences and are dropped.
    pub(crate) fn report(&self, error: StoreError) {
        self.0.send_if_modified(|first| {
            let news = first.is_none();
            if news {
                tracing::error!(%error, "the store has failed");
                *first = Some(error);
            }
            news
        });
    }

    /// The failure, when there is one.
    pub(crate) fn get(&self) -> Option<StoreError> {
        self.0.borrow().clone()
    }

    /// Waits for one.
    pub(crate) async fn wait(&self) -> StoreError {
        let mut receiver = self.0.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(StoreError::Shutdown),
            Err(_) => StoreError::Shutdown,
        }
    }
}
