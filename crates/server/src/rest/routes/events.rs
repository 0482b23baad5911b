//! Events of a deployment.

use std::collections::VecDeque;

use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use ring_api::model::{self, EventLevel};
use ring_api::query::EventQuery;
use ring_state::State;
use ring_store::{Changes, Update};
use ring_types::DeploymentId;

use super::deployments::find;
use super::follow::{self, Item, Source};
use super::still::Still;
use crate::rest::App;
use crate::rest::auth::{Caller, Verb};
use crate::rest::body::{Id, Json};
use crate::rest::error::Result;
use crate::rest::read::{Query, View};
use crate::rest::view;

/// What happened to a deployment, oldest first; with `follow=true` as server-sent events, taken up anew with `Last-Event-ID`.
#[utoipa::path(get, path = "/deployments/{id}/events", tag = "deployments",
    params(("id" = String, Path), ("level" = Option<String>, Query), ("limit" = Option<u32>, Query), ("follow" = Option<bool>, Query)),
    responses((status = 200, content((Vec<model::DeploymentEvent> = "application/json"), (String = "text/event-stream")))))]
pub(in crate::rest) async fn events(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    headers: HeaderMap,
    Id(id): Id<DeploymentId>,
    Query(query): Query,
) -> Result<Response> {
    let query = EventQuery::parse(&query)?;
    find(&view.state, &caller, id)?;
    let level = query.level.unwrap_or_default();
    if !query.follow {
        return Ok(Json(newest(&view.state, id, level, None, query.limit)).into_response());
    }
    let after = follow::last_id(&headers).and_then(|id| id.parse().ok());
    let watch = app.store.watch();
    let first = newest(&watch.state, id, level, after, query.limit.filter(|_| after.is_none()));
    let gone = watch.state.deployment(id).is_none();
    let feed = Feed { id, level, after, changes: watch.changes, ready: first.into(), gone };
    Ok(follow::respond(feed, Still::allowed(&app, &caller, Verb::Read)?, app.stop.clone()))
}

/// Events after a number, oldest first; with a limit the newest of them.
fn newest(
    state: &State,
    id: DeploymentId,
    level: EventLevel,
    after: Option<u64>,
    limit: Option<u32>,
) -> Vec<model::DeploymentEvent> {
    let wanted = state.events(id).rev().take_while(|e| after.is_none_or(|after| e.id > after));
    let shown = wanted.map(|e| view::event(state, e)).filter(|e| e.level >= level);
    let mut found: Vec<_> = shown.take(limit.map_or(usize::MAX, |n| n as usize)).collect();
    found.reverse();
    found
}

struct Feed {
    id: DeploymentId,
    level: EventLevel,
    after: Option<u64>,
    changes: Changes,
    ready: VecDeque<model::DeploymentEvent>,
    gone: bool,
}

impl Source for Feed {
    async fn next(&mut self) -> Item {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = self.after.max(Some(event.id));
                return Item::data(event.id.to_string(), &event);
            }
            if self.gone {
                return Item::End;
            }
            let Some(update) = self.changes.next().await else { return Item::Stop };
            let state = match update {
                Update::Change(change) => change.state,
                Update::Lagged { state } => state,
            };
            self.gone = state.deployment(self.id).is_none();
            self.ready = newest(&state, self.id, self.level, self.after, None).into();
        }
    }
}
