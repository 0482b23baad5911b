//! Telling everybody who listens that an instance may have changed.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_runtime::Hint;
use ring_types::InstanceId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Hints kept for a receiver that is slow; one that falls further behind is told [`Hint::Everything`].
const KEPT: usize = 1024;

/// The hints of a driver.
#[derive(Debug)]
pub struct Hints(broadcast::Sender<Hint>);

impl Default for Hints {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Hints {
    /// An instance may have changed.
    pub fn changed(&self, instance: InstanceId) {
        // Nobody listening is fine: whoever comes later starts with `Everything`.
        let _ = self.0.send(Hint::Instance(instance));
    }

    /// What [`ring_runtime::Runtime::hints`] gives. It ends with the driver.
    pub fn stream(&self) -> BoxStream<'static, Hint> {
        let hints = stream::unfold(self.0.subscribe(), |mut hints| async move {
            match hints.recv().await {
                Ok(hint) => Some((hint, hints)),
                Err(RecvError::Lagged(_)) => Some((Hint::Everything, hints)),
                Err(RecvError::Closed) => None,
            }
        });
        stream::once(async { Hint::Everything }).chain(hints).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_new_or_slow_is_told_to_look_at_everything() {
        let instance: InstanceId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        let hints = Hints::default();
        let mut stream = hints.stream();
        hints.changed(instance);
        assert_eq!(stream.next().await, Some(Hint::Everything));
        assert_eq!(stream.next().await, Some(Hint::Instance(instance)));
        for _ in 0..=KEPT {
            hints.changed(instance);
        }
        assert_eq!(stream.next().await, Some(Hint::Everything));
        drop(hints);
        assert_eq!(stream.count().await, KEPT, "what is kept is told, and then it ends");
    }
}
