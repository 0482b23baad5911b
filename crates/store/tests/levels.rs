//! What this release does not understand is not applied, and not called damaged.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use std::sync::Arc;

use common::{Member, Plain, namespace, request};
use ring_state::{Command, LEVEL};
use ring_store::{Store, StoreError};
use ring_types::{Level, MemberId, RequestId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_of_a_later_release_ends_the_store_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let member = Member::start(1, root.path().join("data"), |_| {}).await;
    member.store.propose(request(1), namespace("before")).await.unwrap();
    let levels = member.store.levels().await;
    assert_eq!(levels.iter().map(|one| (one.id, one.speaks)).collect::<Vec<_>>(), [(MemberId(1), Some(LEVEL))]);
    let next = Level(LEVEL.0 + 1);
    let newer =
        |error: &StoreError| matches!(error, StoreError::Newer { level, spoken, .. } if (*level, *spoken) == (next, LEVEL));
    member.store.propose(RequestId::NONE, Command::RaiseLevel { level: next }).await.unwrap_err();
    let ended = member.store.failed().await;
    assert!(newer(&ended), "{ended}");
    member.stop().await;
    // It is in the log, and stays there for the release that understands it.
    let again = match Store::open(member.config.clone(), Arc::new(Plain)).await {
        Err(error) => error,
        Ok(store) => store.failed().await,
    };
    assert!(newer(&again), "{again}");
    assert!(again.to_string().contains("start this control node with the release the others run"), "{again}");
}
