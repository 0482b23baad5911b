//! A call says whose cluster it is from, who calls and who is meant; a member that is not meant refuses it.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use common::{CLUSTER, Cluster, has, namespace, request};
use ring_proto::Wire;
use ring_proto::raft::v1::propose_reply::Result as Answer;
use ring_proto::raft::v1::raft_service_client::RaftServiceClient;
use ring_proto::raft::v1::raft_service_server::RaftService;
use ring_proto::raft::v1::refused::Reason;
use ring_proto::raft::v1::{PingRequest, ProposeManyRequest, ProposeRequest};
use ring_state::{Command, Reply};
use ring_store::PeerMember;
use ring_types::{ClusterId, KeyId, MemberId, SecretId};
use tonic::{Code, Request};

fn ping(cluster: ClusterId, from: u64, to: u64) -> Request<PingRequest> {
    addressed(PingRequest {}, cluster, from, to)
}

fn addressed<T>(message: T, cluster: ClusterId, from: u64, to: u64) -> Request<T> {
    let mut request = Request::new(message);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_of_a_message_has_an_answer_of_its_own() {
    let cluster = Cluster::of(1).await;
    let client = RaftServiceClient::connect(format!("http://{}", cluster.members[0].address)).await.unwrap();
    let mut client = client.max_encoding_message_size(16 << 20);
    let large = Command::PutSecret {
        id: SecretId(uuid::Uuid::from_u128(1)),
        namespace: "default".parse().unwrap(),
        name: "s".parse().unwrap(),
        sealed: vec![7; 9 << 20],
        key: KeyId(0),
        create: true,
    };
    let one = |n: u128, command: Vec<u8>, hops: u32| {
        let request = request(n).0.as_bytes().to_vec().into();
        ProposeRequest { request, command: command.into(), hops }
    };
    let requests = vec![
        one(1, namespace("a").encode(), 1),
        one(2, vec![0xFF; 4], 1),
        one(3, large.encode(), 1),
        one(1, namespace("a").encode(), 1),
        one(4, namespace("b").encode(), 1),
    ];
    let replies = client.propose_many(addressed(ProposeManyRequest { requests }, CLUSTER, 2, 1)).await.unwrap();
    let answers: Vec<_> = replies.into_inner().replies.into_iter().map(|reply| reply.result.unwrap()).collect();
    let [Answer::Done(first), Answer::Refused(senseless), Answer::Refused(large), Answer::Done(again), Answer::Done(last)] =
        &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_eq!((senseless.reason(), large.reason()), (Reason::Uncertain, Reason::TooLarge));
    assert_eq!(first.revision, again.revision, "the same request is applied once");
    assert!([first, last].iter().all(|done| Reply::decode(&done.reply).unwrap() == Reply::Done));
    let state = cluster.members[0].store.local();
    assert!(has(&state, "a") && has(&state, "b"));
    cluster.stop().await;
}
