//! One function an endpoint of webhooks.

use reqwest::Method;
use ring_types::{DeliveryId, WebhookId};

use super::send::Request;
use super::{Client, ClientError};
use crate::model::{Changed, CreateWebhook, Delivery, DeliveryState, Done, Redelivered, Webhook};

impl Client {
    /// Webhooks, without their secrets.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientError> {
        self.call(Request::new(Method::GET, "/webhooks")).await
    }

    /// One webhook.
    pub async fn webhook(&self, id: WebhookId) -> Result<Webhook, ClientError> {
        self.call(Request::new(Method::GET, &format!("/webhooks/{id}"))).await
    }

    /// Makes a webhook.
    pub async fn create_webhook(&self, webhook: &CreateWebhook) -> Result<Changed<Webhook>, ClientError> {
        self.call(Request::new(Method::POST, "/webhooks").json(webhook)?).await
    }

    /// Deletes a webhook and what was to be delivered to it.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<Done, ClientError> {
        self.call(Request::new(Method::DELETE, &format!("/webhooks/{id}"))).await
    }

    /// Has a test delivered.
    pub async fn test_webhook(&self, id: WebhookId) -> Result<Done, ClientError> {
        self.call(Request::new(Method::POST, &format!("/webhooks/{id}/test"))).await
    }

    /// Deliveries that are still to be made or could not be, oldest first; in one state only, when it is given.
    pub async fn deliveries(&self, id: WebhookId, state: Option<DeliveryState>) -> Result<Vec<Delivery>, ClientError> {
        let query = state.map(|state| format!("?state={state}")).unwrap_or_default();
        self.call(Request::new(Method::GET, &format!("/webhooks/{id}/deliveries{query}"))).await
    }

    /// Begins a dead letter anew.
    pub async fn redeliver(&self, id: WebhookId, delivery: DeliveryId) -> Result<Redelivered, ClientError> {
        self.call(Request::new(Method::POST, &format!("/webhooks/{id}/deliveries/{delivery}/redeliver"))).await
    }

    /// Begins all dead letters anew.
    pub async fn redeliver_all(&self, id: WebhookId) -> Result<Redelivered, ClientError> {
        self.call(Request::new(Method::POST, &format!("/webhooks/{id}/redeliver"))).await
    }
}
