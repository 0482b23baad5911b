//! What the cluster wants of one instance, and what an agent believes of what it is told.

use std::sync::Arc;

use ring_types::{DeploymentId, DeploymentSpec, Generation, Goal, InstanceId, InstanceState, Revision, Span};

/// What a control node says about one instance of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Which instance.
    pub instance: InstanceId,
    /// Whose.
    pub deployment: DeploymentId,
    /// Version of what is said; grows with the goal.
    pub generation: Generation,
    /// The state it was read from.
    pub revision: Revision,
    /// What to run.
    pub spec: Arc<DeploymentSpec>,
    /// What is wanted.
    pub goal: Goal,
    /// Where the instance is, as the cluster knows it.
    pub state: InstanceState,
    /// How long it serves on once it is told to end.
    pub linger: Span,
}

/// What is wanted of an instance, as far as this run of the agent knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Desired {
    /// No control node has spoken yet: what runs goes on.
    #[default]
    Unknown,
    /// It is not this node's any more: whatever is left of it goes.
    Gone,
    /// It is this node's.
    Assigned(Assignment),
}

/// Why an agent does not believe an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Something newer was heard before.
    #[error("generation {offered} is older than {known}, which was heard before")]
    Older {
        /// What is said now.
        offered: Generation,
        /// What was heard.
        known: Generation,
    },
    /// The same generation said something else before.
    #[error("generation {0} says something else than it did before")]
    Changed(Generation),
}

impl Desired {
    /// What is wanted once `offered` has been heard. `recorded` is the generation in the ledger, which outlives the process.
    ///
    /// # Errors
    /// [`Distrust`] when it is older than what was heard before, or contradicts it: then nothing changes.
    pub fn accept(&self, recorded: Option<Generation>, offered: Assignment) -> Result<Self, Distrust> {
        let known = recorded.unwrap_or_default();
        if offered.generation < known {
            return Err(Distrust::Older { offered: offered.generation, known });
        }
        let Self::Assigned(heard) = self else { return Ok(Self::Assigned(offered)) };
        if offered.generation < heard.generation {
            return Err(Distrust::Older { offered: offered.generation, known: heard.generation });
        }
        if offered.generation == heard.generation && !says_the_same(heard, &offered) {
            return Err(Distrust::Changed(offered.generation));
        }
        // The state is no part of what a generation fixes, but it does not go back either.
        Ok(Self::Assigned(Assignment { state: heard.state.max(offered.state), ..offered }))
    }
}

/// Replicas are the one part of a specification that may change under an instance; they mean nothing to it.
fn says_the_same(a: &Assignment, b: &Assignment) -> bool {
    let spec = |of: &Assignment| DeploymentSpec { replicas: 0, ..(*of.spec).clone() };
    a.goal == b.goal && a.deployment == b.deployment && (Arc::ptr_eq(&a.spec, &b.spec) || spec(a) == spec(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next::cases::assignment;

    #[test]
    fn an_older_generation_is_refused_across_restarts() {
        let mut offered = assignment(InstanceState::Running, Goal::Run);
        offered.generation = Generation(3);
        let refused = Distrust::Older { offered: Generation(3), known: Generation(4) };
        assert_eq!(Desired::Unknown.accept(Some(Generation(4)), offered.clone()), Err(refused));
        let heard = Desired::Assigned(Assignment { generation: Generation(4), ..offered.clone() });
        assert_eq!(heard.accept(None, offered.clone()), Err(refused));
        assert!(Desired::Unknown.accept(Some(Generation(3)), offered).is_ok());
    }

    #[test]
    fn the_same_generation_with_other_content_is_refused() {
        let heard = assignment(InstanceState::Running, Goal::Run);
        let other = Assignment { goal: Goal::Stop, ..heard.clone() };
        assert_eq!(Desired::Assigned(heard.clone()).accept(None, other), Err(Distrust::Changed(heard.generation)));
        let mut spec = (*heard.spec).clone();
        spec.image = "else".into();
        let other = Assignment { spec: Arc::new(spec), ..heard.clone() };
        assert_eq!(Desired::Assigned(heard.clone()).accept(None, other), Err(Distrust::Changed(heard.generation)));
    }

    #[test]
    fn scaling_is_no_contradiction_and_the_state_does_not_go_back() {
        let heard = assignment(InstanceState::Running, Goal::Run);
        let mut spec = (*heard.spec).clone();
        spec.replicas = 9;
        let offered = Assignment { spec: Arc::new(spec), state: InstanceState::Claimed, ..heard.clone() };
        let Ok(Desired::Assigned(now)) = Desired::Assigned(heard).accept(None, offered) else { panic!("refused") };
        assert_eq!(now.state, InstanceState::Running);
        assert_eq!(now.spec.replicas, 9);
    }
}
