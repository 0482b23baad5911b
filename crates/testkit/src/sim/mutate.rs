//! Faults of the leader and of the state that are built in on purpose. The state checks again what a leader says, so that most of
//! them take both: a leader that is wrong, and a state that lets it.

use std::sync::Arc;

use ring_state::{Action, Command, Deployment, Instance, RolloutPhase, Row, RowKey, Scale, State};
use ring_types::{Goal, InstanceId, InstanceState, StopCause};

use super::run::{Mutation, Sim};

/// The state as a leader with this fault takes it to be.
pub(crate) fn seen(mutation: Option<Mutation>, state: &State) -> State {
    let change = |row: Row| match (mutation, row) {
        (Some(Mutation::DependenciesForgotten), Row::Deployment(d)) => {
            Row::Deployment(Arc::new(Deployment { released: true, ..Deployment::clone(&d) }))
        }
        (Some(Mutation::GiveWayUnready), Row::Instance(i)) if is_new(state, &i) => {
            Row::Instance(Arc::new(Instance { ready_at: i.ready_at.or(Some(i.created_at)), ..Instance::clone(&i) }))
        }
        (_, row) => row,
    };
    if !matches!(mutation, Some(Mutation::DependenciesForgotten | Mutation::GiveWayUnready)) {
        return state.clone();
    }
    State::from_rows(state.revision(), state.rows().map(change)).unwrap_or_else(|_| state.clone())
}

/// It runs, and is of a version that is to take another's place.
fn is_new(state: &State, instance: &Instance) -> bool {
    let rolls = state.deployment(instance.deployment).is_some_and(|d| d.is_rolling_out());
    rolls && instance.state == InstanceState::Running && instance.goal == Goal::Run
}

/// What a leader with this fault says instead of what it should.
pub(crate) fn planned(mutation: Option<Mutation>, actions: &mut Vec<Action>) {
    if mutation == Some(Mutation::NeverOver) {
        actions.retain(|action| !matches!(action, Action::EndRollout { .. }));
    }
}

impl Sim {
    /// What a state with this fault has after an entry.
    pub(crate) fn break_state(&mut self, state: &mut State, command: &Command, keys: &mut Vec<RowKey>) {
        let (Some(mutation), Command::Plan { actions }) = (self.options.mutation, command) else { return };
        let changed: Vec<Row> = actions.iter().filter_map(|action| self.broken(mutation, state, action)).collect();
        if changed.is_empty() {
            return;
        }
        keys.extend(changed.iter().map(Row::key));
        let touched: Vec<_> = changed.iter().map(Row::key).collect();
        let others = state.rows().filter(|row| !touched.contains(&row.key()));
        if let Ok(broken) = State::from_rows(state.revision(), others.chain(changed).collect::<Vec<_>>()) {
            *state = broken;
        }
    }

    fn broken(&mut self, mutation: Mutation, state: &State, action: &Action) -> Option<Row> {
        match (mutation, action) {
            (Mutation::GiveWayUnready, Action::SetGoal { instance, goal, cause: Some(StopCause::Superseded) }) => {
                let passed_over = state.instance(*instance).filter(|i| i.goal < *goal)?;
                let (generation, stop_cause) = (passed_over.generation.next(), Some(StopCause::Superseded));
                Some(Row::Instance(Arc::new(Instance { goal: *goal, generation, stop_cause, ..Instance::clone(passed_over) })))
            }
            (Mutation::TooManyAtOnce, Action::CreateInstance { id, deployment, slot, .. }) => {
                let rolls = state.deployment(*deployment).is_some_and(|d| d.is_rolling_out() && slot + 1 < d.spec.replicas);
                let made = state.instance(*id).filter(|_| rolls)?;
                let id = InstanceId(self.rng.uuid());
                Some(Row::Instance(Arc::new(Instance { id, slot: slot + 1, ..Instance::clone(made) })))
            }
            (Mutation::CompleteEarly, Action::NoteRollout { deployment, .. }) => {
                let mut child = Deployment::clone(state.deployment(*deployment).filter(|d| d.is_rolling_out())?);
                child.rollout.as_mut()?.phase = RolloutPhase::Completed;
                Some(Row::Deployment(Arc::new(child)))
            }
            (Mutation::ScaleBeyondBounds, Action::Autoscale { deployment, .. }) => {
                let mut scaled = Deployment::clone(state.deployment(*deployment)?);
                let (max, at) = (scaled.spec.autoscale?.max, scaled.scale?.at);
                scaled.scale = Some(Scale { replicas: max + 1, at });
                Some(Row::Deployment(Arc::new(scaled)))
            }
            _ => None,
        }
    }
}
