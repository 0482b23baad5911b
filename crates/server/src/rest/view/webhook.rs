//! Webhooks and deliveries.

use ring_api::model;
use ring_state::{Delivery, State, Webhook};

use crate::webhooks::object;

pub(in crate::rest) fn webhook(state: &State, webhook: &Webhook) -> model::Webhook {
    let backlog = state.backlog(webhook.id);
    model::Webhook {
        id: webhook.id,
        url: webhook.url.clone(),
        events: webhook.events.iter().map(ToString::to_string).collect(),
        secret: None,
        created_by: webhook.created_by.clone(),
        created_at: Some(webhook.created_at),
        delivered: webhook.delivered,
        delivered_at: webhook.delivered_at,
        pending: backlog.pending as u64,
        dead: backlog.dead as u64,
        dropped: webhook.dropped,
        dropped_at: webhook.dropped_at,
        version: webhook.version.0,
    }
}

pub(in crate::rest) fn delivery(delivery: &Delivery) -> model::Delivery {
    let state = if delivery.due.is_some() { model::DeliveryState::Pending } else { model::DeliveryState::Dead };
    model::Delivery {
        id: delivery.id(),
        number: delivery.number,
        state,
        kind: delivery.event.kind.as_str().to_owned(),
        at: delivery.event.at,
        object: object(&delivery.event.object),
        attempts: delivery.attempts,
        failed_at: delivery.failed_at,
        error: delivery.error.clone(),
        next_at: delivery.due,
    }
}
