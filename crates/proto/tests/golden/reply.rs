//! A reply of every kind.

use ring_state::{ClaimOutcome, DeploymentOutcome, Outcome, Refusal, RefusalCode, Reply};
use ring_types::{Epoch, MemberId};

use crate::{DEPLOYMENT, INSTANCE, NODE, OLDER, name};

/// What becomes of a deployment in a rolling update.
pub(crate) fn rolling() -> Reply {
    let outcomes = [Outcome::Updated(OLDER), Outcome::Restored(OLDER)];
    Reply::Deployments(outcomes.into_iter().map(|outcome| DeploymentOutcome { id: DEPLOYMENT, outcome }).collect())
}

pub(crate) fn examples() -> Vec<Reply> {
    let outcomes = [Outcome::Created, Outcome::Scaled, Outcome::Replaced(OLDER), Outcome::Unchanged];
    vec![
        Reply::Done,
        Reply::Refused(Refusal { code: RefusalCode::Conflict, message: "namespace shop is not empty".to_owned() }),
        Reply::Deployments(outcomes.into_iter().map(|outcome| DeploymentOutcome { id: DEPLOYMENT, outcome }).collect()),
        Reply::Deleted(vec![DEPLOYMENT, OLDER]),
        Reply::Member(MemberId(3), name("c3")),
        Reply::Node(NODE, name("n1")),
        Reply::Epoch(Epoch(5)),
        Reply::Claims(vec![
            ClaimOutcome { instance: INSTANCE, granted: true },
            ClaimOutcome { instance: INSTANCE, granted: false },
        ]),
        Reply::Planned { skipped: 1 },
    ]
}
