//! Deliveries on a cluster in memory, to receivers that do what they are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ring_state::{Bootstrap, Command, HookCommand, NewWebhook, Reply, State};
use ring_types::{ClusterId, EventFilter, KeyId, MemberId, Name, Span, UserId, WebhookId};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Attempt, Deliver, Deliveries, DeliveryOptions, NotTaken};
use crate::ControllerOptions;
use crate::herald::Herald;
use crate::supervise::while_leading;
use crate::tests::fake::{Fake, worker};

/// What a receiver does with an attempt.
#[derive(Clone, Copy)]
enum Manner {
    Takes,
    Fails,
    /// Never answers.
    Hangs,
    /// Fails for the first so many.
    Recovers(usize),
    /// Asks to be left alone for so long, for the first so many.
    Asks(Span, usize),
    Panics,
}

/// Every attempt, in the order in which they were made.
#[derive(Clone)]
struct Receivers {
    manners: Arc<Mutex<BTreeMap<WebhookId, Manner>>>,
    seen: watch::Sender<Vec<(WebhookId, u64, u32)>>,
}

impl Receivers {
    fn new(manners: &[(u128, Manner)]) -> Self {
        let manners = manners.iter().map(|(n, manner)| (id(*n), *manner)).collect();
        Self { manners: Arc::new(Mutex::new(manners)), seen: watch::Sender::default() }
    }

    fn behave(&self, n: u128, manner: Manner) {
        self.manners.lock().unwrap_or_else(PoisonError::into_inner).insert(id(n), manner);
    }

    fn of(&self, n: u128) -> Vec<u64> {
        self.seen.borrow().iter().filter(|(webhook, ..)| *webhook == id(n)).map(|(_, number, _)| *number).collect()
    }

    async fn sees(&self, n: u128, count: usize) {
        let mut seen = self.seen.subscribe();
        let enough = seen.wait_for(|seen| seen.iter().filter(|(webhook, ..)| *webhook == id(n)).count() >= count);
        let reached = tokio::time::timeout(Duration::from_secs(20), enough).await.is_ok_and(|seen| seen.is_ok());
        assert!(reached, "{n} has seen {:?}", self.of(n));
    }
}

#[async_trait]
impl Deliver for Receivers {
    async fn deliver(&self, attempt: Attempt) -> Result<(), NotTaken> {
        let key = attempt.webhook.id;
        let tries = self.seen.borrow().iter().filter(|(webhook, ..)| *webhook == key).count();
        self.seen.send_modify(|seen| seen.push((key, attempt.delivery.number, attempt.delivery.attempts)));
        let manner = self.manners.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        match manner.unwrap_or(Manner::Takes) {
            Manner::Takes => Ok(()),
            Manner::Hangs => std::future::pending().await,
            Manner::Recovers(after) if tries >= after => Ok(()),
            Manner::Panics if tries == 0 => panic!("told to"),
            Manner::Panics => Ok(()),
            Manner::Asks(after, times) if tries < times => Err(NotTaken { why: "answered 429".to_owned(), after: Some(after) }),
            Manner::Asks(..) => Ok(()),
            Manner::Fails | Manner::Recovers(_) => Err("answered 500".to_owned().into()),
        }
    }
}

fn id(n: u128) -> WebhookId {
    WebhookId(Uuid::from_u128(n))
}

/// A cluster with these webhooks, which ask for changes of scale.
fn cluster(webhooks: &[u128]) -> Fake {
    let fake = Fake::with_nodes(0);
    fake.apply(Command::Bootstrap(Bootstrap {
        cluster: ClusterId(Uuid::from_u128(9)),
        ca_certificate: String::new(),
        ca_key_sealed: Vec::new(),
        data_key_sealed: Vec::new(),
        member_name: Name::new("c1").unwrap(),
        address: String::new(),
        api_address: String::new(),
        admin: UserId(Uuid::from_u128(1)),
        admin_password_hash: String::new(),
        level: ring_state::LEVEL,
    }));
    for n in webhooks {
        let events: Vec<EventFilter> = vec!["deployment.scaled".parse().unwrap()];
        let webhook =
            NewWebhook { id: id(*n), url: String::new(), events, sealed: Vec::new(), key: KeyId(0), created_by: String::new() };
        assert_eq!(fake.apply(Command::Hook(HookCommand::Create(webhook))), Reply::Done);
    }
    fake.create(worker("web", 1));
    fake
}

/// So many events.
fn happen(fake: &Fake, count: u32) {
    for _ in 0..count {
        let replicas = fake.state().deployments().next().unwrap().spec.replicas;
        fake.create(worker("web", replicas % 7 + 1));
    }
}

fn options() -> ControllerOptions {
    let deliveries =
        DeliveryOptions { attempts: 3, first_pause: Span(20), longest_pause: Span(40), settle_after: Duration::from_millis(5) };
    ControllerOptions { deliveries, retry_after: Duration::from_millis(5), ..ControllerOptions::default() }
}

fn start(fake: &Fake, receivers: &Receivers) -> tokio_util::sync::DropGuard {
    start_with(fake, receivers, options())
}

fn start_with(fake: &Fake, receivers: &Receivers, options: ControllerOptions) -> tokio_util::sync::DropGuard {
    let stop = tokio_util::sync::CancellationToken::new();
    let deliveries = Deliveries::new(Arc::new(receivers.clone()), options);
    tokio::spawn(while_leading("deliveries", fake.clone(), stop.clone(), deliveries));
    stop.drop_guard()
}

fn settled(state: &State, n: u128, delivered: u64) -> bool {
    state.backlog(id(n)).pending == 0 && state.webhook(id(n)).is_some_and(|webhook| webhook.delivered == delivered)
}

/// The pauses of these tests are 20 to 40 ms: what comes a second later comes then because it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_it_is_left_alone_for_all_its_events_and_no_longer_than_the_longest_pause() {
    let (fake, receivers) = (cluster(&[1, 2]), Receivers::new(&[(1, Manner::Asks(Span(1200), 1)), (2, Manner::Takes)]));
    let deliveries = DeliveryOptions { longest_pause: Span(60_000), ..options().deliveries };
    let _guard = start_with(&fake, &receivers, ControllerOptions { deliveries, ..options() });
    fake.lead(true);
    let begun = std::time::Instant::now();
    happen(&fake, 5);
    fake.reaches(|state| settled(state, 2, 5)).await;
    receivers.sees(1, 1).await;
    fake.reaches(|state| settled(state, 1, 5)).await;
    assert!(begun.elapsed() >= Duration::from_millis(1200), "{:?}", begun.elapsed());
    let attempts: Vec<_> = receivers.seen.borrow().iter().filter(|(hook, ..)| *hook == id(1)).map(|one| one.2).collect();
    assert_eq!(attempts.len(), 6, "one failed, and no other was tried meanwhile: {attempts:?}");

    // It asks for a day, and is asked again after the longest pause.
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[(1, Manner::Asks(Span::seconds(86_400), 1))]));
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    happen(&fake, 2);
    fake.reaches(|state| settled(state, 1, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_in_order_and_only_while_leading() {
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[]));
    let _guard = start(&fake, &receivers);
    happen(&fake, 5);
    fake.quiet().await;
    assert_eq!(receivers.of(1), Vec::<u64>::new());
    fake.lead(true);
    fake.reaches(|state| settled(state, 1, 5)).await;
    happen(&fake, 50);
    fake.reaches(|state| settled(state, 1, 55)).await;
    let seen = receivers.of(1);
    assert!(seen.len() == 55 && seen.is_sorted(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_committed_together() {
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[]));
    happen(&fake, 500);
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    fake.reaches(|state| settled(state, 1, 500)).await;
    let proposals = fake.proposals();
    assert!(proposals < 100, "{proposals} proposals for 500 deliveries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_delays_no_other() {
    let (fake, receivers) = (cluster(&[1, 2]), Receivers::new(&[(1, Manner::Hangs)]));
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    happen(&fake, 20);
    fake.reaches(|state| settled(state, 2, 20)).await;
    assert_eq!(receivers.of(1).len(), 1);
    assert_eq!(fake.state().backlog(id(1)).pending, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_again_then_dead_and_can_begin_anew() {
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[(1, Manner::Fails)]));
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    happen(&fake, 2);
    fake.reaches(|state| state.backlog(id(1)).dead == 2).await;
    assert_eq!(receivers.of(1).len(), 6, "three attempts each");
    assert!(fake.state().deliveries_of(id(1)).all(|d| d.attempts == 3 && d.error == "answered 500" && d.due.is_none()));
    receivers.behave(1, Manner::Takes);
    fake.apply(Command::Hook(HookCommand::Redeliver { webhook: id(1), number: None }));
    fake.reaches(|state| settled(state, 1, 2)).await;
    assert_eq!(fake.state().backlog(id(1)).dead, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_recovers_gets_everything() {
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[(1, Manner::Recovers(4))]));
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    happen(&fake, 10);
    fake.reaches(|state| settled(state, 1, 10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_term_goes_on_and_nothing_is_lost_without_a_quorum() {
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[(1, Manner::Hangs)]));
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    happen(&fake, 3);
    receivers.sees(1, 1).await;
    fake.lead(false);
    receivers.behave(1, Manner::Takes);
    fake.fail_next(3);
    fake.lead(true);
    fake.reaches(|state| settled(state, 1, 3)).await;
    let seen = receivers.of(1);
    // The old term may go on for a moment: what it has not had recorded is made again.
    let again = seen.iter().filter(|number| **number == seen[0]).count();
    assert!(seen.len() >= 4 && again >= 2 && seen.last() > seen.first(), "the one under way is made again: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_an_attempt_costs_no_event() {
    let (fake, receivers) = (cluster(&[1]), Receivers::new(&[(1, Manner::Panics)]));
    let _guard = start(&fake, &receivers);
    fake.lead(true);
    happen(&fake, 3);
    fake.reaches(|state| settled(state, 1, 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_says_once_that_it_leads() {
    let fake = cluster(&[]);
    let stop = tokio_util::sync::CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    tokio::spawn(while_leading("herald", fake.clone(), stop, Herald(options())));
    fake.fail_next(2);
    fake.lead(true);
    fake.reaches(|state| state.leader().is_some_and(|leader| leader.member == MemberId(1))).await;
    fake.quiet().await;
    let proposals = fake.proposals();
    fake.lead(false);
    fake.lead(true);
    fake.quiet().await;
    assert_eq!(fake.proposals(), proposals, "the same leader again is no change");
}
