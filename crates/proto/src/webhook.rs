//! Webhooks, and what is delivered to them.

use ring_state::{AttemptResult, Delivery, HookCommand, HookEvent, HookObject, Leader, NewWebhook, Webhook};
use ring_types::HookKind;

message! {
    Webhook => Webhook {
        id, url, events, sealed, key, created_by, created_at, delivered, delivered_at, dropped, dropped_at, version,
    }
    HookEvent => HookEvent { kind, at, object, before, after, reason, message, instance, node }
    Delivery => Delivery { webhook, number, event, attempts, due, failed_at, error, version }
    Leader => Leader { member, term, since, version }
    NewWebhook => NewWebhook { id, url, events, sealed, key, created_by }
    AttemptResult => AttemptResult { webhook, number, attempt, error, retry_at }
}

oneof! {
    HookObject => HookObject in hook_object {
        values {}
        records { Deployment { id, namespace, name }, Node { id, name }, Cluster { id }, Webhook { id } }
        tuples {}
    }
}

oneof! {
    HookCommand => HookCommand in hook_command {
        values { Create }
        records {
            Delete { webhook },
            Test { webhook },
            Redeliver { webhook, number },
            Settle { results },
            NoteLeader { member, term },
        }
        tuples {}
    }
}

enumeration! {
    HookKind => HookKind {
        StatusChanged, HealthCheckFailed, RollingUpdate, Scaled, Error, NodeStatusChanged, LeaderChanged, Test,
    }
}
