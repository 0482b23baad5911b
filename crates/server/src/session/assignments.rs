//! What a node is told: all its instances first, then what changes of them.

use std::collections::BTreeMap;

use ring_proto::Wire;
use ring_proto::agent::v1::{Assignment, Assignments};
use ring_proto::state::v1 as wire;
use ring_state::{Instance, RowKey, State};
use ring_types::{Generation, Goal, InstanceId, NodeId};

/// What one session has told its node so far.
pub(super) struct Told {
    node: NodeId,
    instances: BTreeMap<InstanceId, Generation>,
}

impl Told {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, instances: BTreeMap::new() }
    }

    /// Everything; what is not in it is not the node's any more.
    pub(super) fn complete(&mut self, state: &State) -> Assignments {
        self.instances = state.instances_on(self.node).map(|i| (i.id, i.generation)).collect();
        let assignments = state.instances_on(self.node).filter_map(|i| assignment(state, i)).collect();
        Assignments { revision: state.revision().0, complete: true, assignments, removed: Vec::new() }
    }

    /// What of `keys` the node does not know yet; None when that is nothing.
    pub(super) fn change(&mut self, state: &State, keys: &[RowKey]) -> Option<Assignments> {
        let mut news = Assignments { revision: state.revision().0, ..Assignments::default() };
        for key in keys {
            let RowKey::Instance(id) = key else { continue };
            match state.instance(*id).filter(|i| i.node == self.node) {
                Some(instance) if self.instances.insert(*id, instance.generation) != Some(instance.generation) => {
                    news.assignments.extend(assignment(state, instance));
                }
                Some(_) => {}
                None if self.instances.remove(id).is_some() => news.removed.push(id.to_string()),
                None => {}
            }
        }
        (!news.assignments.is_empty() || !news.removed.is_empty()).then_some(news)
    }
}

fn assignment(state: &State, instance: &Instance) -> Option<Assignment> {
    let deployment = state.deployment(instance.deployment)?;
    Some(Assignment {
        instance_id: instance.id.to_string(),
        generation: instance.generation.0,
        deployment_id: instance.deployment.to_string(),
        spec: Some(deployment.spec.to_wire()),
        goal: goal_number(instance.goal),
        state: u32::from(instance.state.number()),
        slot: instance.slot,
        attempt: instance.attempt,
        linger_ms: instance.linger(&deployment.spec).0,
    })
}

const fn goal_number(goal: Goal) -> i32 {
    (match goal {
        Goal::Run => wire::Goal::Run,
        Goal::Stop => wire::Goal::Stop,
        Goal::Remove => wire::Goal::Remove,
    }) as i32
}
