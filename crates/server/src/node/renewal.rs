//! Where a host's new certificates come from: a control node signs its own, others ask one.

use async_trait::async_trait;
use ring_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use ring_proto::cluster::v1::{ConfirmRequest, RenewRequest};
use ring_store::Store;

use crate::pki::{Expect, HostFiles, Identity};
use crate::services::Admission;
use crate::tls::{Dialer, HostTls, Renewal};

/// Signs for the control node itself.
pub(super) struct Own {
    pub(super) store: Store,
    pub(super) admission: Admission,
    pub(super) identity: Identity,
    pub(super) address: std::net::IpAddr,
}

#[async_trait]
impl Renewal for Own {
    async fn renew(&self, csr_pem: String) -> Result<(String, String), String> {
        let state = self.store.local();
        self.admission.sign(&state, &csr_pem, self.identity, vec![self.address]).map_err(|e| e.to_string())
    }
}

/// Asks a control node.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) dialer: Dialer,
    pub(super) files: HostFiles,
}

#[async_trait]
impl Renewal for Asked {
    async fn renew(&self, csr_pem: String) -> Result<(String, String), String> {
        let mut failures = Vec::new();
        for address in self.addresses()? {
            match self.ask(&address, &csr_pem).await {
                Ok(renewed) => return Ok(renewed),
                Err(why) => failures.push(format!("{address}: {why}")),
            }
        }
        Err(failures.join("; "))
    }
}

impl Asked {
    fn addresses(&self) -> Result<Vec<String>, String> {
        let record = self.files.record().map_err(|e| e.to_string())?;
        Ok(record.map(|r| r.control_addresses).unwrap_or_default())
    }

    /// Says what this host trusts, over a new connection, which shows its certificate.
    pub(super) async fn confirm(&self, tls: &HostTls) -> Result<(), String> {
        let authorities: Vec<_> = tls.authorities().iter().map(ToString::to_string).collect();
        let mut failures = Vec::new();
        for address in self.addresses()? {
            match self.confirm_to(&address, authorities.clone()).await {
                Ok(()) => return Ok(()),
                Err(why) => failures.push(format!("{address}: {why}")),
            }
        }
        Err(failures.join("; "))
    }

    async fn confirm_to(&self, address: &str, authorities: Vec<String>) -> Result<(), String> {
        let channel = self.dialer.dial(address, Expect::AnyMember).await.map_err(|e| e.to_string())?;
        let reply = ClusterServiceClient::new(channel).confirm(ConfirmRequest { authorities }).await;
        reply.map(drop).map_err(|status| status.message().to_owned())
    }

    async fn ask(&self, address: &str, csr_pem: &str) -> Result<(String, String), String> {
        let channel = self.dialer.dial(address, Expect::AnyMember).await.map_err(|e| e.to_string())?;
        let request = RenewRequest { csr_pem: csr_pem.to_owned() };
        let reply = ClusterServiceClient::new(channel).renew(request).await.map_err(|s| s.message().to_owned())?;
        let reply = reply.into_inner();
        Ok((reply.certificate_pem, reply.ca_pem))
    }
}
