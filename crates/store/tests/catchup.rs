//! A follower that was away catches up, by the log or by a snapshot.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use common::{Cluster, compaction, digest, has, namespace};
use ring_types::RequestId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_catches_up() {
    let mut cluster = Cluster::with(3, compaction(100, 30)).await;
    let write = async |cluster: &Cluster, names: std::ops::Range<u32>| {
        for n in names {
            cluster.members[0].store.propose(RequestId::NONE, namespace(&format!("ns-{n}"))).await.unwrap();
        }
    };
    write(&cluster, 0..10).await;
    // Shortly away: the log is still there.
    cluster.members[2].stop().await;
    write(&cluster, 10..40).await;
    cluster.members[2].restart().await.unwrap();
    cluster.members[2].sees(|state| has(state, "ns-39")).await;
    assert_eq!(cluster.members[2].store.status().snapshot, 0, "the log was enough");
    // Long away: the leader has cut its log.
    cluster.members[2].stop().await;
    let mut written = 40;
    while cluster.members[0].store.status().snapshot < 200 {
        write(&cluster, written..written + 1).await;
        written += 1;
        assert!(written < 10_000, "no snapshot is taken");
    }
    cluster.members[2].restart().await.unwrap();
    let last = format!("ns-{}", written - 1);
    cluster.members[2].sees(|state| has(state, &last)).await;
    cluster.members[2].says("it came by snapshot", |status| status.snapshot >= 200).await;
    assert_eq!(digest(&cluster.members[2].store.local()), digest(&cluster.members[0].store.local()));
    cluster.stop().await;
}
