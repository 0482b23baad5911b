//! The planner's driver: what changed is planned at once, and what it says is proposed.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use ring_planner::{IdSource, Moment, Plan};
use ring_state::{Command, Reply, State};
use ring_store::{ProposeError, Update};
use ring_types::{DeploymentId, InstanceId, Revision, Span, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use uuid::Uuid;

use crate::ControllerOptions;
use crate::clock::{Fault, Look};
use crate::cluster::{Cluster, Stream};
use crate::queue::Queue;
use crate::supervise::Controller;

/// A clock that is set by no more than this changes nothing that matters.
const CLOCK_BEARS: Duration = Duration::from_secs(1);
/// Pause for deployments whose plan did not fit the facts twice in a row.
const MISFIT: Span = Span::seconds(1);

/// Drives the planner.
#[derive(Clone)]
pub(crate) struct Planner {
    options: ControllerOptions,
}

impl Planner {
    pub(crate) fn new(options: ControllerOptions) -> Self {
        Self { options }
    }
}

/// Identities that grow with time, so that those made together stand together.
struct FreshIds;

impl IdSource for FreshIds {
    fn instance(&mut self) -> InstanceId {
        InstanceId(Uuid::now_v7())
    }
}

#[async_trait]
impl<C: Cluster> Controller<C> for Planner {
    async fn lead(self, cluster: C) {
        let (view, changes) = cluster.watch();
        let queue = Queue::new(view);
        let leading_since = cluster.now();
        let driver = Driver {
            cluster,
            changes,
            queue,
            leading_since,
            look: Look::now(),
            retry_after: self.options.retry_after,
            misfits: BTreeSet::new(),
        };
        driver.run(self.options.sweep_every).await;
    }
}

/// The store was shut down.
struct Closed;

struct Driver<C: Cluster> {
    cluster: C,
    changes: C::Changes,
    queue: Queue,
    leading_since: Timestamp,
    look: Look,
    retry_after: Duration,
    /// Deployments of the last plan, when an action of it did not fit the facts.
    misfits: BTreeSet<DeploymentId>,
}

impl<C: Cluster> Driver<C> {
    async fn run(mut self, sweep_every: Duration) {
        let mut sweeps = interval_at(Instant::now() + sweep_every, sweep_every);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.turn().await.is_err() {
                return;
            }
            if !self.queue.is_idle() {
                continue;
            }
            let wake = self.queue.wake_at().map(|at| at.since(self.cluster.now()).duration());
            tokio::select! {
                update = self.changes.next() => match update {
                    Some(update) => self.queue.take_in(update),
                    None => return,
                },
                () = pause(wake) => {}
                _ = sweeps.tick() => self.sweep(),
            }
        }
    }

    /// Looks at everything, beginning with the state itself: whatever was never told is found by this.
    fn sweep(&mut self) {
        let (state, changes) = self.cluster.watch();
        self.changes = changes;
        self.queue.take_in(Update::Lagged { state });
    }

    /// Takes in what has changed, plans one batch, and has it committed.
    async fn turn(&mut self) -> Result<(), Closed> {
        self.catch_up().await?;
        let now = self.cluster.now();
        self.mind_the_clock(now);
        let batch = self.queue.next_batch(now);
        if batch.is_empty() {
            return Ok(());
        }
        let when = Moment { now, leading_since: self.leading_since };
        let plan = decide(self.queue.view.clone(), batch.clone(), when).await;
        self.queue.planned(&plan);
        if plan.actions.is_empty() { Ok(()) } else { self.commit(plan, batch).await }
    }

    /// What is waited for by the clock is waited for anew when the clock was set: what the state says when it happened was by
    /// another one.
    fn mind_the_clock(&mut self, now: Timestamp) {
        let look = Look::now();
        if let Some(Fault::ClockSet { millis }) = self.look.fault(&look, CLOCK_BEARS) {
            tracing::warn!(millis, "the clock was set: what is waited for by it is waited for from now on");
            self.leading_since = now;
        }
        self.look = look;
    }

    async fn commit(&mut self, plan: Plan, batch: BTreeSet<DeploymentId>) -> Result<(), Closed> {
        let count = plan.actions.len();
        match self.cluster.propose(Command::Plan { actions: plan.actions }).await {
            Ok(committed) => {
                let skipped = if let Reply::Planned { skipped } = committed.reply { skipped } else { 0 };
                tracing::debug!(actions = count, skipped, revision = committed.revision.0, "planned");
                self.reconsider(batch, skipped);
                self.reach(committed.revision).await
            }
            Err(ProposeError::Shutdown | ProposeError::Storage(_)) => Err(Closed),
            Err(error @ (ProposeError::NoQuorum { .. } | ProposeError::Unknown { .. } | ProposeError::TooLarge { .. })) => {
                tracing::warn!(%error, "a plan was not committed; planning again");
                self.queue.again(batch);
                sleep(self.retry_after).await;
                Ok(())
            }
        }
    }

    /// What did not fit the facts is planned again: at once the first time, after a pause when it did not help.
    fn reconsider(&mut self, batch: BTreeSet<DeploymentId>, skipped: u32) {
        if skipped == 0 {
            self.misfits.clear();
            return;
        }
        let (repeated, first): (BTreeSet<_>, BTreeSet<_>) = batch.iter().partition(|id| self.misfits.contains(id));
        self.queue.later(&repeated, self.cluster.now() + MISFIT);
        self.queue.again(first);
        self.misfits = batch;
    }

    /// Takes in changes until a revision is seen, so that nothing is planned twice from a view that lacks it.
    async fn reach(&mut self, revision: Revision) -> Result<(), Closed> {
        while self.queue.view.revision() < revision {
            let update = self.changes.next().await.ok_or(Closed)?;
            self.queue.take_in(update);
        }
        Ok(())
    }

    /// Takes in the changes that are there already.
    async fn catch_up(&mut self) -> Result<(), Closed> {
        loop {
            tokio::select! {
                biased;
                update = self.changes.next() => self.queue.take_in(update.ok_or(Closed)?),
                () = std::future::ready(()) => return Ok(()),
            }
        }
    }
}

/// Planning many may take a while: not on a thread that serves others.
async fn decide(view: State, batch: BTreeSet<DeploymentId>, when: Moment) -> Plan {
    let planning = tokio::task::spawn_blocking(move || ring_planner::plan(&view, &batch, when, &mut FreshIds));
    match planning.await {
        Ok(plan) => plan,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Plan::default(),
        },
    }
}

/// Waits so long; without end for None.
async fn pause(length: Option<Duration>) {
    match length {
        Some(length) => sleep(length).await,
        None => std::future::pending().await,
    }
}
