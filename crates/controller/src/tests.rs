//! The controllers on a cluster in memory.

pub(crate) mod fake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ring_planner::{AutoscaleOptions, LeaseOptions};
use ring_state::{Command, NewDataKey, Reply, SealedValue, State};
use ring_types::{Autoscale, Cpu, DeploymentStatus, KeyId, MemberId, Name, NodeId, NodeStatus, Outcome, SecretId, Span};

use crate::{Contacts, ControllerOptions, Controllers, Sealer, clock};
use fake::{Fake, job, worker};

fn start(fake: &Fake) -> Controllers {
    let options = ControllerOptions { retry_after: Duration::from_millis(5), ..ControllerOptions::default() };
    Controllers::over(fake.clone(), Contacts::new(), Arc::new(Stamp), options)
}

/// Seals by naming the key; one value never opens.
struct Stamp;

impl Sealer for Stamp {
    fn reseal(&self, state: &State, value: &SealedValue) -> Result<Vec<u8>, String> {
        match value {
            SealedValue::Secret { id, .. } if id.0.as_u128() == DAMAGED => Err("damaged".to_owned()),
            _ => Ok(vec![u8::try_from(state.sealing_key().0).unwrap_or(u8::MAX)]),
        }
    }
}

const DAMAGED: u128 = 3;

fn put_secret(fake: &Fake, n: u128, sealed: u8, key: u64) -> Reply {
    let (namespace, name) = (Name::new("ns").unwrap(), Name::new(&format!("s{n}")).unwrap());
    let id = SecretId(uuid::Uuid::from_u128(n));
    fake.apply(Command::PutSecret { id, namespace, name, sealed: vec![sealed], key: KeyId(key), create: false })
}

fn rotate(fake: &Fake, id: u64) {
    let reply = fake.apply(Command::RotateDataKey(NewDataKey { id: KeyId(id), sealed: Vec::new() }));
    assert_eq!(reply, Reply::Done);
}

fn settled(state: &State, key: u64) -> bool {
    state.current_data_key().is_some_and(|current| current.id == KeyId(key) && current.settled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_carried_through_by_whoever_leads() {
    let fake = Fake::with_nodes(0);
    for n in 0..350 {
        put_secret(&fake, 1000 + n, 0, 0);
    }
    let controllers = start(&fake);
    fake.lead(true);
    rotate(&fake, 1);
    fake.reaches(|state| state.sealed_otherwise().count() < 350).await;
    fake.lead(false);
    fake.lead(true);
    fake.reaches(|state| settled(state, 1)).await;
    assert!(fake.state().secrets().all(|secret| secret.key == KeyId(1) && secret.sealed == [1]));
    rotate(&fake, 2);
    rotate(&fake, 3);
    fake.reaches(|state| settled(state, 3)).await;
    assert!(fake.state().secrets().all(|secret| secret.sealed == [3]));
    controllers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_open_holds_the_old_key_until_it_has_a_new_value() {
    let fake = Fake::with_nodes(0);
    (1..=5).for_each(|n| drop(put_secret(&fake, n, 0, 0)));
    rotate(&fake, 1);
    let _controllers = start(&fake);
    fake.lead(true);
    fake.reaches(|state| state.sealed_otherwise().count() == 1).await;
    let before = fake.proposals();
    fake.quiet().await;
    assert_eq!(fake.proposals(), before, "nothing is proposed in vain");
    assert!(!settled(&fake.state(), 1) && fake.state().seals_with(KeyId(0)));
    put_secret(&fake, DAMAGED, 9, 1);
    fake.reaches(|state| settled(state, 1)).await;
}

fn status(state: &State) -> Option<DeploymentStatus> {
    state.deployments().next().map(|deployment| deployment.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_bound_and_its_end_recorded() {
    let fake = Fake::with_nodes(2);
    let controllers = start(&fake);
    fake.lead(true);
    let id = fake.create(job("j"));
    fake.reaches(|state| status(state) == Some(DeploymentStatus::Creating)).await;
    let instance = fake.run(id);
    fake.reaches(|state| status(state) == Some(DeploymentStatus::Running)).await;
    fake.end(instance, Outcome::Code(3));
    fake.reaches(|state| status(state) == Some(DeploymentStatus::Failed)).await;
    controllers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_follow_changes_at_once() {
    let fake = Fake::with_nodes(2);
    let _controllers = start(&fake);
    fake.lead(true);
    let (mut binds, mut ends) = (Vec::new(), Vec::new());
    for n in 0..50 {
        let begun = Instant::now();
        let id = fake.create(job(&format!("j{n}")));
        fake.reaches(|state| state.instances_of(id).next().is_some()).await;
        binds.push(begun.elapsed());
        let instance = fake.run(id);
        fake.reaches(|state| state.deployment(id).unwrap().status == DeploymentStatus::Running).await;
        let begun = Instant::now();
        fake.end(instance, Outcome::Code(0));
        fake.reaches(|state| state.deployment(id).unwrap().status == DeploymentStatus::Completed).await;
        ends.push(begun.elapsed());
    }
    binds.sort_unstable();
    ends.sort_unstable();
    let (bind, end) = (binds[25], ends[25]);
    println!("apply to bound {bind:?}, end to final status {end:?} (medians of 50)");
    assert!(bind < Duration::from_millis(20) && end < Duration::from_millis(20), "{bind:?} {end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_acts() {
    let fake = Fake::with_nodes(1);
    let _controllers = start(&fake);
    let id = fake.create(worker("w", 1));
    fake.lead(true);
    fake.reaches(|state| state.instances_of(id).count() == 1).await;
    fake.lead(false);
    fake.quiet().await;
    let before = fake.proposals();
    let other = fake.create(worker("other", 1));
    fake.quiet().await;
    assert_eq!(fake.proposals(), before);
    assert_eq!(fake.state().instances_of(other).count(), 0);
    fake.lead(true);
    fake.reaches(|state| state.instances_of(other).count() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_that_fails_is_made_again() {
    let fake = Fake::with_nodes(1);
    fake.fail_next(5);
    let _controllers = start(&fake);
    fake.lead(true);
    let id = fake.create(worker("w", 3));
    fake.reaches(|state| state.instances_of(id).count() == 3).await;
    fake.quiet().await;
    assert_eq!(fake.state().instances_of(id).count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_changes_are_found_by_looking_at_everything() {
    let fake = Fake::with_nodes(1);
    let _controllers = start(&fake);
    fake.lead(true);
    let first = fake.create(worker("first", 1));
    fake.reaches(|state| state.instances_of(first).count() == 1).await;
    fake.quiet().await;
    let id = fake.create_silently(worker("missed", 1));
    fake.quiet().await;
    assert_eq!(fake.state().instances_of(id).count(), 0, "nobody has said anything");
    fake.lag();
    fake.reaches(|state| state.instances_of(id).count() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_finds_what_nothing_told_of() {
    let fake = Fake::with_nodes(1);
    let options = ControllerOptions { sweep_every: Duration::from_millis(50), ..ControllerOptions::default() };
    let _controllers = Controllers::over(fake.clone(), Contacts::new(), Arc::new(Stamp), options);
    fake.lead(true);
    fake.quiet().await;
    let id = fake.create_silently(worker("missed", 1));
    fake.reaches(|state| state.instances_of(id).count() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_comes_when_its_pause_is_over() {
    let fake = Fake::with_nodes(1);
    let _controllers = start(&fake);
    fake.lead(true);
    let mut spec = worker("w", 1);
    spec.restart.backoff = Span(50);
    let id = fake.create(spec);
    fake.reaches(|state| state.instances_of(id).count() == 1).await;
    let instance = fake.run(id);
    fake.end(instance, Outcome::Code(1));
    fake.reaches(|state| state.instances_of(id).any(|i| i.id != instance && i.state.is_live())).await;
    assert_eq!(fake.state().deployment(id).unwrap().restart_count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_is_done_nothing_is_proposed() {
    let fake = Fake::with_nodes(2);
    let _controllers = start(&fake);
    fake.lead(true);
    for n in 0..20 {
        let id = fake.create(worker(&format!("w{n}"), 2));
        fake.reaches(|state| state.instances_of(id).count() == 2).await;
    }
    fake.quiet().await;
    let before = fake.proposals();
    fake.lag();
    fake.quiet().await;
    assert_eq!(fake.proposals(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_panics_is_started_again() {
    let fake = Fake::with_nodes(1);
    fake.panic_next();
    let _controllers = start(&fake);
    fake.lead(true);
    let id = fake.create(worker("w", 1));
    fake.reaches(|state| state.instances_of(id).count() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_nodes_are_noticed_and_heard_again() {
    let fake = Fake::with_nodes(3);
    let contacts = Contacts::new();
    let leases = LeaseOptions { suspect_after: Span(200), lost_after: Span(700), max_lost_percent: 50 };
    let options = ControllerOptions { leases, ..ControllerOptions::default() };
    let _controllers = Controllers::over(fake.clone(), contacts.clone(), Arc::new(Stamp), options);
    fake.lead(true);
    let nodes: Vec<_> = fake.state().nodes().map(|node| (node.id, node.epoch)).collect();
    let (silent, rest) = nodes.split_first().unwrap();
    let heard = Arc::new(rest.to_vec());
    let beating = contacts.clone();
    let beats = tokio::spawn(async move {
        loop {
            heard.iter().for_each(|(node, epoch)| beating.heard(*node, *epoch, MemberId(1), clock::wall()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let is = |wanted: NodeStatus| move |state: &State| state.node(silent.0).unwrap().status == wanted;
    fake.reaches(is(NodeStatus::Unreachable)).await;
    contacts.heard(silent.0, silent.1, MemberId(1), clock::wall());
    fake.reaches(is(NodeStatus::Ready)).await;
    fake.reaches(is(NodeStatus::Lost)).await;
    assert!(fake.state().nodes().skip(1).all(|node| node.status == NodeStatus::Ready));
    beats.abort();
}

#[test]
fn an_older_sign_of_life_changes_nothing() {
    let contacts = Contacts::new();
    let node = ring_types::NodeId(uuid::Uuid::from_u128(1));
    let (epoch, at) = (ring_types::Epoch, ring_types::Timestamp);
    contacts.heard(node, epoch(2), MemberId(1), at(10));
    contacts.heard(node, epoch(2), MemberId(2), at(9));
    contacts.heard(node, epoch(1), MemberId(3), at(20));
    assert_eq!(contacts.last(node).unwrap().via, MemberId(1));
    contacts.heard(node, epoch(3), MemberId(3), at(5));
    assert_eq!(contacts.last(node).unwrap().via, MemberId(3));
    contacts.follow(&State::default(), ring_types::Timestamp(0));
    assert_eq!(contacts.last(node), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_grows_with_what_its_node_measures() {
    let fake = Fake::with_nodes(1);
    let contacts = Contacts::new();
    let autoscale = AutoscaleOptions { up_after: Span(0), samples: 2, ..AutoscaleOptions::default() };
    let options = ControllerOptions { autoscale, ..ControllerOptions::default() };
    let _controllers = Controllers::over(fake.clone(), contacts.clone(), Arc::new(Stamp), options);
    fake.lead(true);
    let mut spec = worker("w", 1);
    spec.autoscale = Some(Autoscale { min: 1, max: 3, target_cpu: 50 });
    let id = fake.create(spec);
    fake.reaches(|state| state.instances_of(id).count() == 1).await;
    let instance = fake.run(id);
    let node = fake.state().instance(instance).unwrap().node;
    contacts.measured(node, instance, Cpu(1000), clock::wall() - Span(1000));
    contacts.measured(NodeId(uuid::Uuid::nil()), instance, Cpu(0), clock::wall());
    contacts.measured(node, instance, Cpu(1000), clock::wall());
    fake.reaches(|state| state.instances_of(id).count() == 2).await;
    assert_eq!(fake.state().deployment(id).unwrap().wanted(), 2);
}
