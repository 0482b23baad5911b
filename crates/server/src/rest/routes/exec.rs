//! Commands run in an instance, over a WebSocket. What speaks against it is said before the upgrade, in the form of every error.

mod talk;

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ring_api::errors::ErrorCode;
use ring_api::exec::{LONGEST, PROTOCOL, Started};
use ring_api::query::ExecQuery;
use ring_proto::agent::v1::{ExecStart, TerminalSize};
use ring_state::{AuditObject, Deployment, Instance, State};
use ring_types::{DeploymentId, InstanceState};

use super::deployments::find;
use super::still::Still;
use crate::rest::App;
use crate::rest::audit;
use crate::rest::auth::{Caller, Verb};
use crate::rest::body::Id;
use crate::rest::error::{ApiError, Result};
use crate::rest::read::{Query, View};
use crate::rest::write::Request;
use crate::session::AskError;
use talk::Talk;

/// Characters of a program's name that are recorded.
const PROGRAM: usize = 200;
/// Messages of output under way to a client that set no window of its own.
const WINDOW: u32 = 32;

/// Run a command in an instance that runs, over a WebSocket.
#[utoipa::path(get, path = "/deployments/{id}/exec", tag = "deployments",
    description = "Runs a command in an instance that runs, over a WebSocket with the subprotocol `ring.exec.v1`. Every message is \
        binary; its first byte is the channel: 0 input (from the client), 1 output, 2 error output (from the server), 3 control, one \
        JSON object of the schema `Control`. A message carries at most 16 KiB of input or output. The server begins with `started` \
        and ends with `exit_code` or `error`, then closes. A client sends at most `input_window` messages of input beyond those \
        `taken`; one that sets `window` is sent at most so many messages of output beyond those it has told as `taken`.",
    params(("id" = String, Path), ("command" = Vec<String>, Query), ("container" = Option<String>, Query),
        ("stdin" = Option<bool>, Query), ("tty" = Option<bool>, Query), ("rows" = Option<u16>, Query),
        ("columns" = Option<u16>, Query), ("window" = Option<u32>, Query)),
    responses((status = 101, body = ring_api::exec::Control, description = "The command has begun."),
        (status = 400, body = ring_api::problem::Problem), (status = 403, body = ring_api::problem::Problem),
        (status = 404, body = ring_api::problem::Problem), (status = 409, body = ring_api::problem::Problem),
        (status = 426, body = ring_api::problem::Problem), (status = 503, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn exec(
    Shared(app): Shared<App>,
    caller: Caller,
    view: View,
    request: Request,
    Id(id): Id<DeploymentId>,
    Query(query): Query,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let query = ExecQuery::parse(&query)?;
    let deployment = &find(&view.state, &caller, id)?;
    if deployment.deleting {
        return Err(ApiError::new(ErrorCode::ObjectState, format!("deployment '{id}' is being deleted")));
    }
    let (instance, others) = choose(&view.state, deployment, query.container.as_deref())?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.protocols([PROTOCOL]).max_message_size(LONGEST).max_frame_size(LONGEST),
        Err(rejection) => return Ok(not_a_websocket(&rejection)),
    };
    let still = Still::allowed(&app, &caller, Verb::Write)?.with(id);
    let node = view.state.node(instance.node).map_or_else(|| instance.node.to_string(), |node| node.name.to_string());
    let deed = deed(deployment, &instance, &query);
    app.record(audit::allowed(&request.1, Some(&deployment.spec.namespace), Some(deed))).await?;
    let running = app.execs.run(instance.node, start(&instance, &query)).await.map_err(|error| refused(&node, error))?;
    let started = Started { instance: instance.id, node, others, input_window: running.input_window };
    let talk = Talk { running, still, pulse: app.pulse.clone(), stop: app.stop.clone(), takes: query.window };
    Ok(upgrade.on_upgrade(move |socket| talk.run(socket, started)))
}

/// What the audit says was done, by whom the request's own note says. It is committed before the node is asked: of one that does not
/// answer nobody knows whether it ran the command. Arguments may hold what belongs in no record.
fn deed(deployment: &Deployment, instance: &Instance, query: &ExecQuery) -> AuditObject {
    let program: String = query.command.iter().take(1).flat_map(|program| program.chars().take(PROGRAM)).collect();
    AuditObject { outcome: format!("asked to run {program} in {}", instance.id), ..super::logs::object(deployment) }
}

fn start(instance: &Instance, query: &ExecQuery) -> ExecStart {
    ExecStart {
        stream: 0,
        instance_id: instance.id.to_string(),
        command: query.command.clone(),
        stdin: query.stdin,
        terminal: query.terminal.map(|size| TerminalSize { rows: size.rows.into(), columns: size.columns.into() }),
        window: query.window.unwrap_or(WINDOW),
    }
}

/// The instance that is meant, and how many others might have been.
fn choose(state: &State, deployment: &Deployment, named: Option<&str>) -> Result<(Arc<Instance>, u32)> {
    let mut found: Vec<_> =
        state.instances_of(deployment.id).filter(|i| named.is_none_or(|n| super::logs::matches(i, n))).collect();
    if let (true, Some(named)) = (found.is_empty(), named) {
        return Err(ApiError::not_found(ErrorCode::InstanceNotFound, named));
    }
    let latest = found.iter().max_by_key(|i| (i.created_at, i.id)).map(|i| (i.id, i.state));
    found.retain(|instance| instance.state == InstanceState::Running);
    found.sort_by_key(|instance| (instance.slot, instance.id));
    match (found.as_slice(), named) {
        ([], _) => Err(not_running(deployment, latest.map(|(id, state)| format!("; instance {id} is {state}")))),
        ([_, _, ..], Some(named)) => {
            let detail = format!("'{named}' fits {} instances that run: write more of the id", found.len());
            Err(ApiError::new(ErrorCode::RequestQuery, detail))
        }
        ([first, others @ ..], _) => Ok((Arc::clone(first), others.len() as u32)),
    }
}

fn not_running(deployment: &Deployment, also: Option<String>) -> ApiError {
    let (namespace, name) = (&deployment.spec.namespace, &deployment.spec.name);
    let detail = format!("no instance of deployment '{namespace}/{name}' runs{}", also.unwrap_or_default());
    ApiError::new(ErrorCode::InstanceNotRunning, detail)
}

/// Why a command cannot be begun on a node, or has no end that is known.
fn refused(node: &str, error: AskError) -> ApiError {
    let at_node = |code, what: &str| ApiError::new(code, format!("node '{node}': {what}"));
    match error {
        AskError::NotConnected => at_node(ErrorCode::NodeUnreachable, "it is not connected to any control node that answers"),
        AskError::NotFound => at_node(ErrorCode::InstanceNotRunning, "the instance does not run there any more"),
        AskError::Refused(why) => at_node(ErrorCode::ExecRefused, &why),
        AskError::Interrupted(why) => at_node(ErrorCode::ExecInterrupted, &why),
        AskError::TimedOut => at_node(ErrorCode::ExecInterrupted, "it did not say in time that the command has begun"),
    }
}

fn not_a_websocket(rejection: &WebSocketUpgradeRejection) -> Response {
    let mut response = ApiError::new(ErrorCode::RequestUpgrade, rejection.body_text()).into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}
