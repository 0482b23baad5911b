//! The output of a deployment: of all its instances, wherever they run.

mod cursor;
mod feed;
mod merge;

use std::collections::BTreeMap;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use ring_api::errors::ErrorCode;
use ring_api::model;
use ring_api::query::LogQuery;
use ring_proto::agent::v1::LogLine;
use ring_state::{AuditObject, Deployment, Instance, State};
use ring_types::{DeploymentId, InstanceState, Timestamp};

use super::deployments::find;
use super::follow;
use super::still::Still;
use crate::rest::App;
use crate::rest::audit;
use crate::rest::auth::{Caller, Verb};
use crate::rest::body::{Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::write::Request;
use crate::session::{LogError, LogRequest};

/// Lines of one reply, the newest; more come with `follow` or `since`.
const MAX_LINES: usize = 20_000;
/// Says whose output is left out.
const INCOMPLETE: HeaderName = HeaderName::from_static(ring_api::LOGS_INCOMPLETE);
/// Nodes an error tells of; the rest are counted.
const MAX_NODES: usize = 5;
/// Instances that header tells of; the rest are counted.
const MAX_GAPS: usize = 100;

/// What the instances of a deployment wrote, by time.
///
/// With `follow=true` as server-sent events, taken up anew with `Last-Event-ID`, and on to what takes the place of a worker.
/// The header `Ring-Logs-Incomplete` says whose output could not be had and why, as JSON: `{"gaps": [LogGap], "more": N}`, at most
/// 100 of them and how many more; a stream says it in an event `incomplete`, a `LogGap`, for each. Without a line of any, 503.
#[utoipa::path(get, path = "/deployments/{id}/logs", tag = "deployments",
    params(("id" = String, Path), ("tail" = Option<u32>, Query), ("since" = Option<String>, Query),
        ("container" = Option<String>, Query), ("follow" = Option<bool>, Query)),
    responses((status = 200, content((Vec<model::LogLine> = "application/json"), (String = "text/event-stream")))))]
pub(in crate::rest) async fn logs(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    headers: HeaderMap,
    request: Request,
    Id(id): Id<DeploymentId>,
    Query(query): Query,
) -> Result<Response> {
    let query = LogQuery::parse(&query)?;
    let deployment = find(&view.state, &caller, id)?;
    if let Some(container) = &query.container
        && !view.state.instances_of(id).any(|i| matches(i, container))
    {
        return Err(ApiError::not_found(ErrorCode::InstanceNotFound, container));
    }
    app.audit.add(audit::allowed(&request.1, Some(&deployment.spec.namespace), Some(object(&deployment))));
    if query.follow {
        let seen = follow::last_id(&headers).map(cursor::Cursors::parse);
        let still = Still::allowed(&app, &caller, Verb::Read)?;
        return Ok(follow::respond(feed::Feed::begin(&app, id, query, seen), still, app.stop.clone()));
    }
    so_far(&app, &view.state, id, &query).await
}

pub(super) fn object(deployment: &Deployment) -> AuditObject {
    let (kind, name, id) = ("deployment".to_owned(), deployment.spec.name.to_string(), deployment.id.to_string());
    AuditObject { kind, name, id, outcome: String::new() }
}

/// Shortest end of an id that names an instance.
const MIN_END: usize = 4;

/// Is it the instance a caller names, by its id, the beginning of it, or its end, as it stands before each line?
pub(super) fn matches(instance: &Instance, named: &str) -> bool {
    let id = instance.id.to_string();
    !named.is_empty() && (id.starts_with(named) || (named.len() >= MIN_END && id.ends_with(named)))
}

fn request(instance: &Instance, query: &LogQuery) -> LogRequest {
    LogRequest {
        instance: instance.id,
        tail: query.tail.map(u64::from),
        since_ms: query.since.map(|since| since.0),
        follow: false,
    }
}

fn line(state: &State, instance: &Instance, line: &LogLine) -> model::LogLine {
    model::LogLine {
        instance: instance.id,
        node: state.node(instance.node).map(|n| n.name.to_string()).unwrap_or_default(),
        timestamp: Some(Timestamp(line.at_ms)),
        stream: if line.stderr { model::LogStream::Stderr } else { model::LogStream::Stdout },
        line: String::from_utf8_lossy(&line.line).into_owned(),
    }
}

async fn so_far(app: &App, state: &State, id: DeploymentId, query: &LogQuery) -> Result<Response> {
    let named = |i: &&std::sync::Arc<Instance>| query.container.as_deref().is_none_or(|c| matches(i, c));
    let ran = |i: &&std::sync::Arc<Instance>| i.state >= InstanceState::Starting && i.state < InstanceState::Removed;
    let instances: Vec<_> = state.instances_of(id).filter(named).filter(ran).cloned().collect();
    let reads = instances.iter().map(|instance| read(app, state, instance, query));
    let results = futures::future::join_all(reads).await;
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for (instance, result) in instances.iter().zip(results) {
        match result {
            Ok(found) => lines.extend(found),
            Err(error) => failed.push(gap(state, instance, &error)),
        }
    }
    if !failed.is_empty() && lines.is_empty() {
        return Err(ApiError::new(ErrorCode::LogsUnreachable, nothing(&failed)));
    }
    lines.sort_by_key(|l| l.timestamp);
    let surplus = lines.len().saturating_sub(MAX_LINES);
    lines.drain(..surplus);
    let mut response = Json(lines).into_response();
    if let Some(value) = told(failed) {
        response.headers_mut().insert(INCOMPLETE, value);
    }
    Ok(response)
}

fn gap(state: &State, instance: &Instance, error: &LogError) -> model::LogGap {
    let node = state.node(instance.node).map_or_else(|| instance.node.to_string(), |n| n.name.to_string());
    model::LogGap { instance: instance.id, node, reason: error.to_string() }
}

/// The value of the header that says whose output is left out.
fn told(mut gaps: Vec<model::LogGap>) -> Option<HeaderValue> {
    let more = gaps.len().saturating_sub(MAX_GAPS) as u32;
    gaps.truncate(MAX_GAPS);
    let text = serde_json::to_vec(&model::LogGaps { gaps, more }).ok()?;
    HeaderValue::from_bytes(&text).ok().filter(|_| !text.starts_with(b"{\"gaps\":[]"))
}

/// Nothing could be had: each node once, with the first reason it has.
fn nothing(gaps: &[model::LogGap]) -> String {
    let nodes: BTreeMap<_, _> = gaps.iter().rev().map(|gap| (gap.node.as_str(), gap.reason.as_str())).collect();
    let more = nodes.len().saturating_sub(MAX_NODES);
    let named = nodes.iter().take(MAX_NODES).map(|(node, reason)| format!("no output from node '{node}': {reason}"));
    let more = (more > 0).then(|| format!("nor from {more} more"));
    named.chain(more).collect::<Vec<_>>().join("; ")
}

/// The lines of one instance, the newest of them.
async fn read(
    app: &App,
    state: &State,
    instance: &Instance,
    query: &LogQuery,
) -> std::result::Result<Vec<model::LogLine>, LogError> {
    let mut wanted = request(instance, query);
    wanted.tail = Some(wanted.tail.unwrap_or(MAX_LINES as u64).min(MAX_LINES as u64));
    let mut stream = match app.logs.open(instance.node, wanted).await {
        Err(LogError::NotFound) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut lines = Vec::new();
    while let Some(next) = stream.next().await {
        match next {
            Ok(next) if lines.len() < MAX_LINES => lines.push(line(state, instance, &next)),
            Ok(_) | Err(LogError::NotFound) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(lines)
}
