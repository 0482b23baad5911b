//! A disk that refuses ends the store: it says so, and does not linger.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use common::{Cluster, DEADLINE, namespace, request};
use ring_store::{ProposeError, StoreError};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_ends_the_store() {
    let mut cluster = Cluster::of(1).await;
    let member = &mut cluster.members[0];
    member.store.propose(request(1), namespace("before")).await.unwrap();
    fail::cfg("sync-fails", "return").unwrap();
    let refused = member.store.propose(request(2), namespace("after")).await;
    assert!(matches!(refused, Err(ProposeError::Storage(_))), "not acknowledged: {refused:?}");
    let error = timeout(DEADLINE, member.store.failed()).await.expect("it is told");
    assert!(matches!(error, StoreError::Disk { action: "sync", .. }), "{error:?}");
    assert!(error.to_string().contains("no space left on device"), "{error}");
    let later = member.store.propose(request(3), namespace("later")).await;
    assert!(matches!(later, Err(ProposeError::Storage(_))), "{later:?}");
    assert!(member.store.read().await.is_err());
    member.stop().await;
    fail::remove("sync-fails");
    member.restart().await.unwrap();
    assert!(common::has(&member.store.read().await.unwrap(), "before"));
    member.stop().await;
}
