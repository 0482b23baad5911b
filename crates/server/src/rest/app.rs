//! What every handler has at hand.

use std::sync::Arc;

use ring_store::Store;
use ring_types::{ClusterId, MemberId, NodeId, Span};
use tokio_util::sync::CancellationToken;

use super::audit::Recorder;
use super::auth::{LoginLimit, Passwords, Uses};
use super::limit::{CallerLimit, CallerLimits};
use crate::pki::SecretKey;
use crate::refusals::Refusals;
use crate::services::{Admission, Pulse};
use crate::session::{Agents, Execs, Hub, Logs};
use crate::webhooks::WebhookOptions;

/// What an API is made of.
pub struct AppParts {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The control node that answers.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// The node on the same host, when it runs work.
    pub node: Option<NodeId>,
    /// Commits and state.
    pub store: Store,
    /// Seals secrets and makes tokens.
    pub secret: SecretKey,
    /// Longest time of a rolling update from one ready instance to the next.
    pub rollout_deadline: Span,
    /// Which receivers webhooks may have.
    pub webhooks: WebhookOptions,
    /// Makes join tokens.
    pub admission: Admission,
    /// Contact with the leader.
    pub pulse: Pulse,
    /// Agents here.
    pub hub: Hub,
    /// Output of instances.
    pub logs: Logs,
    /// Takes the lines of the audit record that make no entry of their own.
    pub audit: Arc<Recorder>,
    /// Takes the uses of API tokens.
    pub uses: Arc<Uses>,
    /// What agents alone know of their instances.
    pub agents: Agents,
    /// Commands in instances.
    pub execs: Execs,
    /// The control node stops: streams end.
    pub stop: CancellationToken,
    /// What one caller gets.
    pub limits: CallerLimits,
    /// Counts what is refused.
    pub refusals: Arc<Refusals>,
}

pub(super) struct Inner {
    pub(super) parts: AppParts,
    pub(super) passwords: Passwords,
    pub(super) logins: LoginLimit,
    pub(super) callers: CallerLimit,
}

/// The API of one control node. Copies are the same.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

impl App {
    /// An API of these parts.
    pub fn new(parts: AppParts) -> Self {
        let callers = CallerLimit::new(parts.limits);
        let inner = Inner { parts, passwords: Passwords::default(), logins: LoginLimit::default(), callers };
        Self { inner: Arc::new(inner) }
    }
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.inner.parts
    }
}

impl App {
    pub(super) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(super) fn logins(&self) -> &LoginLimit {
        &self.inner.logins
    }

    pub(super) fn caller_limit(&self) -> &CallerLimit {
        &self.inner.callers
    }
}
