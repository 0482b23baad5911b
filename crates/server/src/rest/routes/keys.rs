//! Rotation of the data key.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{Changed, KeyRotation};
use ring_state::{Command, NewDataKey, State};

use crate::keys;
use crate::rest::App;
use crate::rest::auth::Caller;
use crate::rest::body::Json;
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::write::Request;

/// Values that are tried and named when they do not open.
const NAMED: usize = 20;

/// How far the rotation of the data key is.
#[utoipa::path(get, path = "/secrets/rotate-key", tag = "secrets", responses((status = 200, body = KeyRotation)))]
pub(in crate::rest) async fn progress(Shared(app): Shared<App>, caller: Caller, view: View) -> Result<Json<KeyRotation>> {
    caller.require_everywhere()?;
    rotation(&app, view.state).await.map(Json)
}

/// Makes a new data key. The leader seals every value anew with it, while everything goes on.
#[utoipa::path(post, path = "/secrets/rotate-key", tag = "secrets",
    responses((status = 200, body = KeyRotation), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn rotate(
    Shared(app): Shared<App>,
    caller: Caller,
    request: Request,
) -> Result<Json<Changed<KeyRotation>>> {
    caller.require_everywhere()?;
    // Which key comes next depends on what is there, and this node's own copy may not know the last one yet.
    let id = app.store.read().await?.sealing_key().next();
    let sealed = keys::new_data_key(&app.secret, app.cluster, id)?;
    let (done, state) = app.commit_and_see(&request, Command::RotateDataKey(NewDataKey { id, sealed })).await?;
    Ok(Json(Changed { object: rotation(&app, state).await?, revision: done.revision.0 }))
}

/// Looking through all values takes a while when there are many: not on a thread that serves others.
async fn rotation(app: &App, state: State) -> Result<KeyRotation> {
    let secret = app.secret.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let current = state.current_data_key();
        let left: Vec<_> = state.sealed_otherwise().collect();
        KeyRotation {
            key: state.sealing_key().0,
            created_at: current.map(|key| key.created_at),
            done: current.is_none_or(|key| key.settled),
            left: u64::try_from(left.len()).unwrap_or(u64::MAX),
            unreadable: left.iter().take(NAMED).filter_map(|value| keys::unreadable(&secret, &state, value)).collect(),
        }
    });
    looking.await.map_err(|error| ApiError::new(ErrorCode::ServerInternal, error.to_string()))
}
