//! Webhooks, what is sent to them, and what could not be.

use ring_types::{ClusterId, DeliveryId, InstanceId, NodeId, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// A webhook: somebody who is told of events by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// Identity.
    #[schema(value_type = String)]
    pub id: WebhookId,
    /// Where events are sent.
    pub url: String,
    /// What it asks for: kinds such as `deployment.scaled`, families such as `node.*`, or `*`.
    pub events: Vec<String>,
    /// The secret deliveries are signed with: only in the reply that made the webhook, and only when it gave none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Name of the account that made it.
    #[serde(default)]
    pub created_by: String,
    /// When it was made.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Timestamp>,
    /// Deliveries the receiver has taken.
    #[serde(default)]
    pub delivered: u64,
    /// When it took the last one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub delivered_at: Option<Timestamp>,
    /// Deliveries that are still to be made.
    #[serde(default)]
    pub pending: u64,
    /// Dead letters: deliveries that are not tried any more.
    #[serde(default)]
    pub dead: u64,
    /// Events that were dropped, because too many waited for delivery.
    #[serde(default)]
    pub dropped: u64,
    /// When the last one was dropped.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub dropped_at: Option<Timestamp>,
    /// Revision that last wrote it.
    #[serde(default)]
    pub version: u64,
}

/// Body of `POST /webhooks`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// Where to send events: `http` or `https`.
    pub url: String,
    /// What to send; everything when left out.
    #[serde(default)]
    pub events: Vec<String>,
    /// The secret to sign with; one is made, and told once, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl std::fmt::Debug for CreateWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateWebhook").field("url", &self.url).field("events", &self.events).finish_non_exhaustive()
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookObject {
    /// `deployment`, `node`, `cluster` or `webhook`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Identity.
    pub id: String,
    /// Namespace of a deployment.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name of a deployment or node.
    #[serde(default)]
    pub name: Option<String>,
}

impl HookObject {
    /// What a person calls it: `namespace/name`, a name, or its type.
    pub fn full_name(&self) -> String {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name.clone(),
            _ => self.kind.clone(),
        }
    }
}

/// Body of a delivery, as receivers get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookPayload {
    /// Identity of the delivery, the same over its retries: what a receiver tells a repetition by.
    #[schema(value_type = String)]
    pub delivery: DeliveryId,
    /// Number of the event. It grows over the whole cluster, so that a receiver can tell the order.
    pub number: u64,
    /// What happened, such as `deployment.status_changed`.
    pub kind: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// In which cluster.
    #[schema(value_type = String)]
    pub cluster: ClusterId,
    /// To what.
    pub object: HookObject,
    /// What it was before: a status, a number of replicas, the name of a control node. Null where there was nothing.
    #[serde(default)]
    pub before: Option<String>,
    /// What it is now.
    #[serde(default)]
    pub after: Option<String>,
    /// One word for why; empty when there is nothing to say.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people; empty when there is nothing to say.
    #[serde(default)]
    pub message: String,
    /// The instance it happened to.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub instance: Option<InstanceId>,
    /// The node it happened on.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Still to be made.
    Pending,
    /// Not tried any more.
    Dead,
}

words!(DeliveryState { Pending = "pending", Dead = "dead" });

/// A delivery that is still to be made, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Identity, as the receiver gets it.
    #[schema(value_type = String)]
    pub id: DeliveryId,
    /// Number of the event.
    pub number: u64,
    /// Where it is.
    pub state: DeliveryState,
    /// What happened.
    pub kind: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// To what.
    pub object: HookObject,
    /// Attempts that failed.
    pub attempts: u32,
    /// When the last one failed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub failed_at: Option<Timestamp>,
    /// Why it failed; empty before the first attempt.
    #[serde(default)]
    pub error: String,
    /// When the next attempt is due; null for a dead letter.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub next_at: Option<Timestamp>,
}

/// Reply to `POST /webhooks/{id}/redeliver` and to the same of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Redelivered {
    /// Dead letters that are tried anew.
    pub redelivered: u64,
    /// Log index of the change.
    pub revision: u64,
}
