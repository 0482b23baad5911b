//! Table of single decisions.

use std::sync::Arc;

use ring_runtime::{Observed, Prepared};
use ring_types::{
    DeploymentId, DeploymentSpec, ExitStatus, Generation, Goal, InstanceId, InstanceState, Kind, Name, NodeId, Outcome, Revision,
    RuntimeKind, Span, StartFailure, Timestamp, UnknownExit,
};
use uuid::Uuid;

use super::{Claim, Durability, Facts, Step, Volatile, next};
use crate::desired::{Assignment, Desired};
use crate::record::{Phase, Record};

const NOW: Timestamp = Timestamp(50_000);
const SINCE_BOOT: Span = Span(50_000);
const BOOT: &str = "boot-a";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An assignment of the one instance of these tests.
pub(crate) fn assignment(state: InstanceState, goal: Goal) -> Assignment {
    Assignment {
        instance: InstanceId(Uuid::from_u128(1)),
        deployment: DeploymentId(Uuid::from_u128(2)),
        generation: Generation(1 + goal as u64),
        revision: Revision(10),
        spec: Arc::new(DeploymentSpec::new(name("ns"), name("job"), Kind::Job, RuntimeKind::Docker, "job:1")),
        goal,
        state,
        linger: Span::ZERO,
    }
}

/// A record of it in `phase`.
pub(crate) fn record(phase: Phase) -> Record {
    let started = phase >= Phase::Starting;
    let exit = ExitStatus { outcome: Outcome::Code(7), started_at: Some(Timestamp(1)), finished_at: Timestamp(2), node: node() };
    Record {
        deployment: DeploymentId(Uuid::from_u128(2)),
        runtime: RuntimeKind::Docker,
        generation: Generation(1),
        revision: Revision(10),
        stop_grace: Span::seconds(10),
        phase,
        host_boot: if started { BOOT.into() } else { String::new() },
        image_digest: None,
        address: None,
        started_at: (phase >= Phase::Started).then_some(Timestamp(1)),
        exit: (phase >= Phase::Exited).then_some(exit),
        reported: None,
        health: None,
        stop_on_disconnect: None,
        cut_off: false,
    }
}

fn node() -> NodeId {
    NodeId(Uuid::from_u128(3))
}

fn running() -> Observed {
    Observed::Running { started_at: Timestamp(1), address: None }
}

fn ended() -> Observed {
    Observed::Exited { outcome: Outcome::Code(7), started_at: Some(Timestamp(1)), finished_at: Timestamp(2) }
}

/// What a step is, in a few words: the table compares these.
fn words(step: &Step) -> String {
    match step {
        Step::Write(record, durability) => {
            let exit = record.exit.as_ref().map(|exit| match &exit.outcome {
                Outcome::Code(code) => format!(" code {code}"),
                Outcome::Signal { signal, .. } => format!(" signal {signal}"),
                Outcome::NotStarted { cause, .. } => format!(" not started: {cause}"),
                Outcome::Unknown(why) => format!(" unknown: {}", why.as_str()),
            });
            let lazily = if *durability == Durability::Lazy { " lazily" } else { "" };
            format!("write {:?}{}{lazily}", record.phase, exit.unwrap_or_default())
        }
        Step::Report(report) => format!("report {}", report.state),
        Step::WaitFor(time) => format!("wait for {}", time.0),
        Step::Stop(grace) => format!("stop in {grace}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

struct Case {
    desired: Desired,
    record: Option<Record>,
    observed: Option<Observed>,
    volatile: Volatile,
    boot: &'static str,
    silence: Span,
}

impl Case {
    fn is(&self, expected: &str) {
        let facts = Facts {
            node: node(),
            instance: InstanceId(Uuid::from_u128(1)),
            host_boot: self.boot,
            desired: &self.desired,
            record: self.record.as_ref(),
            observed: self.observed.as_ref(),
            volatile: &self.volatile,
            now: NOW,
            since_boot: SINCE_BOOT,
            silence: self.silence,
        };
        let step = next(&facts);
        assert_eq!(words(&step), expected, "desired {:?}, observed {:?}", self.desired, self.observed);
    }

    fn phase(mut self, phase: Phase) -> Self {
        self.record = Some(record(phase));
        self
    }

    fn sees(mut self, observed: Observed) -> Self {
        self.observed = Some(observed);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Volatile)) -> Self {
        change(&mut self.volatile);
        self
    }

    fn granted(self) -> Self {
        self.with(|v| v.claim = Claim::Granted)
    }
}

fn desired(desired: Desired) -> Case {
    Case { desired, record: None, observed: None, volatile: Volatile::default(), boot: BOOT, silence: Span::ZERO }
}

fn run(state: InstanceState) -> Case {
    let mut assignment = assignment(state, Goal::Run);
    assignment.generation = Generation(1);
    desired(Desired::Assigned(assignment))
}

fn goal(goal: Goal, state: InstanceState) -> Case {
    let mut assignment = assignment(state, goal);
    // As in the record, so that no table entry has to skip writing it.
    assignment.generation = Generation(1);
    desired(Desired::Assigned(assignment))
}

use InstanceState::{Assigned, Claimed, Exited, Lost, Preparing, Removed, Running, Starting};

#[test]
fn the_usual_way_to_a_running_process() {
    run(Assigned).is("write Claiming");
    run(Assigned).phase(Phase::Claiming).is("askclaim");
    run(Assigned).phase(Phase::Claiming).with(|v| v.claim = Claim::Asked).is("wait");
    run(Assigned).phase(Phase::Claiming).granted().is("write Claimed lazily");
    run(Claimed).phase(Phase::Claimed).granted().is("prepare");
    run(Claimed).phase(Phase::Claimed).granted().with(|v| v.prepared = Some(Prepared::default())).is("write Starting");
    run(Claimed).phase(Phase::Starting).granted().is("inspect");
    run(Claimed).phase(Phase::Starting).granted().sees(Observed::Created).is("start");
    run(Claimed).phase(Phase::Starting).granted().sees(running()).is("write Started lazily");
    run(Claimed).phase(Phase::Started).sees(running()).is("report running");
    run(Claimed).phase(Phase::Started).sees(running()).with(|v| v.offered = Some(Running)).is("wait");
    run(Running).phase(Phase::Started).sees(running()).is("wait");
    run(Running).phase(Phase::Started).sees(running()).with(|v| v.acknowledged = Some(Running)).is("write Started lazily");
}

#[test]
fn an_end_is_written_before_it_is_told() {
    run(Claimed).phase(Phase::Starting).granted().sees(ended()).is("write Exited code 7");
    run(Running).phase(Phase::Started).sees(ended()).is("write Exited code 7");
    run(Running).phase(Phase::Exited).is("report exited");
    run(Running).phase(Phase::Exited).with(|v| v.offered = Some(Exited)).is("wait");
    run(Exited).phase(Phase::Exited).is("wait");
    desired(Desired::Unknown).phase(Phase::Exited).is("report exited");
    run(Lost).phase(Phase::Exited).is("report exited");
}

#[test]
fn a_claim_is_asked_for_again_in_each_run() {
    run(Claimed).phase(Phase::Claiming).is("askclaim");
    run(Claimed).phase(Phase::Claimed).is("askclaim");
    run(Preparing).phase(Phase::Claimed).is("askclaim");
    run(Claimed).phase(Phase::Starting).sees(Observed::Created).is("askclaim");
    run(Assigned).phase(Phase::Claiming).with(|v| v.claim = Claim::Refused(Span(60_000))).is("wait for 10000");
    run(Assigned).phase(Phase::Claiming).with(|v| v.claim = Claim::Refused(Span(50_000))).is("askclaim");
}

#[test]
fn without_the_control_plane_what_runs_goes_on_and_nothing_starts() {
    for phase in [Phase::Claiming, Phase::Claimed] {
        desired(Desired::Unknown).phase(phase).is("wait");
    }
    desired(Desired::Unknown).phase(Phase::Starting).sees(Observed::Created).is("wait");
    desired(Desired::Unknown).phase(Phase::Starting).sees(running()).is("write Started lazily");
    desired(Desired::Unknown).phase(Phase::Started).is("inspect");
    desired(Desired::Unknown).phase(Phase::Started).sees(ended()).is("write Exited code 7");
    desired(Desired::Unknown).sees(running()).is("wait");
}

#[test]
fn what_cannot_be_known_is_unknown() {
    run(Claimed).phase(Phase::Starting).sees(Observed::Absent).is("write Exited unknown: instance_vanished");
    run(Running).phase(Phase::Started).sees(Observed::Absent).is("write Exited unknown: instance_vanished");
    let mut rebooted = run(Running).phase(Phase::Started).sees(Observed::Absent);
    rebooted.boot = "boot-b";
    rebooted.is("write Exited unknown: host_restarted");
    assert_eq!(UnknownExit::LedgerLost.as_str(), "ledger_lost");
}

#[test]
fn a_lost_ledger_is_no_licence_to_start() {
    for state in [Claimed, Preparing, Starting, Running, Lost] {
        run(state).is("inspect");
        run(state).sees(Observed::Absent).is("write Exited unknown: ledger_lost");
        run(state).sees(running()).is("write Started lazily");
        run(state).sees(ended()).is("write Exited code 7");
    }
    run(Claimed).sees(Observed::Created).is("write Claiming");
    run(Running).sees(Observed::Created).is("write Exited unknown: ledger_lost");
    run(Exited).sees(Observed::Absent).is("wait");
    goal(Goal::Remove, Exited).sees(Observed::Absent).is("write Removed");
    goal(Goal::Remove, Exited).sees(Observed::Created).is("remove");
    goal(Goal::Remove, Removed).sees(Observed::Absent).is("wait");
}

#[test]
fn a_ledger_older_than_the_cluster_is_as_good_as_lost() {
    run(Running).phase(Phase::Claimed).is("inspect");
    run(Running).phase(Phase::Claimed).sees(running()).is("write Started lazily");
    run(Running).phase(Phase::Claiming).sees(Observed::Absent).is("write Exited unknown: ledger_lost");
}

#[test]
fn what_failed_before_the_start_was_not_started() {
    let failed = |v: &mut Volatile| v.failure = Some((StartFailure::ImageNotFound, "no such image".into()));
    run(Claimed).phase(Phase::Claimed).granted().with(failed).is("write Exited not started: image_not_found");
    run(Claimed).phase(Phase::Starting).granted().with(failed).is("inspect");
    run(Claimed).phase(Phase::Starting).with(failed).sees(Observed::Created).is("write Exited not started: image_not_found");
    // The runtime is believed over an error of it.
    run(Claimed).phase(Phase::Starting).with(failed).sees(running()).is("write Started lazily");
    let unusable = |v: &mut Volatile| v.claim = Claim::Unusable("secret db not found".into());
    run(Claimed).phase(Phase::Claiming).with(unusable).is("write Exited not started: config");
}

#[test]
fn stopping_before_and_after_the_start() {
    for wanted in [Goal::Stop, Goal::Remove] {
        goal(wanted, Assigned).is("write Exited not started: cancelled");
        goal(wanted, Assigned).phase(Phase::Claiming).is("write Exited not started: cancelled");
        goal(wanted, Claimed).phase(Phase::Claimed).granted().is("write Exited not started: cancelled");
        goal(wanted, Claimed).phase(Phase::Starting).sees(Observed::Created).is("write Exited not started: cancelled");
        goal(wanted, Running).phase(Phase::Started).sees(running()).is("stop in 10s");
    }
    goal(Goal::Stop, Exited).phase(Phase::Exited).sees(ended()).is("wait");
    goal(Goal::Remove, Exited).phase(Phase::Exited).is("inspect");
    goal(Goal::Remove, Exited).phase(Phase::Exited).sees(ended()).is("remove");
    goal(Goal::Remove, Exited).phase(Phase::Exited).sees(Observed::Absent).is("write Removed code 7");
    goal(Goal::Remove, Exited).phase(Phase::Removed).is("report removed");
    goal(Goal::Remove, Removed).phase(Phase::Removed).is("wait");
    // Told as ended, and yet it runs: not any longer.
    run(Exited).phase(Phase::Exited).sees(running()).is("stop in 10s");
}

#[test]
fn what_is_to_linger_serves_on_for_that_long() {
    let lingers = |told: Option<u64>| {
        let mut case = goal(Goal::Remove, Running).phase(Phase::Started).sees(running());
        let Desired::Assigned(assignment) = &mut case.desired else { panic!() };
        assignment.linger = Span(2000);
        case.with(|v| v.told = told.map(Span))
    };
    lingers(Some(50_000)).is("wait for 2000");
    lingers(Some(48_001)).is("wait for 1");
    lingers(Some(48_000)).is("stop in 10s");
    lingers(None).is("stop in 10s");
    lingers(Some(50_000)).sees(ended()).is("write Exited code 7");
}

#[test]
fn what_may_not_run_without_contact_is_stopped_and_not_started() {
    let cut = |mut case: Case, silence: u64, cut_off: bool| {
        let record = case.record.as_mut().unwrap();
        (record.stop_on_disconnect, record.cut_off) = (Some(Span(20_000)), cut_off);
        case.silence = Span(silence);
        case
    };
    let runs = || run(Running).phase(Phase::Started).sees(running());
    cut(runs(), 0, false).is("wait for 20000");
    cut(runs(), 19_999, false).is("wait for 1");
    cut(runs(), 20_000, false).is("write Started lazily");
    cut(runs(), 20_000, true).is("stop in 10s");
    // It was told to end before contact came back: whether it has begun to is not known.
    cut(runs(), 100, true).is("stop in 10s");
    cut(desired(Desired::Unknown).phase(Phase::Started).sees(running()).with(|v| v.offered = Some(Running)), 20_000, true)
        .is("stop in 10s");
    cut(runs().sees(ended()), 30_000, true).is("write Exited code 7");
    cut(run(Running).phase(Phase::Exited), 30_000, true).is("report exited");
    let prepared = |v: &mut Volatile| v.prepared = Some(Prepared::default());
    cut(run(Claimed).phase(Phase::Claimed).granted().with(prepared), 20_000, false).is("wait");
    cut(run(Claimed).phase(Phase::Claimed).granted().with(prepared), 19_999, false).is("write Starting");
    cut(run(Claimed).phase(Phase::Starting).granted().sees(Observed::Created), 20_000, false).is("wait");
    let mut without = runs();
    without.silence = Span(u64::MAX);
    without.is("wait");
}

#[test]
fn a_node_that_was_lost_starts_nothing_more() {
    run(Lost).phase(Phase::Claimed).granted().is("write Exited not started: node_gone");
    run(Lost).phase(Phase::Starting).granted().sees(Observed::Created).is("write Exited not started: node_gone");
    run(Lost).phase(Phase::Started).sees(running()).is("wait");
}

#[test]
fn what_is_not_ours_is_cleared_away() {
    desired(Desired::Gone).is("inspect");
    desired(Desired::Gone).sees(running()).is("stop in 10s");
    desired(Desired::Gone).sees(Observed::Absent).is("forget");
    for phase in [Phase::Claiming, Phase::Starting, Phase::Started, Phase::Exited] {
        desired(Desired::Gone).phase(phase).is("inspect");
        desired(Desired::Gone).phase(phase).sees(running()).is("stop in 10s");
        desired(Desired::Gone).phase(phase).sees(Observed::Created).is("remove");
        desired(Desired::Gone).phase(phase).sees(ended()).is("remove");
        desired(Desired::Gone).phase(phase).sees(Observed::Absent).is("forget");
    }
    desired(Desired::Gone).phase(Phase::Removed).is("forget");
}

#[test]
fn a_newer_generation_is_remembered_first() {
    let case = desired(Desired::Assigned(assignment(Running, Goal::Stop))).phase(Phase::Started);
    case.is("write Started lazily");
}
