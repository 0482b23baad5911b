//! Webhooks, deliveries to them, and every command about them.

use std::sync::Arc;

use ring_state::{AttemptResult, Delivery, HookCommand, HookEvent, HookObject, Leader, NewWebhook, Row, Webhook};
use ring_types::{EventFilter, HookKind, KeyId, MemberId, Revision};

use crate::{AT, CLUSTER, DEPLOYMENT, INSTANCE, LATER, NODE, WEBHOOK, name};

const VERSION: Revision = Revision(300);

fn events() -> Vec<EventFilter> {
    ["deployment.scaled", "node.*", "*"].map(|filter| filter.parse().unwrap()).to_vec()
}

pub(crate) fn commands() -> Vec<HookCommand> {
    let failed = AttemptResult {
        webhook: WEBHOOK,
        number: 77,
        attempt: 3,
        error: Some("answered 500 Internal Server Error".to_owned()),
        retry_at: Some(LATER),
    };
    let taken = AttemptResult { number: 78, attempt: 1, error: None, retry_at: None, ..failed.clone() };
    vec![
        HookCommand::Create(NewWebhook {
            id: WEBHOOK,
            url: "https://receiver.example/ring".to_owned(),
            events: events(),
            sealed: vec![9; 40],
            key: KeyId(0),
            created_by: "alice".to_owned(),
        }),
        HookCommand::Delete { webhook: WEBHOOK },
        HookCommand::Test { webhook: WEBHOOK },
        HookCommand::Redeliver { webhook: WEBHOOK, number: Some(77) },
        HookCommand::Settle { results: vec![failed, taken] },
        HookCommand::NoteLeader { member: MemberId(3), term: 9 },
    ]
}

fn delivery(object: HookObject) -> Delivery {
    let event = HookEvent {
        kind: HookKind::HealthCheckFailed,
        at: AT,
        object,
        before: Some("running".to_owned()),
        after: Some("failed".to_owned()),
        reason: "exit_code".to_owned(),
        message: "it ended with code 3".to_owned(),
        instance: Some(INSTANCE),
        node: Some(NODE),
    };
    Delivery {
        webhook: WEBHOOK,
        number: 77,
        event: Arc::new(event),
        attempts: 3,
        due: Some(LATER),
        failed_at: Some(AT),
        error: "timed out".to_owned(),
        version: VERSION,
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let deployment = HookObject::Deployment { id: DEPLOYMENT, namespace: name("shop"), name: name("web") };
    vec![
        Row::Webhook(Arc::new(Webhook {
            id: WEBHOOK,
            url: "https://receiver.example/ring".to_owned(),
            events: events(),
            sealed: vec![9; 40],
            key: KeyId(0),
            created_by: "alice".to_owned(),
            created_at: AT,
            delivered: 5,
            delivered_at: Some(LATER),
            dropped: 2,
            dropped_at: Some(AT),
            version: VERSION,
        })),
        Row::Delivery(Arc::new(delivery(deployment))),
        Row::Leader(Arc::new(Leader { member: MemberId(3), term: 9, since: AT, version: VERSION })),
    ]
}

/// A webhook, and the command that makes one, whose secret is sealed with a data key.
pub(crate) fn sealed() -> (HookCommand, Row) {
    let create = commands().into_iter().find_map(|command| match command {
        HookCommand::Create(wanted) => Some(HookCommand::Create(NewWebhook { key: KeyId(2), ..wanted })),
        _ => None,
    });
    let row = rows().into_iter().find_map(|row| match row {
        Row::Webhook(webhook) => Some(Row::Webhook(Arc::new(Webhook { key: KeyId(2), ..Webhook::clone(&webhook) }))),
        _ => None,
    });
    (create.unwrap(), row.unwrap())
}

/// Deliveries about the other objects; the last one is a dead letter.
pub(crate) fn others() -> [(&'static str, Row); 3] {
    let row = |object| Row::Delivery(Arc::new(delivery(object)));
    let dead = Delivery { due: None, ..delivery(HookObject::Webhook { id: WEBHOOK }) };
    [
        ("delivery_node", row(HookObject::Node { id: NODE, name: name("n1") })),
        ("delivery_cluster", row(HookObject::Cluster { id: CLUSTER })),
        ("delivery_dead", Row::Delivery(Arc::new(dead))),
    ]
}
