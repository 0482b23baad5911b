//! Leases.

use std::collections::BTreeMap;

use ring_planner::{Contact, LeaseOptions, judge_nodes};
use ring_state::Command;
use ring_types::{NodeId, NodeStatus, Span, Timestamp};

use crate::world::World;

const OPTIONS: LeaseOptions = LeaseOptions { suspect_after: Span(5000), lost_after: Span(60_000), max_lost_percent: 50 };

fn hear(world: &World, nodes: impl IntoIterator<Item = NodeId>, at: Timestamp) -> BTreeMap<NodeId, Contact> {
    nodes.into_iter().map(|id| (id, Contact { epoch: world.state.node(id).unwrap().epoch, last_heard: at })).collect()
}

fn judge(world: &mut World, contacts: &BTreeMap<NodeId, Contact>, since: Timestamp) -> Vec<NodeStatus> {
    let judgement = judge_nodes(&world.state, contacts, since, world.now, &OPTIONS);
    world.apply(Command::SetNodeStatus { changes: judgement.changes });
    world.state.nodes().map(|n| n.status).collect()
}

#[test]
fn silence_is_suspected_then_lost() {
    use NodeStatus::{Lost, Ready, Unreachable};
    let mut world = World::with_nodes(3);
    let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
    let since = world.now;
    let silent_since = world.now;
    for (after, expected) in [(4999, Ready), (5000, Unreachable), (59_999, Unreachable), (60_000, Lost)] {
        world.now = silent_since + Span(after);
        let mut contacts = hear(&world, nodes.iter().copied(), world.now);
        contacts.get_mut(&nodes[1]).unwrap().last_heard = silent_since;
        assert_eq!(judge(&mut world, &contacts, since), [Ready, expected, Ready], "{after}");
    }
}

/// It registered anew, and was not heard of under that registration: the silence since then counts, and no more.
#[test]
fn a_node_that_fell_silent_after_it_registered_has_its_whole_time() {
    use NodeStatus::{Lost, Ready, Unreachable};
    let mut world = World::with_nodes(3);
    world.apply(Command::RaiseLevel { level: ring_state::LEVEL });
    let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
    let since = world.now;
    world.pass(Span(300_000));
    let mut contacts = hear(&world, nodes.iter().copied(), world.now);
    world.register(nodes[1], 4000, 8000);
    for (after, expected) in
        [(500, Ready), (4000, Ready), (1500, Unreachable), (500, Unreachable), (53_000, Unreachable), (2000, Lost)]
    {
        world.pass(Span(after));
        for node in world.state.nodes() {
            let contact = contacts.get_mut(&node.id).unwrap();
            *contact = contact.renewed(node, world.now);
            if node.id != nodes[1] {
                contact.last_heard = world.now;
            }
        }
        assert_eq!(judge(&mut world, &contacts, since), [Ready, expected, Ready], "{after} later");
    }
}

#[test]
fn a_node_heard_again_is_ready() {
    let mut world = World::with_nodes(1);
    let node = world.state.nodes().next().unwrap().id;
    let since = world.now;
    world.pass(Span(6000));
    assert_eq!(judge(&mut world, &BTreeMap::new(), since), [NodeStatus::Unreachable]);
    let contacts = hear(&world, [node], world.now);
    assert_eq!(judge(&mut world, &contacts, since), [NodeStatus::Ready]);
}

#[test]
fn a_sign_of_life_under_an_old_registration_counts_for_nothing() {
    let mut world = World::with_nodes(1);
    let node = world.state.nodes().next().unwrap().id;
    let since = world.now;
    let epoch = ring_types::Epoch(0);
    world.pass(Span(6000));
    let contacts = BTreeMap::from([(node, Contact { epoch, last_heard: world.now })]);
    assert_eq!(judge(&mut world, &contacts, since), [NodeStatus::Unreachable]);
}

#[test]
fn a_new_leader_starts_every_lease_afresh() {
    let mut world = World::with_nodes(3);
    world.pass(Span(500_000));
    let since = world.now;
    assert_eq!(judge(&mut world, &BTreeMap::new(), since), [NodeStatus::Ready; 3]);
    world.pass(Span(4999));
    assert_eq!(judge(&mut world, &BTreeMap::new(), since), [NodeStatus::Ready; 3]);
}

#[test]
fn when_many_fall_silent_at_once_nothing_is_lost() {
    let mut world = World::with_nodes(10);
    let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
    let since = world.now;
    world.pass(Span(100_000));
    let contacts = hear(&world, nodes[..4].iter().copied(), world.now);
    let judgement = judge_nodes(&world.state, &contacts, since, world.now, &OPTIONS);
    assert_eq!(judgement.held_back, 6);
    assert!(judgement.changes.iter().all(|c| c.status == NodeStatus::Unreachable));
    let contacts = hear(&world, nodes[..5].iter().copied(), world.now);
    let judgement = judge_nodes(&world.state, &contacts, since, world.now, &OPTIONS);
    assert_eq!(judgement.changes.iter().filter(|c| c.status == NodeStatus::Lost).count(), 5);
}

/// An operator can see which they are, on every control node.
#[test]
fn nodes_that_are_held_back_are_marked_until_it_is_over() {
    let mut world = World::with_nodes(3);
    let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
    let since = world.now;
    world.pass(Span(100_000));
    let held = |world: &World| world.state.nodes().map(|n| n.held).collect::<Vec<_>>();
    let contacts = hear(&world, nodes[..1].iter().copied(), world.now);
    judge(&mut world, &contacts, since);
    assert_eq!(held(&world), [false, true, true]);
    let again = judge_nodes(&world.state, &contacts, since, world.now, &OPTIONS);
    assert_eq!((again.changes, again.held_back), (vec![], 2), "it is written once");
    let contacts = hear(&world, nodes[..2].iter().copied(), world.now);
    assert_eq!(judge(&mut world, &contacts, since), [NodeStatus::Ready, NodeStatus::Ready, NodeStatus::Lost]);
    assert_eq!(held(&world), [false; 3]);
}

#[test]
fn who_was_heard_a_moment_later_counts_with_the_silent() {
    use NodeStatus::{Lost, Ready, Unreachable};
    let mut world = World::with_nodes(3);
    let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
    let begun = world.now;
    world.now = begun + Span(60_000);
    let mut contacts = hear(&world, nodes.iter().copied(), world.now);
    contacts.get_mut(&nodes[0]).unwrap().last_heard = begun;
    contacts.get_mut(&nodes[1]).unwrap().last_heard = begun + Span(600);
    assert_eq!(judge(&mut world, &contacts, begun), [Unreachable, Unreachable, Ready]);
    assert!(world.state.node(nodes[0]).unwrap().held, "its time is over");
    // The other was only slow: what is left is one host.
    contacts.get_mut(&nodes[1]).unwrap().last_heard = world.now;
    assert_eq!(judge(&mut world, &contacts, begun), [Lost, Ready, Ready]);
}

#[test]
fn nodes_lost_one_after_another_count_together() {
    let mut world = World::with_nodes(4);
    let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
    let since = world.now;
    for alive in [3, 2, 1] {
        world.pass(Span(60_000));
        let contacts = hear(&world, nodes[..alive].iter().copied(), world.now);
        judge(&mut world, &contacts, since);
    }
    let lost = world.state.nodes().filter(|n| n.status == NodeStatus::Lost).count();
    assert_eq!(lost, 2, "half of them, no more");
}

#[test]
fn in_the_smallest_clusters_one_node_may_be_lost() {
    for count in [1, 2] {
        let mut world = World::with_nodes(count);
        let nodes: Vec<_> = world.state.nodes().map(|n| n.id).collect();
        let since = world.now;
        world.pass(Span(60_000));
        let contacts = hear(&world, nodes[1..].iter().copied(), world.now);
        assert_eq!(judge(&mut world, &contacts, since)[0], NodeStatus::Lost);
    }
}

#[test]
fn the_next_look_is_when_a_lease_runs_out() {
    let world = World::with_nodes(2);
    let since = world.now;
    let judgement = judge_nodes(&world.state, &BTreeMap::new(), since, world.now, &OPTIONS);
    assert_eq!(judgement.wake_at, Some(since + OPTIONS.suspect_after));
}
