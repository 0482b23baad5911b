//! A call says whose cluster it is from, who calls and who is meant; a member that is not meant refuses it.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use common::{CLUSTER, Cluster};
use ring_proto::raft::v1::PingRequest;
use ring_proto::raft::v1::raft_service_client::RaftServiceClient;
use ring_proto::raft::v1::raft_service_server::RaftService;
use ring_store::PeerMember;
use ring_types::{ClusterId, MemberId};
use tonic::{Code, Request};

fn ping(cluster: ClusterId, from: u64, to: u64) -> Request<PingRequest> {
    let mut request = Request::new(PingRequest {});
    for (name, value) in [("ring-cluster", cluster.to_string()), ("ring-from", from.to_string()), ("ring-to", to.to_string())] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_another_is_refused() {
    let cluster = Cluster::of(1).await;
    let mut client = RaftServiceClient::connect(format!("http://{}", cluster.members[0].address)).await.unwrap();
    assert_eq!(client.ping(ping(CLUSTER, 2, 1)).await.unwrap().into_inner().member, 1);
    let other = ClusterId(uuid::Uuid::from_u128(0xC2));
    for wrong in [ping(CLUSTER, 2, 3), ping(other, 2, 1), Request::new(PingRequest {})] {
        let refused = client.ping(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_who_its_certificate_says() {
    let cluster = Cluster::of(1).await;
    let endpoint = cluster.members[0].store.raft_endpoint();
    for (certificate, allowed) in [(2, true), (3, false)] {
        let mut request = ping(CLUSTER, 2, 1);
        request.extensions_mut().insert(PeerMember(MemberId(certificate)));
        let answer = endpoint.ping(request).await;
        assert_eq!(answer.is_ok(), allowed, "{answer:?}");
        assert!(allowed || answer.unwrap_err().code() == Code::PermissionDenied);
    }
    cluster.stop().await;
}
