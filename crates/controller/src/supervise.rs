//! A controller acts while its control node leads, and is started again when it fails.

use std::time::Duration;

use async_trait::async_trait;
use ring_store::Leadership;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;

/// Pause before a controller that failed is started again. It keeps nothing that matters in memory.
const RESTART: Duration = Duration::from_secs(1);

/// Something that acts while its control node leads.
#[async_trait]
pub(crate) trait Controller<C: Cluster>: Clone + Send + Sync + 'static {
    /// Acts until dropped, or until the store is shut down.
    async fn lead(self, cluster: C);
}

/// Runs a controller during each term in which `cluster` leads.
pub(crate) async fn while_leading<C: Cluster>(
    name: &'static str,
    cluster: C,
    stop: CancellationToken,
    controller: impl Controller<C>,
) {
    let mut leadership = cluster.leadership();
    loop {
        let term = tokio::select! {
            () = stop.cancelled() => return,
            term = leads(&mut leadership) => term,
        };
        let Some(term) = term else { return };
        tracing::info!(controller = name, term, "leading");
        // A task of its own: if it panics, this one goes on.
        let mut acting = tokio::spawn(controller.clone().lead(cluster.clone()));
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            () = loses(&mut leadership, term) => None,
            ended = &mut acting => Some(ended),
        };
        match ended {
            None => {
                acting.abort();
                let _cancelled = acting.await;
                tracing::info!(controller = name, term, "no longer leading");
            }
            Some(Ok(())) => return,
            Some(Err(error)) => {
                tracing::error!(controller = name, %error, "failed; starting again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RESTART) => {}
                }
            }
        }
    }
}

/// The term this member leads in, once it does; None when the store is gone.
async fn leads(leadership: &mut watch::Receiver<Leadership>) -> Option<u64> {
    leadership.wait_for(|now| now.is_me).await.ok().map(|now| now.term)
}

async fn loses(leadership: &mut watch::Receiver<Leadership>, term: u64) {
    // An error means that the store is gone: nobody leads.
    let _now = leadership.wait_for(|now| !now.is_me || now.term != term).await.is_ok();
}
