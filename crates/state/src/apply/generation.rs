//! The entry a generation begins with.

use std::sync::Arc;

use ring_types::{Epoch, ExitStatus, Generation, InstanceState, Kind, Outcome, UnknownExit};

use super::{Done, EventAt, Tx};
use crate::{
    ClusterMeta, EventKind, EventLevel, Instance, Member, MemberState, NewGeneration, Node, Refusal, RefusalCode, Reply, Row,
};

/// What agents were told by the generation before is below this: no assignment of its goes past so many changes of one instance,
/// no node registers so often.
const AHEAD: u64 = 1_000_000;

impl Tx<'_> {
    pub(super) fn begin_generation(&mut self, wanted: &NewGeneration) -> Done {
        let meta = self.meta()?;
        if wanted.generation.number() <= meta.generation.number() {
            let message = format!("the cluster is of generation {} already", meta.generation);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let first = self.state.next_generation_member();
        let known = self.state.member(wanted.member).cloned();
        if known.is_none() && wanted.member < first {
            let message = format!("control node {} may have been another one before", wanted.member);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let next = if known.is_some() { first } else { wanted.member.next() };
        self.put(Row::Meta(Arc::new(ClusterMeta {
            generation: wanted.generation,
            first_member: first,
            next_member: next,
            ..ClusterMeta::clone(&meta)
        })));
        self.one_member(wanted);
        self.go_ahead();
        Ok(Reply::Done)
    }

    /// All others are out.
    fn one_member(&mut self, wanted: &NewGeneration) {
        let others: Vec<_> = self.state.members().filter(|m| m.id != wanted.member).cloned().collect();
        for other in others.iter().filter(|m| m.state != MemberState::Removed) {
            let removed = Member { state: MemberState::Removed, version: self.revision, ..Member::clone(other) };
            self.put(Row::Member(Arc::new(removed)));
        }
        let joined_at = self.state.member(wanted.member).map_or(self.at, |known| known.joined_at);
        self.put(Row::Member(Arc::new(Member {
            id: wanted.member,
            name: wanted.name.clone(),
            address: wanted.address.clone(),
            api_address: wanted.api_address.clone(),
            state: MemberState::Active,
            joined_at,
            version: self.revision,
        })));
    }

    /// What is said to agents from now on is newer than anything they heard, and what they may have begun unknown to this state is
    /// not begun again.
    fn go_ahead(&mut self) {
        let nodes: Vec<_> = self.state.nodes().cloned().collect();
        for node in nodes {
            let epoch = Epoch(node.epoch.0 + AHEAD);
            self.put(Row::Node(Arc::new(Node { epoch, version: self.revision, ..Node::clone(&node) })));
        }
        let live: Vec<_> = self.state.instances().filter(|i| i.state.is_live()).cloned().collect();
        for instance in live {
            let job = self.state.deployment(instance.deployment).is_some_and(|d| d.spec.kind == Kind::Job);
            let mut after = Instance::clone(&instance);
            after.generation = Generation(after.generation.0 + AHEAD);
            if instance.state == InstanceState::Assigned {
                // The node may have claimed it in the meantime: then its word on it counts.
                after.claim = self.state.node(after.node).map(|node| node.epoch);
            }
            if job && instance.state == InstanceState::Assigned {
                let outcome = Outcome::Unknown(UnknownExit::ClusterRestored);
                after.state = InstanceState::Lost;
                after.exit = Some(Box::new(ExitStatus { outcome, started_at: None, finished_at: self.at, node: after.node }));
                let message = "the cluster was restored, and it is not known whether this attempt had begun".to_owned();
                self.event(after.deployment, EventLevel::Error, EventKind::InstanceLost, EventAt::instance(&after), message);
            }
            self.put_instance(after);
        }
    }
}
