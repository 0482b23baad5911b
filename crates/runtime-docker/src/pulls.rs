//! Pulls that are under way: a bounded number of them, and one for all who want the same image with the same login.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, WeakShared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use ring_runtime::registry::Refused;

/// Pulls that make progress at the same time. An engine fetches a few layers of each at once.
const AT_ONCE: usize = 8;

/// The right of a pull to be one of those. One that makes no progress gives it back, so that registries that do not answer hold up
/// no pull from another; should it go on, it goes on without.
pub(crate) struct Slot(Option<OwnedSemaphorePermit>);

impl Slot {
    pub(crate) fn give_back(&mut self) {
        self.0 = None;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

type Pulling = BoxFuture<'static, Result<(), Refused>>;

/// The pulls of one engine. A pull goes on as long as somebody waits for it.
#[derive(Clone)]
pub(crate) struct Pulls {
    slots: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<String, WeakShared<Pulling>>>>,
}

impl Default for Pulls {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), under_way: Arc::default() }
    }
}

impl Pulls {
    /// Joins the pull of this key, or begins it.
    pub(crate) async fn join<Pull>(&self, key: String, pull: impl FnOnce(Slot) -> Pull + Send + 'static) -> Result<(), Refused>
    where
        Pull: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        let pulling = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody waits for any more need not be kept.
            under_way.retain(|_, pulling| pulling.upgrade().is_some_and(|pulling| pulling.peek().is_none()));
            let joined = under_way.get(&key).and_then(WeakShared::upgrade);
            joined.unwrap_or_else(|| {
                let slots = Arc::clone(&self.slots);
                let pulling = async move {
                    // Fails only when it is closed, which it never is.
                    pull(Slot(slots.acquire_owned().await.ok())).await
                };
                let pulling = pulling.boxed().shared();
                under_way.extend(pulling.downgrade().map(|weak| (key, weak)));
                pulling
            })
        };
        pulling.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::future::{join, join_all, pending};
    use ring_runtime::{RuntimeError, RuntimeErrorKind};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_pull_serves_all_who_want_it() {
        let (pulls, begun, go) = (Pulls::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let pull = || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            move |_| async move {
                begun.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                Err(Refused { error: RuntimeError::new(RuntimeErrorKind::Other, "no"), by_registry: true })
            }
        };
        let all = join_all((0..5).map(|_| pulls.join("a".to_owned(), pull())));
        let (all, ()) = join(all, async { go.notify_one() }).await;
        assert!(all.into_iter().all(|result| result.is_err()));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        // The next one is a new one.
        go.notify_one();
        pulls.join("a".to_owned(), pull()).await.unwrap_err();
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_slow_pull_delays_no_other() {
        let pulls = Pulls::default();
        let slow = pulls.join("slow".to_owned(), |_| pending());
        let quick = async { pulls.join("quick".to_owned(), |_| async { Ok(()) }).await };
        let both = timeout(Duration::from_secs(5), async {
            tokio::select! {
                _ = slow => panic!("it never ends"),
                quick = quick => quick,
            }
        });
        both.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn so_many_and_no_more_run_at_once() {
        let (pulls, now, most) = (Pulls::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let go = Arc::new(Notify::new());
        let pull = || {
            let (now, most, go) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&go));
            move |slot: Slot| async move {
                let _held = slot;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                go.notified().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let all = join_all((0..20).map(|n| pulls.join(n.to_string(), pull())));
        let letting = async {
            while most.load(Ordering::SeqCst) < AT_ONCE {
                tokio::task::yield_now().await;
            }
            for _ in 0..20 {
                go.notify_one();
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
        };
        let (done, ()) = timeout(Duration::from_secs(5), join(all, letting)).await.unwrap();
        assert!(done.into_iter().all(|result| result.is_ok()));
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }

    #[tokio::test]
    async fn pulls_that_make_no_progress_hold_up_no_other() {
        let pulls = Pulls::default();
        let stalls = |mut slot: Slot| async move {
            assert!(slot.is_held());
            slot.give_back();
            pending().await
        };
        let stalled = join_all((0..2 * AT_ONCE).map(|n| pulls.join(n.to_string(), stalls)));
        let quick = async { pulls.join("quick".to_owned(), |_| async { Ok(()) }).await };
        let both = timeout(Duration::from_secs(5), async {
            tokio::select! {
                biased;
                _ = stalled => panic!("they never end"),
                quick = quick => quick,
            }
        });
        both.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_pull_nobody_waits_for_ends() {
        let pulls = Pulls::default();
        let held = Arc::new(());
        let pull = {
            let held = Arc::clone(&held);
            move |_| async move {
                pending::<()>().await;
                drop(held);
                Ok(())
            }
        };
        timeout(Duration::from_millis(20), pulls.join("a".to_owned(), pull)).await.unwrap_err();
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
