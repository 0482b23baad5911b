//! What to do next for one instance: one step at a time, from facts alone. Crash recovery is asking again.
//!
//! What makes an execution happen at most once:
//! - a process is started only in [`Phase::Starting`], and that is on disk before;
//! - a phase never goes back, and nothing is prepared again from [`Phase::Starting`] on;
//! - in each run of the agent the claim has to be granted again before anything is started;
//! - whatever may have been started and cannot be found any more ended in a way nobody knows: never 0, never "not started".

use ring_runtime::{Observed, Prepared};
use ring_state::InstanceReport;
use ring_types::{
    ExitStatus, Goal, Health, InstanceId, InstanceState, NodeId, Outcome, Span, StartFailure, Timestamp, UnknownExit,
};

use crate::desired::{Assignment, Desired};
use crate::record::{Phase, Record};

/// Grace for what is found on the host and nobody has a record of.
const ORPHAN_GRACE: Span = Span::seconds(10);

/// One step. After it the facts have changed, or are asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until some fact changes.
    Wait,
    /// Nothing for this long, unless some fact changes.
    WaitFor(Span),
    /// Ask the runtime how the instance is.
    Inspect,
    /// Ask the cluster for the right to execute it.
    AskClaim,
    /// Put this record into the ledger.
    Write(Box<Record>, Durability),
    /// Fetch the image and make the instance.
    Prepare,
    /// Start it.
    Start,
    /// End it, with this grace.
    Stop(Span),
    /// Take its remains away.
    Remove,
    /// Queue this report; it is sent until it is committed. A later one of the same instance replaces it.
    Report(Box<InstanceReport>),
    /// Delete the record: nothing of the instance is left, here or in the cluster.
    Forget,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    Fsync,
    /// At once: losing it in a crash of the host costs a repeated question, no truth.
    Lazy,
}

/// What this run of the agent knows beside the ledger. A crash empties it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volatile {
    /// The claim of this run.
    pub claim: Claim,
    /// What preparing found, once it is done.
    pub prepared: Option<Prepared>,
    /// The runtime said for certain that it cannot be started.
    pub failure: Option<(StartFailure, String)>,
    /// Newest state that was queued as a report.
    pub offered: Option<InstanceState>,
    /// Newest state whose report was committed.
    pub acknowledged: Option<InstanceState>,
    /// When this run heard that it is to end, since the boot of the host.
    pub told: Option<Span>,
    /// What its health checks say, once they said something.
    pub health: Option<Health>,
    /// What of it was queued as a report.
    pub offered_health: Option<Health>,
}

/// How a claim stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// Not asked for.
    #[default]
    None,
    /// Asked; the answer is awaited, over as many sessions as it takes.
    Asked,
    /// Committed.
    Granted,
    /// Refused; not to be asked again before this time since the boot of the host, or the next session.
    Refused(Span),
    /// Committed, but a secret it needs cannot be had.
    Unusable(String),
}

/// All facts about one instance.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This node.
    pub node: NodeId,
    /// Which instance.
    pub instance: InstanceId,
    /// Boot id of the host.
    pub host_boot: &'a str,
    /// What is wanted.
    pub desired: &'a Desired,
    /// What the ledger has.
    pub record: Option<&'a Record>,
    /// What the runtime has; None when it was not asked since the last change.
    pub observed: Option<&'a Observed>,
    /// What else this run knows.
    pub volatile: &'a Volatile,
    /// Now by the host's clock, for what is told. Whoever sets the clock changes it: nothing waits by it.
    pub now: Timestamp,
    /// Now since the boot of the host.
    pub since_boot: Span,
    /// For how long this host has had no contact with a control node.
    pub silence: Span,
}

/// The next step.
pub fn next(facts: &Facts<'_>) -> Step {
    let Some(record) = facts.record else { return without_record(facts) };
    if let Some(newer) = facts.newer(record) {
        return Step::Write(Box::new(newer), Durability::Lazy);
    }
    match record.phase {
        Phase::Claiming | Phase::Claimed => before_start(facts, record),
        Phase::Starting => starting(facts, record),
        Phase::Started => started(facts, record),
        Phase::Exited => exited(facts, record),
        Phase::Removed => removed(facts, record),
    }
}

/// The ledger knows nothing: it is new, or the ledger was lost, or it is an orphan.
fn without_record(facts: &Facts<'_>) -> Step {
    match facts.desired {
        Desired::Unknown => Step::Wait,
        Desired::Gone => facts.clear_away(ORPHAN_GRACE),
        Desired::Assigned(assignment) if assignment.state == InstanceState::Assigned => fresh(facts, assignment),
        Desired::Assigned(assignment) => ledger_lost(facts, assignment, &Facts::blank(assignment)),
    }
}

/// Nobody has claimed it yet, so nobody has started it.
fn fresh(facts: &Facts<'_>, assignment: &Assignment) -> Step {
    let record = Facts::blank(assignment);
    match assignment.goal {
        Goal::Run => Step::Write(Box::new(record), Durability::Fsync),
        Goal::Stop | Goal::Remove => facts.not_started(&record, StartFailure::Cancelled, "stopped before it was started"),
    }
}

/// The cluster knows more than the ledger: believe the runtime.
fn ledger_lost(facts: &Facts<'_>, assignment: &Assignment, record: &Record) -> Step {
    let Some(observed) = facts.observed else { return Step::Inspect };
    match observed {
        Observed::Running { .. } | Observed::Exited { .. } => facts.seen(record, observed),
        Observed::Created if assignment.state < InstanceState::Starting => fresh(facts, assignment),
        Observed::Absent | Observed::Created if assignment.state < InstanceState::Exited => {
            facts.unknown(record, UnknownExit::LedgerLost)
        }
        Observed::Created if assignment.goal == Goal::Remove => Step::Remove,
        Observed::Absent if assignment.goal == Goal::Remove && assignment.state < InstanceState::Removed => {
            Step::Write(Box::new(Record { phase: Phase::Removed, ..record.clone() }), Durability::Fsync)
        }
        Observed::Absent | Observed::Created => Step::Wait,
    }
}

/// It was never started, for certain.
fn before_start(facts: &Facts<'_>, record: &Record) -> Step {
    let assignment = match facts.desired {
        Desired::Unknown => return Step::Wait,
        Desired::Gone => return facts.clear_away(record.stop_grace),
        Desired::Assigned(assignment) => assignment,
    };
    if matches!(assignment.state, InstanceState::Starting | InstanceState::Running) {
        return ledger_lost(facts, assignment, record);
    }
    if let Some(step) = wanted(facts, record, assignment) {
        return step;
    }
    match (record.phase, &facts.volatile.prepared) {
        (Phase::Claiming, _) => Step::Write(Box::new(Record { phase: Phase::Claimed, ..record.clone() }), Durability::Lazy),
        (_, None) => Step::Prepare,
        (_, Some(prepared)) => {
            let record = Record {
                phase: Phase::Starting,
                image_digest: prepared.image_digest.clone(),
                host_boot: facts.host_boot.to_owned(),
                ..record.clone()
            };
            Step::Write(Box::new(record), Durability::Fsync)
        }
    }
}

/// May an instance that was never started be started now? None: yes.
fn wanted(facts: &Facts<'_>, record: &Record, assignment: &Assignment) -> Option<Step> {
    if assignment.goal != Goal::Run {
        return Some(facts.not_started(record, StartFailure::Cancelled, "stopped before it was started"));
    }
    if assignment.state >= InstanceState::Lost {
        return Some(facts.not_started(record, StartFailure::NodeGone, "the node was out of contact before it was started"));
    }
    if let Some((failure, message)) = &facts.volatile.failure {
        return Some(facts.not_started(record, *failure, message));
    }
    match &facts.volatile.claim {
        // What takes its place is not made before it could have been stopped again.
        Claim::Granted if facts.until_cut_off(record) == Some(Span::ZERO) => Some(Step::Wait),
        Claim::Granted => None,
        Claim::None => Some(Step::AskClaim),
        Claim::Asked => Some(Step::Wait),
        Claim::Refused(until) => Some(facts.left_until(*until).map_or(Step::AskClaim, Step::WaitFor)),
        Claim::Unusable(message) => Some(facts.not_started(record, StartFailure::Config, message)),
    }
}

/// It may have been started: the runtime knows.
fn starting(facts: &Facts<'_>, record: &Record) -> Step {
    if *facts.desired == Desired::Gone {
        return facts.clear_away(record.stop_grace);
    }
    let Some(observed) = facts.observed else { return Step::Inspect };
    match (observed, facts.desired, &facts.volatile.failure) {
        (Observed::Running { .. } | Observed::Exited { .. }, ..) => facts.seen(record, observed),
        (_, _, Some((failure, message))) => facts.not_started(record, *failure, message),
        (Observed::Absent, ..) => facts.vanished(record),
        (Observed::Created, Desired::Assigned(assignment), None) => wanted(facts, record, assignment).unwrap_or(Step::Start),
        (Observed::Created, ..) => Step::Wait,
    }
}

/// Its process has been seen.
fn started(facts: &Facts<'_>, record: &Record) -> Step {
    if *facts.desired == Desired::Gone {
        return facts.clear_away(record.stop_grace);
    }
    let Some(observed) = facts.observed else { return Step::Inspect };
    match observed {
        Observed::Exited { .. } => facts.seen(record, observed),
        Observed::Absent | Observed::Created => facts.vanished(record),
        Observed::Running { .. } => facts.report(record).or_else(|| facts.health_report(record)).unwrap_or(match facts.goal() {
            Goal::Run => facts.run_on(record),
            Goal::Stop | Goal::Remove => facts.end(record.stop_grace),
        }),
    }
}

/// Its end is on disk; it is told until it is committed, and what is left stays until the cluster wants it removed.
fn exited(facts: &Facts<'_>, record: &Record) -> Step {
    if *facts.desired == Desired::Gone {
        return facts.clear_away(record.stop_grace);
    }
    if let Some(step) = facts.report(record) {
        return step;
    }
    match (facts.observed, facts.goal()) {
        // Its end has been told: it must not go on, whatever brought it back.
        (Some(Observed::Running { .. }), _) => Step::Stop(record.stop_grace),
        (_, Goal::Run | Goal::Stop) => Step::Wait,
        (None, Goal::Remove) => Step::Inspect,
        (Some(Observed::Absent), Goal::Remove) => {
            Step::Write(Box::new(Record { phase: Phase::Removed, ..record.clone() }), Durability::Fsync)
        }
        (Some(_), Goal::Remove) => Step::Remove,
    }
}

/// Nothing is left of it here; the record goes when the cluster has forgotten it too.
fn removed(facts: &Facts<'_>, record: &Record) -> Step {
    if *facts.desired == Desired::Gone {
        return Step::Forget;
    }
    facts.report(record).unwrap_or(Step::Wait)
}

impl Facts<'_> {
    fn goal(&self) -> Goal {
        match self.desired {
            Desired::Assigned(assignment) => assignment.goal,
            Desired::Unknown | Desired::Gone => Goal::Run,
        }
    }

    /// How long it is until then, by the time since the boot of the host; None when it is over.
    fn left_until(&self, then: Span) -> Option<Span> {
        then.0.checked_sub(self.since_boot.0).filter(|left| *left > 0).map(Span)
    }

    /// How long it may still run without contact; None when that does not matter.
    fn until_cut_off(&self, record: &Record) -> Option<Span> {
        record.stop_on_disconnect.map(|limit| Span(limit.0.saturating_sub(self.silence.0)))
    }

    /// Nothing is to be done about what runs, as long as the host is in contact. Once that is found to be over it stays over: it may
    /// have begun to end.
    fn run_on(&self, record: &Record) -> Step {
        match self.until_cut_off(record) {
            _ if record.cut_off => Step::Stop(record.stop_grace),
            Some(Span::ZERO) => Step::Write(Box::new(Record { cut_off: true, ..record.clone() }), Durability::Lazy),
            Some(left) => Step::WaitFor(left),
            None => Step::Wait,
        }
    }

    /// Ends what runs, once whoever sends it requests had the time to hear that it is to go.
    fn end(&self, grace: Span) -> Step {
        let linger = match self.desired {
            Desired::Assigned(assignment) => assignment.linger,
            Desired::Unknown | Desired::Gone => Span::ZERO,
        };
        let left = self.volatile.told.and_then(|told| self.left_until(Span(told.0.saturating_add(linger.0))));
        left.map_or(Step::Stop(grace), Step::WaitFor)
    }

    /// The first record of an instance.
    fn blank(assignment: &Assignment) -> Record {
        Record {
            deployment: assignment.deployment,
            runtime: assignment.spec.runtime,
            generation: assignment.generation,
            revision: assignment.revision,
            stop_grace: assignment.spec.stop_grace,
            phase: Phase::Claiming,
            host_boot: String::new(),
            image_digest: None,
            address: None,
            started_at: None,
            exit: None,
            reported: None,
            health: None,
            stop_on_disconnect: assignment.spec.stop_on_disconnect,
            cut_off: false,
        }
    }

    /// The record with what was heard since, when something was.
    fn newer(&self, record: &Record) -> Option<Record> {
        let generation = match self.desired {
            Desired::Assigned(assignment) => assignment.generation.max(record.generation),
            Desired::Unknown | Desired::Gone => record.generation,
        };
        let reported = self.volatile.acknowledged.max(record.reported);
        let health = self.volatile.health.as_ref().or(record.health.as_ref());
        let newer = generation != record.generation || reported != record.reported || health != record.health.as_ref();
        newer.then(|| Record { generation, reported, health: health.cloned(), ..record.clone() })
    }

    /// The record after the runtime has shown that the process runs or ran.
    fn seen(&self, record: &Record, observed: &Observed) -> Step {
        let mut record = record.clone();
        match observed {
            Observed::Running { started_at, address } => {
                record.phase = Phase::Started;
                record.started_at = Some(*started_at);
                record.address.clone_from(address);
                if record.host_boot.is_empty() {
                    self.host_boot.clone_into(&mut record.host_boot);
                }
                Step::Write(Box::new(record), Durability::Lazy)
            }
            Observed::Exited { outcome, started_at, finished_at } => {
                record.started_at = started_at.or(record.started_at);
                self.ended(record, outcome.clone(), *finished_at)
            }
            Observed::Absent | Observed::Created => Step::Inspect,
        }
    }

    fn ended(&self, mut record: Record, outcome: Outcome, finished_at: Timestamp) -> Step {
        record.phase = Phase::Exited;
        record.exit = Some(ExitStatus { outcome, started_at: record.started_at, finished_at, node: self.node });
        Step::Write(Box::new(record), Durability::Fsync)
    }

    fn not_started(&self, record: &Record, cause: StartFailure, message: &str) -> Step {
        let outcome = Outcome::NotStarted { cause, message: message.to_owned() };
        self.ended(record.clone(), outcome, self.now)
    }

    fn unknown(&self, record: &Record, why: UnknownExit) -> Step {
        self.ended(record.clone(), Outcome::Unknown(why), self.now)
    }

    /// It may have run, and the runtime has nothing of it.
    fn vanished(&self, record: &Record) -> Step {
        let same_boot = record.host_boot.is_empty() || record.host_boot == self.host_boot;
        self.unknown(record, if same_boot { UnknownExit::InstanceVanished } else { UnknownExit::HostRestarted })
    }

    /// It is not this node's: end it, take it away, forget it.
    fn clear_away(&self, grace: Span) -> Step {
        match self.observed {
            None => Step::Inspect,
            Some(Observed::Absent) => Step::Forget,
            Some(Observed::Running { .. }) => Step::Stop(grace),
            Some(Observed::Created | Observed::Exited { .. }) => Step::Remove,
        }
    }

    /// The report of this record, unless it is queued or committed already.
    fn report(&self, record: &Record) -> Option<Step> {
        let state = record.state()?;
        let known = match self.desired {
            Desired::Assigned(assignment) => Some(assignment.state),
            Desired::Unknown | Desired::Gone => None,
        };
        let told = record.reported.max(self.volatile.offered).max(known);
        (told < Some(state)).then(|| self.account(record, state))
    }

    /// The report of its health, unless this run has queued it already. What the ledger has may not have been sent by the run
    /// before: it is told once more, and changes nothing when it was.
    fn health_report(&self, record: &Record) -> Option<Step> {
        let news = record.health.is_some() && record.health != self.volatile.offered_health;
        news.then(|| self.account(record, InstanceState::Running))
    }

    fn account(&self, record: &Record, state: InstanceState) -> Step {
        Step::Report(Box::new(InstanceReport {
            instance: self.instance,
            state,
            address: record.address.clone(),
            image_digest: record.image_digest.clone(),
            started_at: record.started_at,
            exit: record.exit.clone(),
            health: record.health.clone().filter(|_| state == InstanceState::Running),
            cut_off: record.cut_off && state >= InstanceState::Exited,
        }))
    }
}

#[cfg(test)]
pub(crate) mod cases;
#[cfg(test)]
mod crash;
