//! Which instances should be on other nodes, now that nodes came, returned or were emptied: as placement would choose, if it were
//! to choose again.
//!
//! An instance is moved when that makes the spread strictly more even, by the measure of [`Gain`]. Moves are tried out one after
//! another on what is counted, until none is left that betters anything, so that what they lead to needs none either. An instance
//! that was moved on goes straight to its last node; where the room for that was only there while it was on a node between (two
//! that are to change places, on full nodes), every instance moves once, and what is left over is for the next time.

use std::collections::BTreeMap;

use ring_state::{Deployment, Instance, Node, State, limits, may_run};
use ring_types::{DeploymentId, DeploymentStatus, Goal, InstanceId, InstanceState, Kind, NodeId, NodeStatus, VolumeDriver};

use crate::place::{Gain, Own, Placer};
use crate::{text, view};

/// Moves that are tried out for each that is made at most: an instance may be moved on.
const TRIES: usize = 4;

/// An instance that is to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// Which.
    pub instance: InstanceId,
    /// Whose.
    pub deployment: DeploymentId,
    /// Where it is.
    pub from: NodeId,
    /// Where another takes its place.
    pub to: NodeId,
    /// What gets better, in words.
    pub why: String,
}

/// The moves that make the spread even, in the order they are to begin; at most [`limits::MOVES_PER_REBALANCE`]. Each finds room once
/// those before it are done.
///
/// Its cost is that of placing every instance again.
pub fn rebalance(state: &State) -> Vec<PlannedMove> {
    let moves = tried_out(state, Onward::Allowed);
    if each_finds_room(state, &moves) { moves } else { tried_out(state, Onward::Refused) }
}

/// Whether an instance that was moved may be moved on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Onward {
    Allowed,
    Refused,
}

fn tried_out(state: &State, onward: Onward) -> Vec<PlannedMove> {
    let mut all: Vec<Group<'_>> = state.deployments().filter_map(|deployment| Group::of(state, deployment)).collect();
    let mut trial = Trial { state, placer: Placer::new(state), onward, moves: BTreeMap::new(), tried: 0 };
    // First what is spread unevenly; only then what weighs unevenly.
    trial.settle(&mut all, Gain::is_of_spread);
    trial.settle(&mut all, |_| true);
    let mut moves: Vec<_> = trial.moves.into_values().collect();
    moves.sort_by_key(|(order, _)| *order);
    moves.into_iter().map(|(_, one)| one).take(limits::MOVES_PER_REBALANCE).collect()
}

/// Whether each of them is possible once those before it are done.
fn each_finds_room(state: &State, moves: &[PlannedMove]) -> bool {
    let mut placer = Placer::new(state);
    let mut owns: BTreeMap<DeploymentId, Own> = BTreeMap::new();
    moves.iter().all(|one| {
        let nodes = state.node(one.from).zip(state.node(one.to));
        let Some((deployment, (from, to))) = state.deployment(one.deployment).zip(nodes) else { return false };
        let own = owns
            .entry(one.deployment)
            .or_insert_with(|| Own::of(state, &deployment.spec, &view::instances(state, one.deployment)));
        let room = placer.takes(one.to, deployment, own);
        if room {
            placer.shift(one.instance, deployment, own, (from, to));
        }
        room
    })
}

/// The instances of a deployment, where they are taken to be.
struct Group<'a> {
    deployment: &'a Deployment,
    own: Own,
    /// The highest slot last.
    instances: Vec<(InstanceId, NodeId)>,
}

impl<'a> Group<'a> {
    /// None for a deployment whose instances stay where they are.
    fn of(state: &'a State, deployment: &'a Deployment) -> Option<Self> {
        let views = view::instances(state, deployment.id);
        let live: Vec<&Instance> = views.iter().filter_map(|view| view.record).filter(|i| may_run(i)).collect();
        if !may_move(state, deployment) || !is_whole(state, deployment, &live) {
            return None;
        }
        let instances = live.iter().map(|i| (i.id, i.node)).collect();
        Some(Self { deployment, own: Own::of(state, &deployment.spec, &views), instances })
    }

    /// The nodes that have most of it first.
    fn nodes(&self, state: &'a State) -> Vec<&'a Node> {
        let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
        self.instances.iter().for_each(|(_, node)| *counts.entry(*node).or_default() += 1);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(node, count)| (std::cmp::Reverse(*count), *node));
        // What is on a node that is cordoned stays there.
        let open = |node: &&Node| node.status == NodeStatus::Ready && node.schedulable;
        counts.iter().filter_map(|(node, _)| state.node(*node)).map(AsRef::as_ref).filter(open).collect()
    }
}

/// A worker whose instances can take one another's place, and do not have to stay where their data is.
fn may_move(state: &State, deployment: &Deployment) -> bool {
    let spec = &deployment.spec;
    let mut mounted = state.mounted(spec).filter_map(|(_, volume)| volume);
    spec.kind == Kind::Worker
        && !deployment.deleting
        && !ring_state::is_exclusive(spec)
        && !mounted.any(|volume| volume.driver == VolumeDriver::Local)
}

/// Nothing else is under way: every instance serves, none is missing, and there is no other record of its name.
fn is_whole(state: &State, deployment: &Deployment, live: &[&Instance]) -> bool {
    let spec = &deployment.spec;
    let mut others = state.deployments_named(&spec.namespace, &spec.name).filter(|other| other.id != deployment.id);
    let at_rest = |i: &&Instance| {
        i.goal == Goal::Run && i.state == InstanceState::Running && state.serves(i, deployment) && i.moving.is_none()
    };
    deployment.status == DeploymentStatus::Running
        && live.len() == deployment.wanted() as usize
        && live.iter().all(at_rest)
        && !state.is_drained(deployment)
        && !others.any(|other| other.is_rolling_out() || state.instances_of(other.id).any(|i| may_run(i)))
}

/// Moves tried out so far.
struct Trial<'a> {
    state: &'a State,
    placer: Placer<'a>,
    onward: Onward,
    /// The last move of each instance, and when it was tried.
    moves: BTreeMap<InstanceId, (usize, PlannedMove)>,
    tried: usize,
}

impl<'a> Trial<'a> {
    /// Moves what betters something that is wanted, until nothing does.
    fn settle(&mut self, all: &mut [Group<'a>], wanted: impl Fn(&Gain) -> bool) {
        loop {
            let before = self.tried;
            for group in all.iter_mut() {
                while self.moves.len() < limits::MOVES_PER_REBALANCE
                    && self.tried < TRIES * limits::MOVES_PER_REBALANCE
                    && self.step(group, &wanted)
                {}
            }
            if self.tried == before {
                return;
            }
        }
    }

    /// The next move of a deployment; false when there is none.
    fn step(&mut self, group: &mut Group<'a>, wanted: &impl Fn(&Gain) -> bool) -> bool {
        for from in group.nodes(self.state) {
            let better = self.placer.better(group.deployment, &group.own, from).filter(|(_, gain)| wanted(gain));
            let Some((to, gain)) = better else { continue };
            let stays = |instance: &InstanceId| self.onward == Onward::Refused && self.moves.contains_key(instance);
            let there = group.instances.iter().rposition(|(instance, node)| *node == from.id && !stays(instance));
            let Some(at) = there else { continue };
            let (instance, node) = &mut group.instances[at];
            *node = to.id;
            self.placer.shift(*instance, group.deployment, &mut group.own, (from, to));
            self.note(*instance, group.deployment.id, (from, to), &gain);
            return true;
        }
        false
    }

    fn note(&mut self, instance: InstanceId, deployment: DeploymentId, (from, to): (&Node, &Node), gain: &Gain) {
        self.tried += 1;
        let why = text::gain(gain, from.name.as_str(), to.name.as_str());
        let origin = self.moves.get(&instance).map_or(from.id, |(_, first)| first.from);
        if origin == to.id {
            self.moves.remove(&instance);
        } else {
            let planned = PlannedMove { instance, deployment, from: origin, to: to.id, why };
            self.moves.insert(instance, (self.tried, planned));
        }
    }
}
