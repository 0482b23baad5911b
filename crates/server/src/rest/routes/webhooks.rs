//! Webhooks, and what could not be delivered to them.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateWebhook, DeliveryState, Done, Redelivered};
use ring_api::query;
use ring_state::{Command, HookCommand, NewWebhook, State, Webhook};
use ring_types::{DeliveryId, EventFilter, Rule, Violation, WebhookId};

use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::view;
use crate::rest::write::Request;
use crate::{ids, webhooks};

/// Longest secret, bytes.
const MAX_SECRET: usize = 1024;

fn known(state: &State, id: WebhookId) -> Result<&Webhook> {
    state.webhook(id).map(AsRef::as_ref).ok_or_else(|| ApiError::not_found(ErrorCode::WebhookNotFound, id))
}

/// The webhooks, without their secrets.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", responses((status = 200, body = Vec<model::Webhook>)))]
pub(in crate::rest) async fn list(view: View) -> Json<Vec<model::Webhook>> {
    let mut found: Vec<_> = view.state.webhooks().map(|webhook| view::webhook(&view.state, webhook)).collect();
    found.sort_by_key(|webhook| (webhook.created_at, webhook.id));
    Json(found)
}

/// One webhook, without its secret.
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = model::Webhook)))]
pub(in crate::rest) async fn one(view: View, Id(id): Id<WebhookId>) -> Result<Json<model::Webhook>> {
    Ok(Json(view::webhook(&view.state, known(&view.state, id)?)))
}

/// Makes a webhook; a secret it does not bring is made, and in the reply, once.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = CreateWebhook,
    responses((status = 200, body = model::Webhook), (status = 422, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
    Body(body): Body<CreateWebhook>,
) -> Result<Json<Changed<model::Webhook>>> {
    let (url, events) = valid(&app, &body)?;
    let id = WebhookId(ids::derived(request.0, "webhook"));
    let made = body.secret.is_none().then(|| webhooks::generated(&app.secret, request.0));
    let secret = body.secret.as_ref().or(made.as_ref()).map_or("", String::as_str);
    let build = |state: &State| {
        let (key, sealed) = webhooks::seal(&app.secret, state, id, secret)?;
        let (url, events, created_by) = (url.clone(), events.clone(), caller.user.username.to_string());
        Ok(Command::Hook(HookCommand::Create(NewWebhook { id, url, events, sealed, key, created_by })))
    };
    let done = app.commit_sealed(&request, &app.store.read().await?, build).await?;
    let state = app.see(&done).await?;
    let object = model::Webhook { secret: made, ..view::webhook(&state, known(&state, id)?) };
    Ok(Json(Changed { object, revision: done.revision.0 }))
}

/// The address and the filters of a new webhook, or all that is wrong with it.
fn valid(app: &App, body: &CreateWebhook) -> Result<(String, Vec<EventFilter>)> {
    let mut violations = Vec::new();
    let url = webhooks::checked(&body.url, app.webhooks.allow_local).map(|url| url.to_string());
    if let Err(why) = &url {
        violations.push(Violation::new("url", "webhook.url", Rule::Invalid, why.clone()));
    }
    let mut events = Vec::new();
    for (i, text) in body.events.iter().enumerate() {
        match text.parse::<EventFilter>() {
            Ok(filter) => events.push(filter),
            Err(why) => violations.push(Violation::new(format!("events[{i}]"), "webhook.events", Rule::Unknown, why)),
        }
    }
    if body.secret.as_ref().is_some_and(|secret| secret.is_empty() || secret.len() > MAX_SECRET) {
        let message = format!("a secret has 1 to {MAX_SECRET} bytes; without one a good one is made");
        violations.push(Violation::new("secret", "webhook.secret", Rule::Length, message));
    }
    if events.is_empty() {
        events.push(EventFilter::All);
    }
    events.sort_unstable();
    events.dedup();
    match url {
        Ok(url) if violations.is_empty() => Ok((url, events)),
        _ => Err(ApiError::invalid(violations)),
    }
}

/// Deletes a webhook, with what was still to be delivered and its dead letters.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = Done)))]
pub(in crate::rest) async fn remove(
    Shared(app): Shared<App>,
    request: Request,
    Id(webhook): Id<WebhookId>,
) -> Result<Json<Done>> {
    let done = app.commit(&request, Command::Hook(HookCommand::Delete { webhook })).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}

/// Has a test delivered: an event of kind `webhook.test`.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = Done)))]
pub(in crate::rest) async fn test(Shared(app): Shared<App>, request: Request, Id(webhook): Id<WebhookId>) -> Result<Json<Done>> {
    let done = app.commit(&request, Command::Hook(HookCommand::Test { webhook })).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}

/// Deliveries that are still to be made and dead letters, oldest first; with `state` those of one state.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path), ("state" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<model::Delivery>)))]
pub(in crate::rest) async fn deliveries(
    view: View,
    Id(id): Id<WebhookId>,
    Query(query): Query,
) -> Result<Json<Vec<model::Delivery>>> {
    known(&view.state, id)?;
    let wanted: Option<DeliveryState> = query::word_of(&query, "state")?;
    let limit: Option<u32> = query::word_of(&query, "limit")?;
    let found = view.state.deliveries_of(id).map(|delivery| view::delivery(delivery));
    let found = found.filter(|delivery| wanted.is_none_or(|wanted| wanted == delivery.state));
    Ok(Json(found.take(limit.map_or(usize::MAX, |limit| limit as usize)).collect()))
}

/// Begins a dead letter anew.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/redeliver", tag = "webhooks",
    params(("id" = String, Path), ("delivery" = String, Path)),
    responses((status = 200, body = Redelivered), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn redeliver(
    Shared(app): Shared<App>,
    request: Request,
    path: std::result::Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Redelivered>> {
    let Path((id, delivery)) = path.map_err(|error| ApiError::new(ErrorCode::RequestPath, error.body_text()))?;
    let unknown = |text: &str| ApiError::new(ErrorCode::ObjectNotFound, format!("'{text}' is not an id"));
    let webhook: WebhookId = id.parse().map_err(|_| unknown(&id))?;
    let wanted: DeliveryId = delivery.parse().map_err(|_| unknown(&delivery))?;
    let state = app.store.read().await?;
    known(&state, webhook)?;
    let number = state.deliveries_of(webhook).find(|delivery| delivery.id() == wanted).map(|delivery| delivery.number);
    let number = number.ok_or_else(|| ApiError::not_found(ErrorCode::DeliveryNotFound, wanted))?;
    let done = app.commit(&request, Command::Hook(HookCommand::Redeliver { webhook, number: Some(number) })).await?;
    Ok(Json(Redelivered { redelivered: 1, revision: done.revision.0 }))
}

/// Begins all dead letters of a webhook anew.
#[utoipa::path(post, path = "/webhooks/{id}/redeliver", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = Redelivered)))]
pub(in crate::rest) async fn redeliver_all(
    Shared(app): Shared<App>,
    request: Request,
    Id(webhook): Id<WebhookId>,
) -> Result<Json<Redelivered>> {
    let redelivered = app.store.read().await?.backlog(webhook).dead as u64;
    let done = app.commit(&request, Command::Hook(HookCommand::Redeliver { webhook, number: None })).await?;
    Ok(Json(Redelivered { redelivered, revision: done.revision.0 }))
}
