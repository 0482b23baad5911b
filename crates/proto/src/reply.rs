//! What commands answer.

use ring_state::{ClaimOutcome, DeploymentOutcome, Outcome, Refusal, RefusalCode, Reply};

message! {
    Refusal => Refusal { code, message }
    DeploymentOutcome => DeploymentOutcome { id, outcome }
    ClaimOutcome => ClaimOutcome { instance, granted }
}

oneof! {
    Reply => Reply in reply {
        values { Refused, Epoch }
        records { Done {}, Planned { skipped } }
        tuples { Deployments(deployments), Deleted(ids), Member(id, name), Node(id, name), Claims(claims) }
    }
}

oneof! {
    Outcome => ApplyOutcome in apply_outcome {
        values { Replaced, Updated, Restored }
        records { Created {}, Scaled {}, Unchanged {} }
        tuples {}
    }
}

enumeration! {
    RefusalCode => RefusalCode { NotFound, Conflict, Forbidden, LimitReached, Invalid, Stale }
}
