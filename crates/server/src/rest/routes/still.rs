//! Whether what let a stream begin still holds: a token can be revoked or expire, an account change, a deployment go, while somebody
//! listens to it.

use std::time::Duration;

use ring_api::errors::ErrorCode;
use ring_state::{RowKey, State};
use ring_store::{Update, Watch};
use ring_types::{DeploymentId, Timestamp};

use crate::clock;
use crate::rest::App;
use crate::rest::auth::{Caller, Resource, Verb};
use crate::rest::error::{ApiError, Result};
use crate::rest::limit::StreamSlot;

/// What a stream about deployments stands on.
pub(super) struct Still {
    ground: Ground,
    watch: Watch,
}

struct Ground {
    caller: Caller,
    verb: Verb,
    deployment: Option<DeploymentId>,
    /// It counts as a stream of its token as long as it stands.
    _slot: StreamSlot,
}

impl Still {
    /// That the caller may do it, from now on.
    ///
    /// # Errors
    /// When its token has as many streams as it may.
    pub(super) fn allowed(app: &App, caller: &Caller, verb: Verb) -> Result<Self> {
        let slot = app.caller_limit().streams().take(caller.token.id)?;
        let ground = Ground { caller: caller.clone(), verb, deployment: None, _slot: slot };
        Ok(Self { ground, watch: app.store.watch() })
    }

    /// And that this deployment is there.
    pub(super) fn with(mut self, deployment: DeploymentId) -> Self {
        self.ground.deployment = Some(deployment);
        self
    }

    /// Returns when it does not hold any more, and says why.
    pub(super) async fn ends(self) -> ApiError {
        let Self { ground, watch } = self;
        let expiry = ground.caller.token.expires_at;
        tokio::select! {
            error = ground.lost(watch) => error,
            () = at(expiry) => ApiError::unauthenticated("the token has expired"),
        }
    }
}

impl Ground {
    /// A state is looked at and let go of: a stream lasts, and would hold on to all that has changed since.
    async fn lost(&self, Watch { mut state, mut changes }: Watch) -> ApiError {
        loop {
            if let Err(error) = self.holds(&state) {
                return error;
            }
            drop(state);
            state = loop {
                match changes.next().await {
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
            RowKey::Deployment(id) => Some(*id) == self.deployment,
            _ => false,
        }
    }

    fn holds(&self, state: &State) -> Result<()> {
        let known = Caller::of(state, &self.caller.token.hash, clock::now());
        let caller = known.ok_or_else(|| ApiError::unauthenticated("the token was revoked, or has expired"))?;
        caller.require(self.verb, Resource::Deployments)?;
        let Some(id) = self.deployment else { return Ok(()) };
        let gone = || ApiError::new(ErrorCode::DeploymentNotFound, format!("deployment '{id}' was deleted"));
        state.deployment(id).filter(|found| !found.deleting).map(drop).ok_or_else(gone)
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
