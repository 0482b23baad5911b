//! Output as it comes: one task an instance, and new tasks as instances come.

use std::collections::BTreeSet;
use std::time::Duration;

use ring_api::model;
use ring_api::query::LogQuery;
use ring_state::{Instance, State};
use ring_store::{Changes, Update};
use ring_types::{DeploymentId, InstanceId, InstanceState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cursor::{Cursor, Cursors, Skip};
use super::{line, matches};
use crate::rest::App;
use crate::rest::routes::follow::{Item, Source};
use crate::session::{LogError, LogRequest};

/// Lines that wait for the reader.
const AHEAD: usize = 256;
/// Between two attempts to reach a node that is away.
const RETRY: Duration = Duration::from_millis(500);
/// Attempts for an instance that has ended; one that runs is waited for.
const ATTEMPTS: u32 = 20;

/// The output of a deployment as it comes.
pub(super) struct Feed {
    app: App,
    id: DeploymentId,
    query: LogQuery,
    seen: Cursors,
    resumed: bool,
    state: State,
    changes: Changes,
    begun: BTreeSet<InstanceId>,
    readers: JoinSet<()>,
    sender: mpsc::Sender<model::LogLine>,
    lines: mpsc::Receiver<model::LogLine>,
}

impl Feed {
    pub(super) fn begin(app: &App, id: DeploymentId, query: LogQuery, seen: Option<Cursors>) -> Self {
        let watch = app.store.watch();
        let (sender, lines) = mpsc::channel(AHEAD);
        let mut feed = Self {
            app: app.clone(),
            id,
            query,
            resumed: seen.is_some(),
            seen: seen.unwrap_or_default(),
            state: watch.state,
            changes: watch.changes,
            begun: BTreeSet::new(),
            readers: JoinSet::new(),
            sender,
            lines,
        };
        feed.look(true);
        feed
    }

    /// Begins to read instances that are new. `tail` and `since` are about what was written before the caller came.
    fn look(&mut self, first: bool) {
        let named = |i: &Instance| self.query.container.as_deref().is_none_or(|c| matches(i, c));
        let new: Vec<_> = self.state.instances_of(self.id).filter(|i| named(i) && !self.begun.contains(&i.id)).cloned().collect();
        for instance in new {
            self.begun.insert(instance.id);
            let cursor = if self.resumed { self.seen.start(instance.id) } else { None };
            let old = first && cursor.is_none();
            let reader = Reader {
                app: self.app.clone(),
                tail: if old { self.query.tail.map(u64::from) } else { None },
                since_ms: self.query.since.map(|since| since.0),
                cursor: cursor.unwrap_or_default(),
                to: self.sender.clone(),
            };
            self.readers.spawn(reader.run(instance.id));
        }
    }

    /// Nothing will be written any more.
    fn over(&self) -> bool {
        let quiet = || !self.state.instances_of(self.id).any(|i| i.state.is_live());
        self.state.deployment(self.id).is_none_or(|d| (d.deleting || d.status.is_final()) && quiet())
    }
}

impl Source for Feed {
    async fn next(&mut self) -> Item {
        loop {
            let idle = self.readers.is_empty();
            if idle && self.over() && self.lines.is_empty() {
                return Item::End;
            }
            tokio::select! {
                biased;
                Some(line) = self.lines.recv() => {
                    let at = line.timestamp.unwrap_or_default().0;
                    self.seen.0.entry(line.instance).or_default().advance(at);
                    return Item::data(self.seen.encode(), &line);
                }
                Some(_) = self.readers.join_next(), if !idle => {}
                update = self.changes.next() => {
                    self.state = match update {
                        None => return Item::Stop,
                        Some(Update::Change(change)) => change.state,
                        Some(Update::Lagged { state }) => state,
                    };
                    self.look(false);
                }
            }
        }
    }
}

/// Reads one instance to its end, across sessions and control nodes.
struct Reader {
    app: App,
    tail: Option<u64>,
    since_ms: Option<i64>,
    cursor: Cursor,
    to: mpsc::Sender<model::LogLine>,
}

impl Reader {
    async fn run(mut self, id: InstanceId) {
        let mut attempts = 0;
        while let Some((state, instance)) = self.started(id).await {
            match self.read(&state, &instance).await {
                Ok(()) | Err(LogError::NotFound) => return,
                Err(_) if self.to.is_closed() => return,
                Err(_) => {
                    attempts = if instance.state == InstanceState::Running { 0 } else { attempts + 1 };
                    if attempts >= ATTEMPTS {
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Waits until the instance has something to say; None when it never will.
    async fn started(&self, id: InstanceId) -> Option<(State, std::sync::Arc<Instance>)> {
        let mut watch = self.app.store.watch();
        let mut state = watch.state;
        loop {
            let instance = state.instance(id)?.clone();
            if instance.state >= InstanceState::Removed {
                return None;
            }
            if instance.state >= InstanceState::Running {
                let ran = instance.started_at.is_some() || instance.state != InstanceState::Exited;
                return ran.then_some((state, instance));
            }
            state = match watch.changes.next().await? {
                Update::Change(change) => change.state,
                Update::Lagged { state } => state,
            };
        }
    }

    async fn read(&mut self, state: &State, instance: &Instance) -> Result<(), LogError> {
        let begun = self.cursor != Cursor::default();
        let request = LogRequest {
            instance: instance.id,
            tail: self.tail.filter(|_| !begun),
            since_ms: if begun { Some(self.cursor.at_ms) } else { self.since_ms },
            follow: true,
        };
        let mut stream = self.app.logs.open(instance.node, request).await?;
        let mut skip = Skip::new(self.cursor);
        while let Some(next) = stream.next().await {
            let next = next?;
            if skip.repeats(&next) {
                continue;
            }
            self.cursor.advance(next.at_ms);
            if self.to.send(line(state, instance, &next)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
