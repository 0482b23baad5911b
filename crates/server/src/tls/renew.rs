//! A certificate is replaced when two thirds of its life are over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::HostTls;
use crate::clock;
use crate::pki::HostFiles;

/// Between attempts when a renewal fails; there is a third of the certificate's life to try.
const RETRY: Duration = Duration::from_mins(1);
/// Longest sleep: a host whose clock jumps looks again.
const LONGEST: Duration = Duration::from_hours(1);

/// Where new certificates come from.
#[async_trait]
pub trait Renewal: Send + Sync {
    /// Has `csr_pem` signed for this host's identity; the new certificate and those of the trusted authorities, PEM.
    async fn renew(&self, csr_pem: String) -> Result<(String, String), String>;
}

/// Keeps the certificate of this host good until it stops.
pub async fn renew_forever(tls: Arc<HostTls>, files: HostFiles, source: Arc<dyn Renewal>, stop: CancellationToken) {
    loop {
        let pause = match until_renewal(&tls) {
            Some(wait) if !wait.is_zero() => wait.min(LONGEST),
            Some(_) => match renew_now(&tls, &files, source.as_ref()).await {
                Ok(()) => {
                    tracing::info!("the certificate of this host was renewed");
                    continue;
                }
                Err(why) => {
                    tracing::warn!("the certificate of this host could not be renewed, trying again: {why}");
                    retry_pause(&tls)
                }
            },
            None => RETRY,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn until_renewal(tls: &HostTls) -> Option<Duration> {
    tls.validity().ok().map(|validity| validity.renew_at().since(clock::now()).duration())
}

/// Certificates of a short life are asked for more often.
fn retry_pause(tls: &HostTls) -> Duration {
    let left = tls.validity().map_or(RETRY, |validity| validity.not_after.since(clock::now()).duration());
    RETRY.min((left / 10).max(Duration::from_secs(1)))
}

/// Has a new certificate made, and shows it and trusts what came with it from now on.
///
/// # Errors
/// In words, why there is none.
pub async fn renew_now(tls: &HostTls, files: &HostFiles, source: &dyn Renewal) -> Result<(), String> {
    let csr = tls.request().map_err(|e| e.to_string())?;
    let (own, authority) = source.renew(csr).await?;
    tls.replace(&own, &authority).map_err(|e| e.to_string())?;
    files.write_certificates(&own, &authority).map_err(|e| e.to_string())
}
