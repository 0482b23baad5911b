//! The status of a deployment, derived from its instances.

use ring_state::{Action, Deployment, State};
use ring_types::{Condition, DeploymentStatus, ExitStatus, Goal, Outcome, StartFailure};

use crate::dependencies::Unmet;
use crate::output::Output;
use crate::text;
use crate::view::{View, node_is_ready};

/// What is recorded of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Derived {
    pub(crate) status: DeploymentStatus,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) exit: Option<ExitStatus>,
}

impl Derived {
    /// A status there is nothing to say about.
    pub(crate) fn plain(status: DeploymentStatus) -> Self {
        Self { status, reason: String::new(), message: String::new(), conditions: Vec::new(), exit: None }
    }

    /// A status with one word and a sentence for why.
    pub(crate) fn because(status: DeploymentStatus, reason: &str, message: String) -> Self {
        Self { reason: reason.to_owned(), message, ..Self::plain(status) }
    }

    /// What it replaces has to end first.
    pub(crate) fn waits_for_predecessor() -> Self {
        let message = "waits until the deployment it replaces has stopped".to_owned();
        Self::because(DeploymentStatus::Pending, "replacing", message)
    }

    /// What it depends on has to be there first.
    pub(crate) fn waits_for(unmet: &Unmet) -> Self {
        let (reason, message) = unmet.said();
        Self::because(DeploymentStatus::Pending, reason, message.to_owned())
    }

    /// What is recorded now.
    pub(crate) fn recorded(deployment: &Deployment) -> Self {
        Self {
            status: deployment.status,
            reason: deployment.reason.clone(),
            message: deployment.message.clone(),
            conditions: deployment.conditions.clone(),
            exit: deployment.exit.clone(),
        }
    }

    /// Records it, unless it is what is recorded.
    pub(crate) fn record(mut self, deployment: &Deployment, out: &mut Output) {
        self.conditions.sort_unstable();
        self.conditions.dedup();
        if self == Self::recorded(deployment) {
            return;
        }
        let Self { status, reason, message, conditions, exit } = self;
        out.close(Action::SetStatus { deployment: deployment.id, status, reason, message, conditions, exit });
    }
}

/// What a failed start shows as.
pub(crate) fn of_start_failure(cause: StartFailure, said: &str) -> Derived {
    let status = match cause {
        StartFailure::ImageNotFound | StartFailure::ImagePull => DeploymentStatus::ImagePullBackOff,
        StartFailure::Create => DeploymentStatus::CreateContainerError,
        StartFailure::Network => DeploymentStatus::NetworkError,
        StartFailure::Config => DeploymentStatus::ConfigError,
        StartFailure::FileSystem => DeploymentStatus::FileSystemError,
        StartFailure::Cancelled | StartFailure::NodeGone | StartFailure::Other => DeploymentStatus::Error,
    };
    Derived::because(status, cause.as_str(), text::start_failure(cause, said))
}

/// The word for an end that is not a success.
pub(crate) fn exit_reason(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Code(_) => "exit_code",
        Outcome::Signal { oom_killed: true, .. } => "oom_killed",
        Outcome::Signal { .. } => "signal",
        Outcome::NotStarted { cause, .. } => cause.as_str(),
        Outcome::Unknown(why) => why.as_str(),
    }
}

/// An instance that is wanted is on a node out of contact.
pub(crate) fn unreachable(state: &State, views: &[View<'_>]) -> bool {
    views.iter().any(|view| view.is_live() && view.goal == Goal::Run && !node_is_ready(state, view.node))
}
