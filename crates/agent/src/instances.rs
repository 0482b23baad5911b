//! Every instance this node knows of, each with its task: gives them what comes from control nodes and runtimes.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt as _;
use ring_runtime::{Found, Hint, Runtime};
use ring_types::{Epoch, Generation, Goal, InstanceId, InstanceState, Revision, RuntimeKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::desired::{Assignment, Desired};
use crate::health::History;
use crate::mailbox::{ClaimAnswer, Mailbox, short};
use crate::record::Record;
use crate::task::InstanceTask;

/// What a control node says is to be done, read from the wire.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) revision: Revision,
    /// Whatever is not named is not this node's any more.
    pub(crate) complete: bool,
    /// Every instance it names, those that could not be read included.
    pub(crate) named: BTreeSet<InstanceId>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) removed: Vec<InstanceId>,
}

/// The instances of this node.
pub(crate) struct Instances {
    context: Arc<Context>,
    state: Mutex<State>,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Where a task that panicked is told.
    panics: mpsc::UnboundedSender<String>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<InstanceId, Known>,
    /// A complete set was heard in this run.
    complete: bool,
    /// Epoch of the latest session.
    epoch: Option<Epoch>,
}

struct Known {
    mailbox: Arc<Mailbox>,
    /// What its health checks saw.
    history: Arc<History>,
    desired: Desired,
    /// Generation of its record when this run began.
    recorded: Option<Generation>,
    /// The first state of the cluster that had it here.
    revision: Option<Revision>,
    /// It may not run without contact.
    minds_contact: bool,
}

impl Instances {
    /// Starts with what the ledger has.
    pub(crate) fn new(
        context: Arc<Context>,
        records: BTreeMap<InstanceId, Record>,
        stop: CancellationToken,
        panics: mpsc::UnboundedSender<String>,
    ) -> Arc<Self> {
        let instances = Arc::new(Self { context, state: Mutex::default(), tracker: TaskTracker::new(), stop, panics });
        let mut state = instances.state();
        for (instance, record) in records {
            instances.spawn(&mut state, instance, Some(record));
        }
        drop(state);
        instances
    }

    /// A session was welcomed.
    pub(crate) fn welcomed(&self, epoch: Epoch) {
        let mut state = self.state();
        let other = state.epoch.replace(epoch).is_some_and(|before| before != epoch);
        for known in state.known.values() {
            known.mailbox.put(|news| news.session = Some(other || news.session == Some(true)));
        }
    }

    /// A control node says what is to be done.
    pub(crate) fn assign(self: &Arc<Self>, assigned: Assigned) {
        let mut state = self.state();
        for assignment in assigned.assignments {
            self.offer(&mut state, assignment);
        }
        state.complete |= assigned.complete;
        let gone: Vec<_> = if assigned.complete {
            state.known.keys().filter(|instance| !assigned.named.contains(instance)).copied().collect()
        } else {
            assigned.removed
        };
        for instance in gone {
            dismiss(&mut state, instance, assigned.revision);
        }
    }

    fn offer(self: &Arc<Self>, state: &mut State, assignment: Assignment) {
        let instance = assignment.instance;
        if !state.known.contains_key(&instance) {
            if assignment.state == InstanceState::Removed {
                return;
            }
            self.spawn(state, instance, None);
        }
        let Some(known) = state.known.get_mut(&instance) else { return };
        let revision = assignment.revision;
        match known.desired.accept(known.recorded, assignment) {
            Ok(desired) if desired == known.desired => {}
            Ok(desired) => {
                known.revision.get_or_insert(revision);
                known.minds_contact |= matches!(&desired, Desired::Assigned(a) if a.spec.stop_on_disconnect.is_some());
                known.desired = desired.clone();
                known.mailbox.put(|news| news.desired = Some(desired));
            }
            Err(distrust) => tracing::error!(instance = short(instance), %distrust, "an assignment is not believed"),
        }
    }

    /// A claim was answered.
    pub(crate) fn claimed(&self, instance: InstanceId, answer: ClaimAnswer) {
        if let Some(known) = self.state().known.get(&instance) {
            known.mailbox.put(|news| news.claim = Some(answer));
        }
    }

    /// A report was committed.
    pub(crate) fn acknowledged(&self, instance: InstanceId, state: InstanceState) {
        if let Some(known) = self.state().known.get(&instance) {
            known.mailbox.put(|news| news.acknowledged = news.acknowledged.max(Some(state)));
        }
    }

    /// A runtime has something new.
    pub(crate) fn hint(&self, kind: RuntimeKind, hint: Hint) {
        let state = self.state();
        match hint {
            Hint::Instance(instance) => {
                if let Some(known) = state.known.get(&instance) {
                    known.mailbox.put(|news| news.look = true);
                }
            }
            Hint::Everything => {
                for known in state.known.values().filter(|known| known.mailbox.runtime().is_none_or(|has| has == kind)) {
                    known.mailbox.put(|news| (news.look, news.recovered) = (true, true));
                }
            }
        }
    }

    /// Takes up instances that a runtime has and nobody knows of.
    pub(crate) fn adopt(self: &Arc<Self>, found: Vec<Found>) {
        let mut state = self.state();
        for found in found {
            if state.known.contains_key(&found.instance) {
                continue;
            }
            tracing::info!(instance = short(found.instance), runtime = %found.runtime, "found on this host, not in the ledger");
            self.spawn(&mut state, found.instance, None);
            let complete = state.complete;
            if let Some(known) = state.known.get_mut(&found.instance) {
                known.mailbox.set_runtime(found.runtime);
                if complete {
                    known.desired = Desired::Gone;
                    known.mailbox.put(|news| news.desired = Some(Desired::Gone));
                }
            }
        }
    }

    /// The runtime that has an instance.
    pub(crate) fn runtime_of(&self, instance: InstanceId) -> Option<Arc<dyn Runtime>> {
        let kind = self.state().known.get(&instance)?.mailbox.runtime()?;
        self.context.runtime(kind)
    }

    /// Instances that are to run and whose deployment scales with its load, each with its runtime.
    pub(crate) fn scaling(&self) -> Vec<(InstanceId, Arc<dyn Runtime>)> {
        let state = self.state();
        let scales = |(id, known): (&InstanceId, &Known)| {
            let Desired::Assigned(assignment) = &known.desired else { return None };
            let wanted = assignment.goal == Goal::Run && assignment.spec.autoscale.is_some();
            wanted.then(|| self.context.runtime(assignment.spec.runtime).map(|runtime| (*id, runtime))).flatten()
        };
        state.known.iter().filter_map(scales).collect()
    }

    /// Does anything here have to be stopped when there is no contact?
    pub(crate) fn mind_contact(&self) -> bool {
        self.state().known.values().any(|known| known.minds_contact)
    }

    /// What the health checks of an instance saw.
    pub(crate) fn history_of(&self, instance: InstanceId) -> Option<Arc<History>> {
        self.state().known.get(&instance).map(|known| Arc::clone(&known.history))
    }

    /// How many instances have a task.
    pub(crate) fn count(&self) -> usize {
        self.state().known.len()
    }

    /// Ends every task; what they drive runs on.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn spawn(self: &Arc<Self>, state: &mut State, instance: InstanceId, record: Option<Record>) {
        let mailbox = Arc::new(Mailbox::default());
        if let Some(record) = &record {
            mailbox.set_runtime(record.runtime);
        }
        let history = Arc::<History>::default();
        let known = Known {
            mailbox: Arc::clone(&mailbox),
            history: Arc::clone(&history),
            desired: Desired::Unknown,
            recorded: record.as_ref().map(|record| record.generation),
            revision: record.as_ref().map(|record| record.revision),
            minds_contact: record.as_ref().is_some_and(|record| record.stop_on_disconnect.is_some()),
        };
        state.known.insert(instance, known);
        let task = InstanceTask::new(Arc::clone(&self.context), instance, (mailbox, history), record);
        let (all, stop, panics) = (Arc::downgrade(self), self.stop.clone(), self.panics.clone());
        self.tracker.spawn(async move {
            let run = AssertUnwindSafe(task.run(|| finish(&all, instance))).catch_unwind();
            if let Some(Err(_)) = stop.run_until_cancelled(run).await {
                // Told to the agent, which ends: its next run takes the instance up from the ledger.
                let _ = panics.send(format!("the task of instance {instance}"));
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance is not this node's any more, as far as the state at `revision` knows.
fn dismiss(state: &mut State, instance: InstanceId, revision: Revision) {
    let Some(known) = state.known.get_mut(&instance) else { return };
    if known.revision.is_some_and(|first| revision < first) {
        tracing::warn!(instance = short(instance), %revision, "a state from before it was assigned does not name it: passed over");
        return;
    }
    if known.desired != Desired::Gone {
        known.desired = Desired::Gone;
        known.mailbox.put(|news| news.desired = Some(Desired::Gone));
    }
}

/// Takes a task's instance off the list, unless something came up for it.
fn finish(all: &Weak<Instances>, instance: InstanceId) -> bool {
    let Some(all) = all.upgrade() else { return true };
    let mut state = all.state();
    let over = state.known.get(&instance).is_none_or(|known| known.mailbox.is_empty() && known.desired == Desired::Gone);
    if over {
        state.known.remove(&instance);
        all.context.stats.forget(instance);
    }
    over
}
