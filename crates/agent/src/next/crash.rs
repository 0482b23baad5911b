//! The whole life of one instance, with a crash before every step, against a cluster and a runtime made of a few variables.

use ring_runtime::{Observed, Prepared};
use ring_types::{Goal, InstanceId, InstanceState, NodeId, Outcome, Span, Timestamp, UnknownExit};
use uuid::Uuid;

use super::cases::assignment;
use super::{Claim, Facts, Step, Volatile, next};
use crate::desired::Desired;
use crate::record::Record;

/// Everything that outlives a crash of the agent.
struct World {
    ledger: Option<Record>,
    runtime: Observed,
    starts: u32,
    state: InstanceState,
    outcome: Option<Outcome>,
}

impl World {
    fn new() -> Self {
        Self { ledger: None, runtime: Observed::Absent, starts: 0, state: InstanceState::Assigned, outcome: None }
    }

    /// Does a step; what only this run knows goes into `volatile`.
    fn perform(&mut self, step: Step, volatile: &mut Volatile, observed: &mut Option<Observed>) {
        match step {
            Step::Inspect => *observed = Some(self.runtime.clone()),
            Step::Write(record, _) => self.ledger = Some(*record),
            Step::AskClaim => {
                let granted = self.state < InstanceState::Running;
                volatile.claim = if granted { Claim::Granted } else { Claim::Refused(Span(u64::MAX)) };
                self.state = self.state.max(InstanceState::Claimed);
            }
            Step::Prepare => {
                if self.runtime == Observed::Absent {
                    self.runtime = Observed::Created;
                }
                volatile.prepared = Some(Prepared::default());
            }
            Step::Start => {
                if self.runtime == Observed::Created {
                    self.starts += 1;
                    let (started_at, finished_at) = (Some(Timestamp(1)), Timestamp(2));
                    self.runtime = Observed::Exited { outcome: Outcome::Code(7), started_at, finished_at };
                }
                *observed = None;
            }
            Step::Report(report) => {
                volatile.offered = Some(report.state);
                self.state = self.state.max(report.state);
                self.outcome = report.exit.map(|exit| exit.outcome);
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    /// Runs one life of the agent for at most `steps` steps. True when there is nothing more to do.
    fn live(&mut self, steps: usize) -> bool {
        let (mut volatile, mut observed) = (Volatile::default(), None);
        for _ in 0..steps {
            let desired = Desired::Assigned(assignment(self.state, Goal::Run));
            let step = next(&Facts {
                node: NodeId(Uuid::from_u128(3)),
                instance: InstanceId(Uuid::from_u128(1)),
                host_boot: "boot",
                desired: &desired,
                record: self.ledger.as_ref(),
                observed: observed.as_ref(),
                volatile: &volatile,
                now: Timestamp(9),
                since_boot: Span(9),
                silence: Span::ZERO,
            });
            if step == Step::Wait {
                return true;
            }
            self.perform(step, &mut volatile, &mut observed);
        }
        false
    }
}

#[test]
fn a_crash_before_any_step_costs_nothing() {
    let mut crashes = 0;
    for steps in 0..20 {
        let mut world = World::new();
        let finished = world.live(steps);
        crashes += usize::from(!finished);
        assert!(world.live(100), "stuck after a crash at step {steps}");
        assert_eq!((world.starts, world.outcome.clone()), (1, Some(Outcome::Code(7))), "crash at step {steps}");
        assert_eq!(world.state, InstanceState::Exited);
    }
    assert!((8..20).contains(&crashes), "a life has {crashes} steps");
}

#[test]
fn crashing_at_every_step_again_and_again_still_ends_well() {
    let mut world = World::new();
    // One more step each life, so that every life gets a little further.
    let lives = (1..40).take_while(|steps| !world.live(*steps)).count();
    assert!(lives > 3, "{lives} lives");
    assert_eq!((world.starts, world.outcome), (1, Some(Outcome::Code(7))));
}

#[test]
fn a_ledger_wiped_at_any_step_never_leads_to_a_second_start() {
    for steps in 0..20 {
        let mut world = World::new();
        world.live(steps);
        world.ledger = None;
        world.live(100);
        assert!(world.starts <= 1, "wiped at step {steps}");
        let honest = [Some(Outcome::Code(7)), Some(Outcome::Unknown(UnknownExit::LedgerLost))];
        assert!(honest.contains(&world.outcome), "wiped at step {steps}: {:?}", world.outcome);
    }
}

#[test]
fn a_container_taken_away_at_any_step_is_never_made_again_after_the_start() {
    for steps in 0..20 {
        let mut world = World::new();
        world.live(steps);
        let ran = world.starts;
        world.runtime = Observed::Absent;
        world.live(100);
        assert!(world.starts <= 1, "taken away at step {steps}");
        assert!(ran == 0 || world.outcome != Some(Outcome::Code(0)), "invented an end at step {steps}");
    }
}
