//! Three stores that replicate: writes, elections, forwarding, restarts, snapshots, reads, membership.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use common::{Cluster, DEADLINE, Member, compaction, digest, has, namespace, request};
use ring_state::{Command, Reply};
use ring_store::{MemberError, ProposeError, Store, StoreError};
use ring_types::{KeyId, MemberId, RequestId, SecretId};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_keeps_its_state_over_a_restart() {
    let cluster = Cluster::of(1).await;
    let mut member = cluster.members.into_iter().next().unwrap();
    assert!(member.store.local().meta().is_some(), "the first entry is applied");
    let committed = member.store.propose(request(1), namespace("one")).await.unwrap();
    assert_eq!(committed.reply, Reply::Done);
    let before = digest(&member.store.local());
    member.stop().await;
    assert_eq!(Store::exists(&member.dir).unwrap().unwrap().member, MemberId(1));
    member.restart().await.unwrap();
    assert_eq!(digest(&member.store.local()), before, "rows are loaded");
    member.leads().await;
    assert!(has(&member.store.read().await.unwrap(), "one"));
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_anywhere_is_everywhere() {
    let cluster = Cluster::of(3).await;
    for (n, member) in cluster.members.iter().enumerate() {
        let name = format!("from-{n}");
        let committed = member.store.propose(request(n as u128 + 1), namespace(&name)).await.unwrap();
        assert_eq!(committed.reply, Reply::Done);
        assert!(has(&member.store.local(), &name), "who proposed reads its own write");
        for other in &cluster.members {
            other.sees(|state| has(state, &name)).await;
            assert!(has(&other.store.read().await.unwrap(), &name), "a read anywhere has it");
        }
    }
    let digests: Vec<_> = cluster.members.iter().map(|m| digest(&m.store.local())).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
    let status = cluster.members[0].store.status();
    assert_eq!((status.voters.len(), status.learners.len(), status.leader), (3, 0, Some(MemberId(1))));
    assert!(status.peers.iter().all(|p| p.voter && p.matched.is_some()), "{status:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_applied_once() {
    let cluster = Cluster::of(3).await;
    let first = cluster.members[1].store.propose(request(7), namespace("once")).await.unwrap();
    let again = cluster.members[2].store.propose(request(7), namespace("once")).await.unwrap();
    assert_eq!(again, first, "the same answer, with the same revision");
    let other = cluster.members[2].store.propose(request(8), namespace("once")).await.unwrap();
    assert!(matches!(other.reply, Reply::Refused(_)), "another request is refused: {other:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_is_replaced_and_comes_back() {
    let mut cluster = Cluster::of(3).await;
    cluster.members[0].store.propose(request(1), namespace("before")).await.unwrap();
    cluster.members[0].stop().await;
    // It waits through the election.
    cluster.members[1].store.propose(request(2), namespace("after")).await.unwrap();
    let leader = cluster.leader_seen_by(1).await;
    assert_ne!(leader, 0);
    assert!(has(&cluster.members[2].store.read().await.unwrap(), "after"));
    cluster.members[0].restart().await.unwrap();
    let state = cluster.members[0].sees(|state| has(state, "after")).await;
    assert!(has(&state, "before"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_the_missing_are_named() {
    let cluster = Cluster::with(3, |config| config.patience = std::time::Duration::from_secs(4)).await;
    let leader = cluster.leader_seen_by(0).await;
    for (n, member) in cluster.members.iter().enumerate() {
        if n != leader {
            member.stop().await;
        }
    }
    let survivor = &cluster.members[leader];
    survivor.leadership(|l| l.leader.is_none() || l.is_me).await;
    // The leader's lease has to run out before it knows; until then an entry may be on its way.
    let mut outcomes = Vec::new();
    for n in 0..2 {
        outcomes.push(survivor.store.propose(request(n + 1), namespace("lost")).await.unwrap_err());
    }
    let Some(ProposeError::NoQuorum { missing }) = outcomes.last() else { panic!("{outcomes:?}") };
    let mut names: Vec<_> = missing.iter().map(|m| m.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["c2", "c3"]);
    assert!(survivor.store.read().await.is_err(), "no linearizable read either");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_gets_a_snapshot() {
    let mut cluster = Cluster::with(1, compaction(50, 5)).await;
    for n in 0..200 {
        cluster.members[0].store.propose(RequestId::NONE, namespace(&format!("ns-{n}"))).await.unwrap();
    }
    let mut watch = cluster.members[0].store.watch();
    let purged = async {
        // A snapshot is built beside the applies; each further entry is a chance to see it.
        for n in 200.. {
            if cluster.members[0].store.status().snapshot > 150 {
                return;
            }
            cluster.members[0].store.propose(RequestId::NONE, namespace(&format!("ns-{n}"))).await.unwrap();
            watch.changes.next().await.unwrap();
        }
    };
    timeout(DEADLINE, purged).await.unwrap();
    let joiner = Member::start(2, cluster.dir("2"), compaction(50, 5)).await;
    cluster.members[0].store.add_learner(joiner.id, "c2", &joiner.config.address).await.unwrap();
    let revision = cluster.members[0].store.local().revision();
    joiner.sees(|state| state.revision() >= revision).await;
    assert!(joiner.store.status().snapshot > 100, "it came by snapshot: {:?}", joiner.store.status());
    assert_eq!(digest(&joiner.store.local()), digest(&cluster.members[0].store.local()));
    assert_eq!(cluster.members[0].store.status().learners, [MemberId(2)]);
    cluster.members.push(joiner);
    let before = digest(&cluster.members[1].store.local());
    cluster.members[1].stop().await;
    cluster.members[1].restart().await.unwrap();
    assert_eq!(digest(&cluster.members[1].store.local()), before, "an installed snapshot survives a restart");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_is_handed_over() {
    let cluster = Cluster::of(3).await;
    cluster.members[2].store.transfer_leader(MemberId(2)).await.unwrap();
    cluster.members[1].leads().await;
    cluster.members[0].store.propose(request(1), namespace("moved")).await.unwrap();
    let unknown = cluster.members[0].store.transfer_leader(MemberId(9)).await;
    assert!(matches!(unknown, Err(MemberError::NotMember(MemberId(9)))), "{unknown:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_removed() {
    let cluster = Cluster::of(3).await;
    cluster.members[1].store.remove(MemberId(3)).await.unwrap();
    let status = cluster.members[0].store.status();
    assert_eq!(status.voters, [MemberId(1), MemberId(2)]);
    cluster.members[2].stop().await;
    cluster.members[1].store.propose(request(1), namespace("two")).await.unwrap();
    cluster.members[0].store.remove(MemberId(2)).await.unwrap();
    let last = cluster.members[0].store.remove(MemberId(1)).await;
    assert!(matches!(last, Err(MemberError::Invalid(_))), "{last:?}");
    cluster.members[0].store.propose(request(2), namespace("one")).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_would_lose_the_quorum_is_refused() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader_seen_by(0).await;
    let [store, alive, dead] = [0, 1, 2].map(|n| &cluster.members[(leader + n) % 3]);
    let store = &store.store;
    dead.stop().await;
    // It answered a moment ago, which does not count.
    // Whoever is asked, the leader judges.
    for asked in [store, &alive.store] {
        let refused = asked.remove(alive.id).await;
        let Err(MemberError::LosesQuorum(says)) = refused else { panic!("{refused:?}") };
        assert!(says.contains(&format!("No answer from {} (", dead.config.name)), "{says}");
    }
    store.propose(request(1), namespace("still")).await.unwrap();
    assert_eq!(store.status().voters.len(), 3);
    store.remove(dead.id).await.unwrap();
    store.propose(request(2), namespace("two")).await.unwrap();
    store.remove(alive.id).await.unwrap();
    store.propose(request(3), namespace("one")).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_or_of_another_is_refused() {
    let cluster = Cluster::of(1).await;
    let member = &cluster.members[0];
    let locked = Store::open(member.config.clone(), std::sync::Arc::new(common::Plain)).await.err();
    assert!(matches!(locked, Some(StoreError::Locked { .. })), "{locked:?}");
    member.stop().await;
    let mut stranger = member.config.clone();
    stranger.member = MemberId(5);
    let refused = Store::open(stranger, std::sync::Arc::new(common::Plain)).await.err();
    assert!(matches!(refused, Some(StoreError::Stranger { .. })), "{refused:?}");
    let again =
        Store::create(member.config.clone(), std::sync::Arc::new(common::Plain), common::bootstrap(member.address)).await.err();
    assert!(matches!(again, Some(StoreError::NotEmpty { .. })), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_all_get_their_own_answer() {
    let cluster = Cluster::of(3).await;
    let proposals = (0..300_u128).map(|n| {
        let store = cluster.members[(n % 3) as usize].store.clone();
        async move { store.propose(request(n + 1), namespace(&format!("ns-{n}"))).await.unwrap() }
    });
    let mut revisions: Vec<_> = futures::future::join_all(proposals).await.into_iter().map(|c| c.revision).collect();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 300);
    let state = cluster.members[2].store.read().await.unwrap();
    assert!((0..300).all(|n| has(&state, &format!("ns-{n}"))));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_may_be_large_but_not_too_large() {
    let cluster = Cluster::of(2).await;
    let secret = |n: u128, size: usize| Command::PutSecret {
        id: SecretId(uuid::Uuid::from_u128(n)),
        namespace: "default".parse().unwrap(),
        name: format!("s{n}").parse().unwrap(),
        sealed: vec![7; size],
        key: KeyId(0),
        create: true,
    };
    for member in &cluster.members {
        let refused = member.store.propose(request(1), secret(1, 9 << 20)).await;
        assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    }
    for (n, member) in (2..).zip(&cluster.members) {
        let committed = member.store.propose(request(n), secret(n, 7 << 20)).await.unwrap();
        assert!(!matches!(committed.reply, Reply::Refused(_)), "{committed:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_leader_was_handed_is_done_once() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader_seen_by(1).await;
    let follower = cluster.members.iter().position(|m| m.id != cluster.members[leader].id).unwrap();
    let store = &cluster.members[follower].store;
    let mut changes = store.watch();
    let proposals = (0..400_u128).map(|n| async move { store.propose(request(n + 1), namespace(&format!("ns-{n}"))).await });
    let killed = async {
        // Some are done, most are on their way.
        while !changes.changes.next().await.unwrap().state().namespaces().any(|ns| ns.name.as_str().starts_with("ns-")) {}
        cluster.members[leader].stop().await;
    };
    let (committed, ()) = futures::join!(futures::future::join_all(proposals), killed);
    let mut revisions: Vec<_> = committed.into_iter().map(|c| c.unwrap()).inspect(|c| assert_eq!(c.reply, Reply::Done)).collect();
    revisions.sort_by_key(|c| c.revision);
    revisions.dedup_by_key(|c| c.revision);
    assert_eq!(revisions.len(), 400, "each has an entry and an answer of its own");
    let state = store.read().await.unwrap();
    assert!((0..400).all(|n| has(&state, &format!("ns-{n}"))));
    cluster.stop().await;
}
