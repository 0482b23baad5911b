//! What is sent.

use ring_api::model::{HookObject, HookPayload};
use ring_controller::Attempt;
use ring_state::HookEvent;

/// The body of a delivery. The same over its retries.
pub(super) fn payload(attempt: &Attempt) -> HookPayload {
    let delivery = &attempt.delivery;
    let event: &HookEvent = &delivery.event;
    HookPayload {
        delivery: delivery.id(),
        number: delivery.number,
        kind: event.kind.as_str().to_owned(),
        at: event.at,
        cluster: attempt.cluster,
        object: object(&event.object),
        before: event.before.clone(),
        after: event.after.clone(),
        reason: event.reason.clone(),
        message: event.message.clone(),
        instance: event.instance,
        node: event.node,
    }
}

/// What an event is about, as receivers and the API have it.
pub(crate) fn object(object: &ring_state::HookObject) -> HookObject {
    use ring_state::HookObject as Of;
    let (kind, id, namespace, name) = match object {
        Of::Deployment { id, namespace, name } => ("deployment", id.to_string(), Some(namespace), Some(name)),
        Of::Node { id, name } => ("node", id.to_string(), None, Some(name)),
        Of::Cluster { id } => ("cluster", id.to_string(), None, None),
        Of::Webhook { id } => ("webhook", id.to_string(), None, None),
    };
    let (namespace, name) = (namespace.map(ToString::to_string), name.map(ToString::to_string));
    HookObject { kind: kind.to_owned(), id, namespace, name }
}
