//! Messages of the session as our own types.

use std::collections::BTreeSet;
use std::sync::Arc;

use ring_proto::Wire as _;
use ring_proto::agent::v1 as wire;
use ring_proto::state::v1::Goal as WireGoal;
use ring_runtime::{MountedFile, RegistryLogin};
use ring_types::{DeploymentSpec, Generation, Goal, InstanceId, InstanceState, Revision, Span};

use crate::desired::Assignment;
use crate::instances::Assigned;
use crate::mailbox::{ClaimAnswer, Grant, short};

/// What is to be done. An assignment that cannot be read is logged and left as it was; it still counts as named.
///
/// # Errors
/// When not even the names can be read: then nothing may be concluded from what is missing.
pub(super) fn assigned(message: wire::Assignments) -> Result<Assigned, String> {
    let revision = Revision(message.revision);
    let (mut named, mut assignments) = (BTreeSet::new(), Vec::new());
    for one in message.assignments {
        let instance = instance(&one.instance_id)?;
        named.insert(instance);
        match assignment(instance, revision, one) {
            Ok(assignment) => assignments.push(assignment),
            Err(why) => tracing::error!(instance = short(instance), why, "an assignment cannot be read"),
        }
    }
    let removed = message.removed.iter().map(|id| instance(id)).collect::<Result<_, _>>()?;
    Ok(Assigned { revision, complete: message.complete, named, assignments, removed })
}

/// An instance id.
pub(super) fn instance(text: &str) -> Result<InstanceId, String> {
    text.parse().map_err(|_| format!("'{text}' is not an instance id"))
}

fn assignment(instance: InstanceId, revision: Revision, message: wire::Assignment) -> Result<Assignment, String> {
    let goal = WireGoal::try_from(message.goal).map_err(|e| e.to_string())?;
    let state = u16::try_from(message.state).ok().and_then(InstanceState::from_number);
    let spec = message.spec.ok_or("it has no specification")?;
    Ok(Assignment {
        instance,
        deployment: message.deployment_id.parse().map_err(|_| "its deployment has no id")?,
        generation: Generation(message.generation),
        revision,
        spec: Arc::new(DeploymentSpec::from_wire(spec).map_err(|e| e.to_string())?),
        goal: Goal::try_from(goal).map_err(|e| e.to_string())?,
        state: state.ok_or_else(|| format!("state {} is not known to this release", message.state))?,
        linger: Span(message.linger_ms),
    })
}

/// The answer to a claim.
pub(super) fn claim_answer(result: wire::ClaimResult) -> ClaimAnswer {
    if !result.granted {
        ClaimAnswer::Refused
    } else if result.config_error.is_empty() {
        ClaimAnswer::Granted(Grant {
            environment: result.secret_environment,
            files: result.files.into_iter().map(mounted).collect(),
            registry: result.registry.map(login),
            exports: result.exports,
        })
    } else {
        ClaimAnswer::Unusable(result.config_error)
    }
}

fn mounted(file: wire::MountedFile) -> MountedFile {
    MountedFile { destination: file.destination, content: file.content.into(), secret: file.secret }
}

fn login(login: wire::RegistryLogin) -> RegistryLogin {
    let server = Some(login.server).filter(|server| !server.is_empty());
    RegistryLogin { server, username: login.username, password: login.password }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next::cases::assignment as sample;

    fn message() -> wire::Assignment {
        let sample = sample(InstanceState::Running, Goal::Run);
        wire::Assignment {
            instance_id: sample.instance.to_string(),
            generation: sample.generation.0,
            deployment_id: sample.deployment.to_string(),
            spec: Some(sample.spec.to_wire()),
            goal: WireGoal::Run as i32,
            state: u32::from(InstanceState::Running.number()),
            slot: 0,
            attempt: 1,
            linger_ms: 0,
        }
    }

    fn complete(assignments: Vec<wire::Assignment>) -> wire::Assignments {
        wire::Assignments { revision: 10, complete: true, assignments, removed: Vec::new() }
    }

    #[test]
    fn an_assignment_is_read_as_it_was_meant() {
        let read = assigned(complete(vec![message()])).unwrap();
        assert_eq!(read.assignments, [sample(InstanceState::Running, Goal::Run)]);
        assert!(read.complete);
    }

    #[test]
    fn what_cannot_be_read_still_counts_as_named() {
        for broken in [
            wire::Assignment { spec: None, ..message() },
            wire::Assignment { goal: 99, ..message() },
            wire::Assignment { state: 450, ..message() },
            wire::Assignment { deployment_id: String::new(), ..message() },
        ] {
            let read = assigned(complete(vec![broken])).unwrap();
            assert_eq!((read.assignments.len(), read.named.len()), (0, 1));
        }
    }

    #[test]
    fn without_readable_names_nothing_is_concluded() {
        let nameless = wire::Assignment { instance_id: "?".into(), ..message() };
        assert!(assigned(complete(vec![nameless])).is_err());
        assert!(assigned(wire::Assignments { removed: vec!["?".into()], ..complete(Vec::new()) }).is_err());
    }
}
