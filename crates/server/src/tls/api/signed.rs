//! A certificate of the cluster's authority: this control node signs it for itself, and anew when its node certificate is renewed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ring_store::Store;
use sysinfo::Networks;
use tokio_util::sync::CancellationToken;

use super::ApiTls;
use crate::clock;
use crate::pki::{HostKey, Identity, certificate_from_pem};
use crate::services::{Admission, EnrolError};
use crate::tls::HostTls;

/// First pause after a failure; doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Longest sleep: a host whose clock jumps looks again.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);
/// Most addresses of this host a certificate names.
const ADDRESSES: usize = 64;

/// Signs certificates for the REST API of this control node.
pub(crate) struct Signer {
    pub(crate) store: Store,
    pub(crate) admission: Admission,
    /// Of the control node.
    pub(crate) name: String,
    /// By which it is reached, beside its own.
    pub(crate) names: Vec<String>,
    /// At which others reach it.
    pub(crate) address: IpAddr,
}

impl Signer {
    /// A new certificate and key; shown from now on. How long it is good.
    fn sign(&self, tls: &ApiTls) -> Result<Duration, EnrolError> {
        let key = HostKey::generate()?;
        let reached = (self.reached_by(), self.reached_at());
        let signed = self.admission.sign_server(&self.store.local(), &key.request()?, &self.name, reached)?;
        let certificate = certificate_from_pem(&signed.0)?;
        let validity = Identity::validity(&certificate)?;
        tls.replace(vec![certificate, certificate_from_pem(&signed.1)?], key.der())?;
        Ok(validity.renew_at().since(clock::now()).duration())
    }

    fn reached_by(&self) -> Vec<String> {
        let known = ["localhost".to_owned(), self.name.clone(), crate::node::host_name()];
        let all: BTreeSet<_> = known.into_iter().chain(self.names.iter().cloned()).collect();
        all.into_iter().collect()
    }

    fn reached_at(&self) -> Vec<IpAddr> {
        let first = [self.address, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let mut all = first.to_vec();
        for network in Networks::new_with_refreshed_list().values().flat_map(sysinfo::NetworkData::ip_networks) {
            let link_local = matches!(network.addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
            if !link_local && !all.contains(&network.addr) && all.len() < ADDRESSES {
                all.push(network.addr);
            }
        }
        all
    }
}

/// Keeps a good certificate of the cluster's authority shown until this control node stops.
pub(crate) async fn keep_signed(tls: Arc<ApiTls>, host: Arc<HostTls>, signer: Signer, stop: CancellationToken) {
    let mut replaced = host.replacements();
    let mut pause = PAUSE;
    loop {
        let wait = match signer.sign(&tls) {
            Ok(good) => {
                pause = PAUSE;
                good.min(LONGEST_SLEEP).max(PAUSE)
            }
            Err(error) => {
                tell(&error);
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = replaced.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// A control node that has just joined does not know the authority yet.
fn tell(error: &EnrolError) {
    match error {
        EnrolError::Unavailable(why) => tracing::debug!("no certificate for the REST API yet: {why}"),
        error => tracing::warn!("the certificate of the REST API could not be made, trying again: {error}"),
    }
}
