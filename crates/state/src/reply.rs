//! What a command answers.

use ring_types::{DeploymentId, Epoch, InstanceId, MemberId, Name, NodeId, Revision};

use crate::{Refusal, RowChange};

/// Answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Done,
    /// Not done; nothing has changed.
    Refused(Refusal),
    /// Of an apply, in manifest order.
    Deployments(Vec<DeploymentOutcome>),
    /// Ids that were marked for deletion.
    Deleted(Vec<DeploymentId>),
    /// The id a control node got, and the name.
    Member(MemberId, Name),
    /// The name a node got.
    Node(NodeId, Name),
    /// The epoch of a registration.
    Epoch(Epoch),
    /// Of a claim, in the order asked.
    Claims(Vec<ClaimOutcome>),
    /// Of a plan: how many actions did not fit the facts any more.
    Planned {
        /// Passed over.
        skipped: u32,
    },
}

/// What became of one deployment of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentOutcome {
    /// The record that now stands for `(namespace, name)`.
    pub id: DeploymentId,
    /// What was done.
    pub outcome: Outcome,
}

/// What an apply did to one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was none of that name.
    Created,
    /// Only its replicas changed.
    Scaled,
    /// A new record takes the place of this one.
    Replaced(DeploymentId),
    /// A rolling update of this one began: the new record takes its place one instance at a time.
    Updated(DeploymentId),
    /// The rolling update this one was to bring is called off: the version before stays.
    Restored(DeploymentId),
    /// Nothing changed.
    Unchanged,
}

/// Answer to one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimOutcome {
    /// Which instance.
    pub instance: InstanceId,
    /// It may be executed.
    pub granted: bool,
}

/// What one entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The entry's index; for a repeated request the index that answered it first.
    pub revision: Revision,
    /// The answer.
    pub reply: Reply,
    /// The rows it changed, each key once.
    pub rows: Vec<RowChange>,
}
