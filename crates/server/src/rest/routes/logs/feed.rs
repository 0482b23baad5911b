//! Output as it comes: one task an instance, and new tasks as instances come. What takes the place of a worker is followed
//! on: its rolling update, its replacement.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ring_api::model;
use ring_api::query::LogQuery;
use ring_state::{Instance, State};
use ring_store::{Changes, Update};
use ring_types::{DeploymentId, InstanceId, InstanceState, Kind, Name, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cursor::{Cursor, Cursors, Skip};
use super::merge::Merge;
use super::{gap, line, matches};
use crate::rest::App;
use crate::rest::routes::follow::{Item, Source};
use crate::session::{LogError, LogRequest};

/// Lines that wait for the reader.
const AHEAD: usize = 256;
/// Between two attempts to reach a node that is away.
const RETRY: Duration = Duration::from_millis(500);
/// Attempts for an instance that has ended; one that runs is waited for.
const ATTEMPTS: u32 = 20;
/// Attempts without an answer after which the client is told: a session that moves takes less.
const SILENT: u32 = 6;

/// The output of a deployment as it comes.
pub(super) struct Feed {
    app: App,
    id: DeploymentId,
    query: LogQuery,
    seen: Cursors,
    resumed: bool,
    state: State,
    changes: Changes,
    /// Those that come after it.
    successors: Option<Successors>,
    begun: BTreeSet<InstanceId>,
    /// Whose readers have not come to their end.
    reading: BTreeSet<InstanceId>,
    readers: JoinSet<InstanceId>,
    merge: Merge,
    sender: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
    gaps: VecDeque<model::LogGap>,
}

/// What a reader has to say.
enum Said {
    Line(model::LogLine),
    /// An instance cannot be read for now.
    Away(InstanceId),
    /// It could not for a while, and the client is to know.
    Gap(model::LogGap),
}

/// The records of a worker's name made since it was.
struct Successors {
    namespace: Name,
    name: Name,
    since: Timestamp,
}

impl Successors {
    fn of(state: &State, id: DeploymentId) -> Option<Self> {
        let deployment = state.deployment(id).filter(|deployment| deployment.spec.kind == Kind::Worker)?;
        let (namespace, name) = (deployment.spec.namespace.clone(), deployment.spec.name.clone());
        Some(Self { namespace, name, since: deployment.created_at })
    }
}

impl Feed {
    pub(super) fn begin(app: &App, id: DeploymentId, query: LogQuery, seen: Option<Cursors>) -> Self {
        let watch = app.store.watch();
        let (sender, said) = mpsc::channel(AHEAD);
        let mut feed = Self {
            app: app.clone(),
            id,
            query,
            resumed: seen.is_some(),
            seen: seen.unwrap_or_default(),
            successors: Successors::of(&watch.state, id),
            state: watch.state,
            changes: watch.changes,
            begun: BTreeSet::new(),
            reading: BTreeSet::new(),
            readers: JoinSet::new(),
            merge: Merge::default(),
            sender,
            said,
            gaps: VecDeque::new(),
        };
        feed.look(true);
        feed
    }

    /// Begins to read instances that are new. `tail` and `since` are about what was written before the caller came.
    fn look(&mut self, first: bool) {
        let named = |i: &Instance| self.query.container.as_deref().is_none_or(|c| matches(i, c));
        let instances = self.records().into_iter().flat_map(|id| self.state.instances_of(id));
        let new: Vec<_> = instances.filter(|i| named(i) && !self.begun.contains(&i.id)).cloned().collect();
        for instance in new {
            self.begun.insert(instance.id);
            self.reading.insert(instance.id);
            let cursor = if self.resumed { self.seen.start(instance.id) } else { None };
            let old = first && cursor.is_none();
            let reader = Reader {
                app: self.app.clone(),
                tail: if old { self.query.tail.map(u64::from) } else { None },
                since_ms: self.query.since.map(|since| since.0),
                cursor: cursor.unwrap_or_default(),
                to: self.sender.clone(),
            };
            let id = instance.id;
            self.readers.spawn(async move {
                reader.run(id).await;
                id
            });
        }
    }

    /// The deployment, and what comes after it.
    fn records(&self) -> Vec<DeploymentId> {
        let named = self.successors.iter().flat_map(|s| {
            let later = |id: &DeploymentId, at: Timestamp| *id != self.id && at >= s.since;
            self.state.deployments_named(&s.namespace, &s.name).filter(move |d| later(&d.id, d.created_at)).map(|d| d.id)
        });
        std::iter::once(self.id).chain(named).collect()
    }

    /// Nothing will be written any more.
    fn over(&self) -> bool {
        let quiet = |id: DeploymentId| !self.state.instances_of(id).any(|i| i.state.is_live());
        let gone = |id: DeploymentId| self.state.deployment(id).is_none_or(|d| d.deleting || d.status.is_final());
        self.records().into_iter().all(|id| gone(id) && quiet(id))
    }
}

impl Source for Feed {
    async fn next(&mut self) -> Item {
        loop {
            if let Some(line) = self.merge.pop(&self.reading, Instant::now()) {
                let at = line.timestamp.unwrap_or_default().0;
                self.seen.advance(line.instance, at);
                return Item::data(self.seen.encode(), &line);
            }
            if let Some(gap) = self.gaps.pop_front() {
                return Item::named("incomplete", &gap);
            }
            let idle = self.readers.is_empty();
            let due = self.merge.due();
            if idle && self.over() && self.said.is_empty() {
                return Item::End;
            }
            tokio::select! {
                biased;
                Some(said) = self.said.recv() => match said {
                    Said::Line(line) => self.merge.push(line, Instant::now()),
                    Said::Away(id) => self.seen.falls_behind(id),
                    Said::Gap(gap) => self.gaps.push_back(gap),
                },
                Some(ended) = self.readers.join_next(), if !idle => {
                    if let Ok(id) = ended {
                        self.reading.remove(&id);
                    }
                }
                () = until(due), if due.is_some() => {}
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

/// The moment the line that has waited longest goes on.
async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

/// Reads one instance to its end, across sessions and control nodes.
struct Reader {
    app: App,
    tail: Option<u64>,
    since_ms: Option<i64>,
    cursor: Cursor,
    to: mpsc::Sender<Said>,
}

impl Reader {
    async fn run(mut self, id: InstanceId) {
        let (mut attempts, mut silent) = (0, 0);
        while let Some((state, instance)) = self.started(id).await {
            let before = self.cursor;
            match self.read(&state, &instance).await {
                Ok(()) | Err(LogError::NotFound) => return,
                Err(_) if self.to.is_closed() => return,
                Err(error) => {
                    attempts = if instance.state == InstanceState::Running { 0 } else { attempts + 1 };
                    silent = if self.cursor == before { silent + 1 } else { 1 };
                    self.tell(silent, gap(&state, &instance, &error)).await;
                    if attempts >= ATTEMPTS {
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Says that nothing came once more: `silent` times in a row.
    async fn tell(&self, silent: u32, gap: model::LogGap) {
        // Whoever reads no more has no use for it.
        if silent == 1 {
            let _ = self.to.send(Said::Away(gap.instance)).await;
        }
        if silent == SILENT {
            let _ = self.to.send(Said::Gap(gap)).await;
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
            if self.to.send(Said::Line(line(state, instance, &next))).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}
