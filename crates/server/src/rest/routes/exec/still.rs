//! Whether what let a command begin still holds: the token, what it may do, the deployment, and contact with a leader who would know.

use std::time::Duration;

use ring_api::errors::ErrorCode;
use ring_state::{Deployment, RowKey, State};
use ring_store::{Changes, Update};
use ring_types::{DeploymentId, Timestamp};

use crate::clock;
use crate::rest::App;
use crate::rest::auth::{Caller, Resource, Verb};
use crate::rest::error::ApiError;
use crate::services::Pulse;

/// What a command stands on.
pub(super) struct Still {
    caller: Caller,
    deployment: DeploymentId,
    state: State,
    changes: Changes,
    pulse: Pulse,
}

impl Still {
    /// Looks from now on.
    pub(super) fn new(app: &App, caller: &Caller, deployment: &Deployment) -> Self {
        let watch = app.store.watch();
        let (state, changes) = (watch.state, watch.changes);
        Self { caller: caller.clone(), deployment: deployment.id, state, changes, pulse: app.pulse.clone() }
    }

    /// Returns when it does not hold any more, and says why.
    pub(super) async fn ends(mut self) -> ApiError {
        let pulse = self.pulse.clone();
        let expiry = self.caller.token.expires_at;
        tokio::select! {
            error = self.changed() => error,
            () = at(expiry) => ApiError::unauthenticated("the token has expired"),
            () = pulse.until_isolated() => {
                ApiError::new(ErrorCode::NoLeader, "this control node has no contact with a leader any more")
            }
        }
    }

    async fn changed(&mut self) -> ApiError {
        loop {
            if let Err(error) = self.holds() {
                return error;
            }
            self.state = loop {
                match self.changes.next().await {
                    None => return ApiError::new(ErrorCode::ServerStopping, "this control node is stopping"),
                    Some(Update::Lagged { state }) => break state,
                    Some(Update::Change(change)) if change.keys.iter().any(|key| self.concerns(key)) => break change.state,
                    Some(Update::Change(_)) => {}
                }
            };
        }
    }

    fn concerns(&self, key: &RowKey) -> bool {
        match key {
            RowKey::Token(id) => *id == self.caller.token.id,
            RowKey::User(id) => *id == self.caller.user.id,
            RowKey::Deployment(id) => *id == self.deployment,
            _ => false,
        }
    }

    fn holds(&self) -> Result<(), ApiError> {
        let known = Caller::of(&self.state, &self.caller.token.hash, clock::now());
        let caller = known.ok_or_else(|| ApiError::unauthenticated("the token was revoked, or has expired"))?;
        caller.require(Verb::Write, Resource::Deployments)?;
        let found = self.state.deployment(self.deployment).filter(|deployment| !deployment.deleting);
        let gone = || ApiError::new(ErrorCode::DeploymentNotFound, format!("deployment '{}' was deleted", self.deployment));
        caller.require_namespace(&found.ok_or_else(gone)?.spec.namespace)
    }
}

/// Returns at a time, or never without one.
async fn at(time: Option<Timestamp>) {
    let Some(time) = time else { return std::future::pending().await };
    loop {
        let left = time.0.saturating_sub(clock::now().0);
        let Ok(left @ 1..) = u64::try_from(left) else { return };
        // Looked at again, as clocks are set.
        tokio::time::sleep(Duration::from_millis(left).min(Duration::from_mins(1))).await;
    }
}
