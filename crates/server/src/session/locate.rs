//! Which control node has the session of an agent, and the way there.

use std::time::Duration;

use ring_proto::cluster::v1::LocateRequest;
use ring_proto::cluster::v1::control_service_client::ControlServiceClient;
use ring_types::{MemberId, NodeId};
use tonic::transport::Channel;

use crate::services::Peers;
use crate::tls::DialError;

/// Longest wait for a control node's word on whether a session is there.
const LOCATE: Duration = Duration::from_secs(2);

/// Finds sessions that are not here.
#[derive(Clone)]
pub(super) struct Locator {
    peers: Peers,
}

impl Locator {
    pub(super) fn new(peers: Peers) -> Self {
        Self { peers }
    }

    /// The other control node that has the session of `node`; all are asked at once.
    pub(super) async fn find(&self, node: NodeId) -> Option<MemberId> {
        let asked = self.peers.others().into_iter().map(|member| {
            let locator = self.clone();
            Box::pin(async move { locator.has_session(member, node).await.then_some(member).ok_or(()) })
        });
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return None;
        }
        futures::future::select_ok(asked).await.ok().map(|(member, _)| member)
    }

    async fn has_session(&self, member: MemberId, node: NodeId) -> bool {
        let asking = async {
            let mut client = self.client(member).await.ok()?;
            let reply = client.locate(LocateRequest { node_id: node.to_string() }).await.ok()?;
            Some(reply.get_ref().connected)
        };
        tokio::time::timeout(LOCATE, asking).await.ok().flatten().unwrap_or(false)
    }

    /// The way to a control node.
    pub(super) async fn client(&self, member: MemberId) -> Result<ControlServiceClient<Channel>, DialError> {
        Ok(ControlServiceClient::new(self.peers.channel(member).await?))
    }
}
