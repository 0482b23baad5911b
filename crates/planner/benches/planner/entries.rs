//! The cost of one entry in a large state.

use std::time::{Duration, Instant};

use ring_state::{ApplyDeployment, Command, InstanceReport, NodeChange, Reply};
use ring_types::{ConfigId, DeploymentId, ExitStatus, InstanceId, InstanceState, NodeId, NodeStatus, Outcome};
use uuid::Uuid;

use crate::change::us;
use crate::stats::Times;
use crate::table::Table;
use crate::world::{World, apply, name, scatter, worker};

type Make = fn(&mut World, u64) -> Command;

/// Each entry alone, so that whoever reads has the state of before it, and many in a batch of which only the whole is shown,
/// as the store applies what has come in meanwhile.
pub(crate) fn measure(world: &World, times: usize) -> Table {
    let mut table = Table::new(&["one entry in the largest cluster", "alone", "in a batch"]);
    let kinds: [(&str, Make); 5] = [
        ("apply of a new deployment", |_, n| {
            let spec = worker("team-1", &format!("new-{n}"), 1);
            let id = DeploymentId(Uuid::from_u64_pair(scatter(n), scatter(!n)));
            apply(vec![ApplyDeployment::new(id, spec.into())])
        }),
        ("report of an exit", exit),
        ("a node out of contact", |world, n| {
            let all = world.state.node_count();
            let node = world.state.nodes_from(random_node(n)).take(all).find(|node| node.status == NodeStatus::Ready).unwrap();
            let change =
                NodeChange { node: node.id, epoch: node.epoch, status: NodeStatus::Unreachable, held: false, silent_since: None };
            Command::SetNodeStatus { changes: vec![change] }
        }),
        ("change of a config", |_, n| {
            let id = ConfigId(Uuid::from_u128(1));
            let data = [("key".to_owned(), n.to_string())].into();
            let (namespace, name) = (name("zz-small"), name("record"));
            Command::PutConfig { id, namespace, name, data, labels: Default::default(), create: false }
        }),
        ("refused: a namespace that is in use", |_, _| Command::DeleteNamespace { name: name("zz-small") }),
    ];
    for (what, make) in kinds {
        let (alone, batch) = (times_of(world, make, times, true), times_of(world, make, times, false));
        table.row([what.to_owned(), us(alone.median()), us(batch.median())]);
    }
    let copies = (0..times).map(|_| {
        let begin = Instant::now();
        drop(std::hint::black_box(world.state.clone()));
        begin.elapsed()
    });
    table.row(["a copy of the state, made and dropped".to_owned(), us(Times::new(copies.collect()).median()), String::new()]);
    table
}

fn times_of(base: &World, make: Make, times: usize, alone: bool) -> Times {
    let mut world = base.clone();
    let one = |n| {
        let command = make(&mut world, n);
        let entry = world.entry(command);
        let held = alone.then(|| world.state.clone());
        let begin = Instant::now();
        let applied = world.state.apply(world.state.revision().next(), &entry);
        let took = begin.elapsed();
        drop(held);
        assert!(!matches!(applied.reply, Reply::Refused(_)) || matches!(entry.command, Command::DeleteNamespace { .. }));
        took
    };
    Times::new((0..times as u64).map(one).collect::<Vec<Duration>>())
}

fn random_node(n: u64) -> NodeId {
    NodeId(Uuid::from_u64_pair(scatter(n), 0))
}

/// The oldest instance that still runs on a node at random.
fn exit(world: &mut World, n: u64) -> Command {
    let running = |id: NodeId| {
        let mut here = world.state.instances_on(id);
        here.find(|instance| instance.state == InstanceState::Running).map(|instance| (instance.node, instance.id))
    };
    let (node, instance): (_, InstanceId) = world.state.nodes_from(random_node(n)).find_map(|node| running(node.id)).unwrap();
    let exit = ExitStatus { outcome: Outcome::Code(1), started_at: Some(world.now), finished_at: world.now, node };
    let (state, exit) = (InstanceState::Exited, Some(exit));
    let report = InstanceReport { exit, ..InstanceReport::of(instance, state) };
    Command::Report { node, epoch: None, reports: vec![report] }
}
