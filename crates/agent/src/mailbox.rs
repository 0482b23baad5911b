//! News for one instance. News of a kind replaces older news of that kind, so a mailbox never grows.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ring_runtime::{MountedFile, RegistryLogin};
use ring_types::{Health, InstanceId, InstanceState, RuntimeKind};
use tokio::sync::Notify;

use crate::desired::Desired;

/// What comes with a claim that was granted. It has secrets in it: memory only, never a disk or a log.
#[derive(Clone, Default)]
pub(crate) struct Grant {
    /// Values of secrets by variable.
    pub(crate) environment: BTreeMap<String, String>,
    /// Configs and secrets to be mounted.
    pub(crate) files: Vec<MountedFile>,
    /// Credentials of the image's registry.
    pub(crate) registry: Option<RegistryLogin>,
    /// What is mounted for volumes on a file server, by their names: `server:/path`.
    pub(crate) exports: BTreeMap<String, String>,
}

/// Answer to a claim.
#[derive(Clone)]
pub(crate) enum ClaimAnswer {
    /// Committed; here is what it needs beside its specification.
    Granted(Grant),
    /// Committed, but a secret cannot be had.
    Unusable(String),
    /// Refused.
    Refused,
}

/// What has happened since a task last looked.
#[derive(Default)]
pub(crate) struct News {
    /// What is wanted now.
    pub(crate) desired: Option<Desired>,
    /// The claim's answer.
    pub(crate) claim: Option<ClaimAnswer>,
    /// A report of this state is committed.
    pub(crate) acknowledged: Option<InstanceState>,
    /// Its health checks say something else than before.
    pub(crate) health: Option<Health>,
    /// The runtime may have something new.
    pub(crate) look: bool,
    /// The runtime came back after a gap: what failed is worth another try.
    pub(crate) recovered: bool,
    /// A session began; true when it has another epoch, so that earlier claims do not count.
    pub(crate) session: Option<bool>,
}

/// The mailbox of one instance's task.
#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    news: News,
    any: bool,
    /// For whoever asks about the instance: which runtime has it.
    runtime: Option<RuntimeKind>,
}

impl Mailbox {
    /// Puts news in.
    pub(crate) fn put(&self, change: impl FnOnce(&mut News)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.news);
        state.any = true;
        drop(state);
        self.changed.notify_one();
    }

    /// Takes all news; None when there is none.
    pub(crate) fn take(&self) -> Option<News> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.any).then(|| std::mem::take(&mut state.news))
    }

    /// Is there news?
    pub(crate) fn is_empty(&self) -> bool {
        !self.state.lock().unwrap_or_else(PoisonError::into_inner).any
    }

    /// Returns the next news.
    pub(crate) async fn next(&self) -> News {
        loop {
            if let Some(news) = self.take() {
                return news;
            }
            self.changed.notified().await;
        }
    }

    /// Which runtime has the instance.
    pub(crate) fn runtime(&self) -> Option<RuntimeKind> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).runtime
    }

    /// Remembers which runtime has the instance.
    pub(crate) fn set_runtime(&self, kind: RuntimeKind) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).runtime = Some(kind);
    }
}

/// For log lines: an instance by the first eight digits of its id.
pub(crate) fn short(instance: InstanceId) -> String {
    let mut text = instance.to_string();
    text.truncate(8);
    text
}
