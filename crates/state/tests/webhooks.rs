//! What webhooks are told, and what becomes of it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{World, deployment_id, instance_id, job, node_id, worker};
use proptest::prelude::*;
use ring_state::{
    Action, AttemptResult, AuditNote, AuditedCommand, Command, Delivery, HookCommand, HookEvent, HookObject, NewWebhook,
    RefusalCode, Reply, RolloutPhase, Row, State, limits,
};
use ring_types::{
    DeploymentStatus, EventFilter, FailingCheck, Health, InstanceState, KeyId, MemberId, Outcome, Timestamp, WebhookId,
};
use uuid::Uuid;

fn id(n: u128) -> WebhookId {
    WebhookId(Uuid::from_u128(n))
}

fn create(n: u128, events: &[&str]) -> Command {
    let events: Vec<EventFilter> = events.iter().map(|text| text.parse().unwrap()).collect();
    let url = format!("https://receiver.example/secret-path-{n}");
    Command::Hook(HookCommand::Create(NewWebhook {
        id: id(n),
        url,
        events,
        sealed: vec![1],
        key: KeyId(0),
        created_by: "alice".into(),
    }))
}

fn hook(world: &mut World, n: u128, events: &[&str]) {
    assert_eq!(world.run(create(n, events)), Reply::Done);
}

fn of(state: &State, n: u128) -> Vec<Arc<Delivery>> {
    state.deliveries_of(id(n)).cloned().collect()
}

/// Kind, name of the object, before and after of everything that is to be told.
fn told(state: &State, n: u128) -> Vec<String> {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let name = |event: &HookEvent| match &event.object {
        HookObject::Deployment { name, .. } | HookObject::Node { name, .. } => name.to_string(),
        HookObject::Cluster { .. } => "cluster".to_owned(),
        HookObject::Webhook { .. } => "webhook".to_owned(),
    };
    let line = |e: &HookEvent| format!("{} {} {} {}", e.kind, name(e), word(&e.before), word(&e.after));
    of(state, n).iter().map(|delivery| line(&delivery.event)).collect()
}

fn settle(world: &mut World, results: Vec<AttemptResult>) {
    assert_eq!(world.run(Command::Hook(HookCommand::Settle { results })), Reply::Done);
}

fn result(delivery: &Delivery, error: Option<&str>, retry_at: Option<i64>) -> AttemptResult {
    AttemptResult {
        webhook: delivery.webhook,
        number: delivery.number,
        attempt: delivery.attempts + 1,
        error: error.map(str::to_owned),
        retry_at: retry_at.map(Timestamp),
    }
}

fn status(world: &mut World, n: u128, status: DeploymentStatus) {
    let action = Action::SetStatus {
        deployment: deployment_id(n),
        status,
        reason: "why".into(),
        message: "because".into(),
        conditions: Vec::new(),
        exit: None,
    };
    assert_eq!(world.plan(vec![action]), 0);
}

#[test]
fn every_change_of_a_status_is_told_from_the_beginning_to_the_end() {
    let mut world = World::new();
    hook(&mut world, 1, &["*"]);
    world.apply(1, worker("web", 1));
    for next in [DeploymentStatus::Creating, DeploymentStatus::Running, DeploymentStatus::CrashLoopBackOff] {
        status(&mut world, 1, next);
    }
    world.run(Command::DeleteDeployments { ids: vec![deployment_id(1)] });
    assert_eq!(
        told(&world.state, 1),
        [
            "deployment.status_changed web - pending",
            "deployment.status_changed web pending creating",
            "deployment.status_changed web creating running",
            "deployment.status_changed web running crash_loop_back_off",
            "deployment.error web running crash_loop_back_off",
            "deployment.status_changed web crash_loop_back_off deleted",
        ]
    );
    let deliveries = of(&world.state, 1);
    assert!(deliveries.windows(2).all(|pair| pair[0].number < pair[1].number));
    let event = &deliveries[4].event;
    assert_eq!((event.reason.as_str(), event.message.as_str()), ("why", "because"));
}

#[test]
fn scales_checks_nodes_and_leaders_are_told() {
    let mut world = World::new();
    hook(&mut world, 1, &["deployment.scaled", "deployment.health_check_failed", "node.*", "cluster.*"]);
    let node = world.node(1);
    let (web, _) = world.apply(1, worker("web", 1));
    world.create(11, web, node);
    assert!(world.claim(node, 1, 11));
    world.report(node, 11, InstanceState::Running, None);
    let failing = vec![FailingCheck { check: 0, message: "HTTP 503".into() }];
    let report = ring_state::InstanceReport {
        health: Some(Health { ready: false, failing }),
        ..ring_state::InstanceReport::of(instance_id(11), InstanceState::Running)
    };
    world.run(Command::Report { node, epoch: None, reports: vec![report.clone()] });
    world.run(Command::Report { node, epoch: None, reports: vec![report] });
    world.apply(2, worker("web", 3));
    world.lose_node(node, 1);
    world.run(Command::RemoveNode { node });
    for (member, term) in [(1, 2), (1, 3), (2, 4), (1, 4), (1, 3), (1, 5)] {
        world.run(Command::Hook(HookCommand::NoteLeader { member: MemberId(member), term }));
    }
    assert_eq!(
        told(&world.state, 1),
        [
            "node.status_changed n1 - joining",
            "node.status_changed n1 joining ready",
            "deployment.health_check_failed web - -",
            "deployment.scaled web 1 3",
            "node.status_changed n1 ready lost",
            "node.status_changed n1 lost -",
            "cluster.leader_changed cluster - c1",
            "cluster.leader_changed cluster c1 2",
            "cluster.leader_changed cluster 2 c1",
        ]
    );
    let check = &of(&world.state, 1)[2].event;
    assert_eq!((check.instance, check.node), (Some(instance_id(11)), Some(node_id(1))));
    assert_eq!(check.message, "health check 0 fails: HTTP 503");
}

fn checked(replicas: u32, image: &str) -> ring_types::DeploymentSpec {
    let mut spec = worker("web", replicas);
    spec.image = image.into();
    spec.health_checks = vec![ring_types::HealthCheck {
        kind: ring_types::CheckKind::Tcp { port: 80 },
        interval: ring_types::Span(1_000),
        timeout: ring_types::Span(1_000),
        threshold: 3,
        on_failure: ring_types::CheckAction::Alert,
        readiness: true,
        min_healthy_time: ring_types::Span::ZERO,
        start_period: ring_types::Span::ZERO,
    }];
    spec
}

#[test]
fn a_rolling_update_is_told_from_its_start_to_its_end() {
    let mut world = World::new();
    hook(&mut world, 1, &["deployment.rolling_update"]);
    world.apply(1, checked(1, "a"));
    status(&mut world, 1, DeploymentStatus::Running);
    world.apply(2, checked(1, "b"));
    world.apply(3, checked(1, "c"));
    let (reason, message) = ("rollout_deadline".to_owned(), "not ready in time".to_owned());
    let fail = Action::EndRollout { deployment: deployment_id(3), phase: RolloutPhase::Failed, reason, message };
    assert_eq!(world.plan(vec![fail]), 0);
    world.apply(4, checked(1, "d"));
    world.run(Command::DeleteDeployments { ids: vec![deployment_id(1)] });
    assert_eq!(
        told(&world.state, 1),
        [
            "deployment.rolling_update web - started",
            "deployment.rolling_update web started called_off",
            "deployment.rolling_update web - started",
            "deployment.rolling_update web started failed",
            "deployment.rolling_update web - started",
            "deployment.rolling_update web started completed",
        ]
    );
    let ids: Vec<_> = of(&world.state, 1)
        .iter()
        .map(|delivery| match &delivery.event.object {
            HookObject::Deployment { id, .. } => *id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [2, 2, 3, 3, 4, 4].map(deployment_id));
}

#[test]
fn a_webhook_is_told_what_it_asks_for_and_nothing_is_numbered_without_one() {
    let mut world = World::new();
    world.apply(1, worker("web", 1));
    status(&mut world, 1, DeploymentStatus::Failed);
    let plain = world.state.clone();
    assert_eq!(plain.rows().filter(|row| matches!(row, Row::Delivery(_))).count(), 0);
    hook(&mut world, 1, &["node.*"]);
    hook(&mut world, 2, &["deployment.error"]);
    hook(&mut world, 3, &["deployment.status_changed", "deployment.error"]);
    world.apply(2, job("j"));
    status(&mut world, 2, DeploymentStatus::Failed);
    assert_eq!(of(&world.state, 1).len(), 0);
    assert_eq!(told(&world.state, 2), ["deployment.error j pending failed"]);
    assert_eq!(told(&world.state, 3).len(), 3);
    let (two, three) = (of(&world.state, 2), of(&world.state, 3));
    assert_eq!(two[0].number, three[2].number, "one event has one number");
    assert_ne!(two[0].id(), three[2].id(), "and each webhook a delivery of its own");
    world.run(Command::Hook(HookCommand::Test { webhook: id(1) }));
    assert_eq!(told(&world.state, 1), ["webhook.test webhook - -"]);
}

#[test]
fn deliveries_end_taken_or_dead_and_dead_ones_begin_anew() {
    let mut world = World::new();
    hook(&mut world, 1, &["*"]);
    world.apply(1, worker("web", 1));
    world.apply(2, worker("api", 1));
    let [first, second] = [of(&world.state, 1)[0].clone(), of(&world.state, 1)[1].clone()];
    settle(&mut world, vec![result(&first, None, None), result(&second, Some("answered 500"), Some(9_000))]);
    let webhook = world.state.webhook(id(1)).unwrap();
    assert_eq!((webhook.delivered, webhook.delivered_at), (1, Some(Timestamp(world.now))));
    let left = of(&world.state, 1);
    assert_eq!((left.len(), left[0].attempts, left[0].due), (1, 1, Some(Timestamp(9_000))));
    assert_eq!(world.state.due_deliveries(id(1)).collect::<Vec<_>>(), [(Timestamp(9_000), left[0].number)]);
    // A result of the attempt before is passed over.
    settle(&mut world, vec![result(&second, Some("late"), None)]);
    assert_eq!(of(&world.state, 1)[0].error, "answered 500");
    let refused = world.run(Command::Hook(HookCommand::Redeliver { webhook: id(1), number: Some(left[0].number) }));
    assert!(matches!(refused, Reply::Refused(refusal) if refusal.code == RefusalCode::Invalid));

    settle(&mut world, vec![result(&left[0], Some("timed out"), None)]);
    assert_eq!((world.state.backlog(id(1)).pending, world.state.backlog(id(1)).dead), (0, 1));
    assert_eq!(world.state.due_deliveries(id(1)).count(), 0);
    let dead = of(&world.state, 1)[0].clone();
    assert_eq!((dead.due, dead.attempts, dead.error.as_str()), (None, 2, "timed out"));
    world.run(Command::Hook(HookCommand::Redeliver { webhook: id(1), number: None }));
    let again = of(&world.state, 1)[0].clone();
    assert_eq!((again.id(), again.attempts, again.due), (dead.id(), 0, Some(Timestamp(world.now))));
    let missing = world.run(Command::Hook(HookCommand::Redeliver { webhook: id(1), number: Some(1) }));
    assert!(matches!(missing, Reply::Refused(refusal) if refusal.code == RefusalCode::NotFound));
    world.run(Command::Hook(HookCommand::Delete { webhook: id(1) }));
    assert_eq!((of(&world.state, 1).len(), world.state.webhooks().count()), (0, 0));
    assert!(world.state.backlog(id(1)) == ring_state::Backlog::default());
}

#[test]
fn too_much_goes_the_oldest_first_and_is_counted() {
    let mut world = World::new();
    hook(&mut world, 1, &["deployment.scaled"]);
    world.apply(1, worker("web", 1));
    let surplus = 7;
    for n in 0..limits::PENDING_PER_WEBHOOK + surplus {
        world.apply(2, worker("web", 1 + u32::from(n % 2 == 0)));
    }
    let left = of(&world.state, 1);
    assert_eq!(left.len(), limits::PENDING_PER_WEBHOOK);
    assert_eq!(world.state.webhook(id(1)).unwrap().dropped, surplus as u64);
    assert_eq!(left[0].number - of(&world.state, 1)[0].number, 0);

    // All die; of the dead letters the newest stay, and those go that are too old.
    let results: Vec<_> = left.iter().map(|delivery| result(delivery, Some("x"), None)).collect();
    settle(&mut world, results);
    let dead = of(&world.state, 1);
    assert_eq!(dead.len(), limits::DEAD_LETTERS_PER_WEBHOOK);
    assert_eq!(dead.last().unwrap().number, left.last().unwrap().number);
    world.now += limits::DEAD_LETTER_AGE.0 as i64 + 2;
    assert_eq!(world.state.expired_dead_letters(Timestamp(world.now)).len(), dead.len());
    settle(&mut world, Vec::new());
    assert_eq!(of(&world.state, 1).len(), 0);
}

#[test]
fn there_are_not_more_webhooks_than_are_allowed() {
    let mut world = World::new();
    for n in 0..limits::WEBHOOKS {
        hook(&mut world, n as u128 + 1, &["*"]);
    }
    let refused = world.run(create(1_000, &["*"]));
    assert!(matches!(refused, Reply::Refused(refusal) if refusal.code == RefusalCode::LimitReached));
    let taken = world.run(create(1, &["*"]));
    assert!(matches!(taken, Reply::Refused(refusal) if refusal.code == RefusalCode::Conflict));
}

#[test]
fn the_audit_record_has_the_receivers_host_and_not_its_path() {
    let mut world = World::new();
    let note = AuditNote {
        user: "alice".into(),
        user_id: None,
        token: None,
        token_name: String::new(),
        address: String::new(),
        served_by: "c1".into(),
        action: "webhook.create".into(),
    };
    for command in [create(1, &["*"]), Command::Hook(HookCommand::Delete { webhook: id(1) })] {
        world.run(Command::Audited(Box::new(AuditedCommand { note: note.clone(), command: Box::new(command) })));
    }
    let names: Vec<_> = world.state.audit().map(|line| line.record.objects[0].name.clone()).collect();
    assert_eq!(names, ["https://receiver.example"; 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: what is counted is what is there, and a state read back from its rows is the same.
    #[test]
    fn counts_and_indexes_are_those_of_the_rows(steps in prop::collection::vec((0_u8..8, any::<u16>()), 0..80)) {
        let mut world = World::new();
        hook(&mut world, 1, &["*"]);
        hook(&mut world, 2, &["deployment.scaled"]);
        world.apply(1, worker("web", 1));
        for (step, pick) in steps {
            let webhook = 1 + u128::from(pick % 2);
            let all = of(&world.state, webhook);
            let some = (!all.is_empty()).then(|| all[usize::from(pick) % all.len()].clone());
            match (step, some) {
                (0, _) => drop(world.apply(2, worker("web", 1 + u32::from(pick) % 5))),
                (1, Some(d)) => settle(&mut world, vec![result(&d, None, None)]),
                (2, Some(d)) => settle(&mut world, vec![result(&d, Some("e"), Some(i64::from(pick)))]),
                (3, Some(d)) => settle(&mut world, vec![result(&d, Some("e"), None)]),
                (4, Some(d)) => drop(world.run(Command::Hook(HookCommand::Redeliver { webhook: id(webhook), number: Some(d.number) }))),
                (5, _) => drop(world.run(Command::Hook(HookCommand::Redeliver { webhook: id(webhook), number: None }))),
                (6, _) if pick % 5 == 0 => drop(world.run(Command::Hook(HookCommand::Delete { webhook: id(webhook) }))),
                (6, _) => drop(world.run(create(webhook, &["deployment.*"]))),
                _ => drop(world.run(Command::Hook(HookCommand::Test { webhook: id(webhook) }))),
            }
            for n in [1, 2] {
                let all = of(&world.state, n);
                let backlog = world.state.backlog(id(n));
                prop_assert_eq!(backlog.pending, all.iter().filter(|d| d.due.is_some()).count());
                prop_assert_eq!(backlog.dead, all.len() - backlog.pending);
                let mut due: Vec<_> = all.iter().filter_map(|d| Some((d.due?, d.number))).collect();
                due.sort_unstable();
                prop_assert_eq!(world.state.due_deliveries(id(n)).collect::<Vec<_>>(), due);
            }
        }
        let rows: Vec<Row> = world.state.rows().collect();
        let read = State::from_rows(world.state.revision(), rows.clone()).unwrap();
        prop_assert_eq!(read.rows().collect::<Vec<_>>(), rows);
        prop_assert_eq!(read.backlog(id(1)), world.state.backlog(id(1)));
    }
}

/// An instance that ends tells nothing by itself: the status that follows from it does.
#[test]
fn what_instances_do_is_told_through_their_deployment() {
    let mut world = World::new();
    hook(&mut world, 1, &["*"]);
    let node = world.node(1);
    let (migrate, _) = world.apply(1, job("migrate"));
    let before = told(&world.state, 1).len();
    world.create(11, migrate, node);
    assert!(world.claim(node, 1, 11));
    world.report(node, 11, InstanceState::Exited, Some(Outcome::Code(0)));
    assert_eq!(told(&world.state, 1).len(), before);
    status(&mut world, 1, DeploymentStatus::Completed);
    assert_eq!(told(&world.state, 1).last().unwrap(), "deployment.status_changed migrate pending completed");
}
