//! A change of who may do what is acknowledged when the members in contact have it.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use std::time::Instant;

use common::{Cluster, DEADLINE, Member, request};
use ring_state::{ApiToken, AuditNote, AuditedCommand, Command, State};
use ring_types::{RequestId, Revision, Timestamp, TokenId, UserId};
use uuid::Uuid;

fn id(n: u128) -> TokenId {
    TokenId(Uuid::from_u128(n))
}

fn token(n: u128) -> Command {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&n.to_be_bytes());
    Command::CreateToken(ApiToken {
        id: id(n),
        user: UserId(Uuid::from_u128(9)),
        name: format!("t{n}"),
        hash,
        scopes: Vec::new(),
        namespaces: Vec::new(),
        created_at: Timestamp(0),
        expires_at: None,
        last_used_at: None,
        version: Revision(0),
    })
}

/// As the API sends it: with who did it.
fn revoke(n: u128) -> Command {
    let note = AuditNote {
        user: "admin".into(),
        user_id: None,
        token: None,
        token_name: String::new(),
        address: "127.0.0.1".into(),
        served_by: "c1".into(),
        action: "token.revoke".into(),
    };
    Command::Audited(Box::new(AuditedCommand { note, command: Box::new(Command::RevokeTokens { ids: vec![id(n)] }) }))
}

fn knows(state: &State, n: u128) -> bool {
    state.tokens().any(|token| token.id == id(n))
}

/// A token that every member knows.
async fn known(cluster: &Cluster, n: u128) {
    cluster.members[0].store.propose(RequestId::NONE, token(n)).await.unwrap();
    for member in &cluster.members {
        member.sees(|state| knows(state, n)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_member_knows_a_token_whose_revocation_is_acknowledged() {
    let cluster = Cluster::of(3).await;
    for n in 1..=60 {
        known(&cluster, n).await;
        // At the leader, and handed on by a follower.
        let at = &cluster.members[(n % 3) as usize].store;
        at.propose(request(n), revoke(n)).await.unwrap();
        let still: Vec<_> = cluster.members.iter().filter(|m| knows(&m.store.local(), n)).map(|m| m.id).collect();
        assert!(still.is_empty(), "token {n} is revoked and known to {still:?}");
    }
    cluster.stop().await;
}

/// Revokes a token while the third member does not answer.
async fn revoked_without(cluster: &Cluster, n: u128) {
    let begin = Instant::now();
    cluster.members[0].store.propose(request(n), revoke(n)).await.unwrap();
    assert!(begin.elapsed() < DEADLINE / 2, "it took {:?}", begin.elapsed());
    let living: [&Member; 2] = [&cluster.members[0], &cluster.members[1]];
    assert!(living.iter().all(|m| !knows(&m.store.local(), n)), "token {n}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_answer_holds_no_revocation_up() {
    let mut cluster = Cluster::of(3).await;
    known(&cluster, 1).await;
    known(&cluster, 2).await;
    cluster.members[2].stop().await;
    revoked_without(&cluster, 1).await;
    // A host that takes connections and never says anything.
    let silent = std::net::TcpListener::bind(cluster.members[2].address).unwrap();
    revoked_without(&cluster, 2).await;
    drop(silent);
    cluster.members[2].restart().await.unwrap();
    cluster.members[2].sees(|state| !knows(state, 1) && !knows(state, 2)).await;
    cluster.stop().await;
}
