//! Random histories: whatever clients and nodes do, the plan keeps its promises.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ring_state::{Command, Usage};
use ring_types::{
    CheckAction, Dependency, DependencyCondition, DeploymentId, DeploymentSpec, DeploymentStatus, Goal, HealthCheck, InstanceId,
    InstanceState, Kind, NodeId, NodeStatus, OnNodeLoss, Outcome, Span, StartFailure, UnknownExit,
};

use crate::world::{World, check, job, needs, worker};

/// Something that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Apply { name: u8, kind: bool, replicas: u8, cpu: u8, image: u8, checks: u8, force: bool, tried: (u8, u8, u8), after: u8 },
    Follow(u8, bool),
    Health { n: u8, ready: bool, failing: u8 },
    Delete(u8),
    Node(u8),
    Status(u8, NodeStatus),
    Return(u8),
    RemoveNode(u8),
    Claim(u8),
    Run(u8),
    End(u8, u8),
    FailStart(u8, u8),
    Removed(u8),
    Pass(u32),
    Plan,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop_oneof![Just(NodeStatus::Unreachable), Just(NodeStatus::Lost), Just(NodeStatus::Ready)];
    let step = prop_oneof![
        5 => ((0u8..4, any::<bool>(), 0u8..5, 0u8..4, 0u8..3, 0u8..4, 0u8..10), (0u8..4, 0u8..3, 0u8..4), 0u8..8)
            .prop_map(|((name, kind, replicas, cpu, image, checks, force), tried, after)| {
                Step::Apply { name, kind, replicas, cpu, image, checks, force: force == 0, tried, after }
            }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(n, back)| Step::Follow(n, back)),
        6 => (any::<u8>(), any::<bool>(), 0u8..4).prop_map(|(n, ready, failing)| Step::Health { n, ready, failing }),
        1 => any::<u8>().prop_map(Step::Delete),
        2 => any::<u8>().prop_map(Step::Node),
        2 => (any::<u8>(), status).prop_map(|(n, s)| Step::Status(n, s)),
        2 => any::<u8>().prop_map(Step::Return),
        1 => any::<u8>().prop_map(Step::RemoveNode),
        3 => any::<u8>().prop_map(Step::Claim),
        6 => any::<u8>().prop_map(Step::Run),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(n, o)| Step::End(n, o)),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(n, c)| Step::FailStart(n, c)),
        4 => any::<u8>().prop_map(Step::Removed),
        3 => any::<u16>().prop_map(|ms| Step::Pass(u32::from(ms))),
        1 => Just(Step::Pass(200_000)),
        8 => Just(Step::Plan),
    ];
    prop::collection::vec(step, 1..80)
}

fn pick<T>(all: &[T], n: u8) -> Option<&T> {
    (!all.is_empty()).then(|| &all[usize::from(n) % all.len()])
}

fn nodes(world: &World) -> Vec<NodeId> {
    world.state.nodes().map(|n| n.id).collect()
}

fn instances(world: &World, wanted: impl Fn(InstanceState) -> bool) -> Vec<InstanceId> {
    let reachable = |node| world.state.node(node).is_some_and(|n| n.status != NodeStatus::Lost);
    world.state.instances().filter(|i| wanted(i.state) && reachable(i.node)).map(|i| i.id).collect()
}

/// None, one that decides readiness, one that does not, or both.
fn some_checks(n: u8) -> Vec<HealthCheck> {
    let actions = [CheckAction::Restart, CheckAction::Stop];
    (0..2u8).filter(|bit| n & (1 << bit) != 0).map(|bit| check(bit == 0, actions[usize::from(bit)])).collect()
}

const FAILURES: [StartFailure; 4] =
    [StartFailure::ImageNotFound, StartFailure::Create, StartFailure::Network, StartFailure::Other];

fn outcome(n: u8) -> Outcome {
    match n % 6 {
        0 | 1 => Outcome::Code(0),
        2 => Outcome::Code(i32::from(n)),
        3 => Outcome::Signal { signal: 9, oom_killed: n & 8 != 0 },
        4 => Outcome::Unknown(UnknownExit::InstanceVanished),
        _ => Outcome::Code(127),
    }
}

fn try_again(spec: DeploymentSpec, (retries, timeout, loss): (u8, u8, u8)) -> DeploymentSpec {
    let timeout = (timeout > 0).then(|| Span(u64::from(timeout) * 10_000));
    let on_node_loss = [OnNodeLoss::Fail, OnNodeLoss::Fail, OnNodeLoss::Wait, OnNodeLoss::Reschedule][usize::from(loss)];
    DeploymentSpec { retries: u32::from(retries), timeout, on_node_loss, ..spec }
}

fn on(name: u8) -> Dependency {
    Dependency { deployment: format!("d{name}"), condition: DependencyCondition::Running }
}

pub(crate) fn take(world: &mut World, step: &Step) {
    use InstanceState::{Assigned, Claimed, Exited, Lost, Running};
    match *step {
        Step::Apply { name, kind, replicas, cpu, image, checks, force, tried, after } => {
            // Only on what comes before in the alphabet, so that nothing waits for itself.
            let depends_on = if after < name { vec![on(after)] } else { Vec::new() };
            let name = format!("d{name}");
            let spec = if kind { job(&name) } else { worker(&name, u32::from(replicas)) };
            let spec = needs(spec, u64::from(cpu) * 1000, 1);
            let spec = if kind { try_again(spec, tried) } else { spec };
            let health_checks = if kind { Vec::new() } else { some_checks(checks) };
            world.change(DeploymentSpec { image: image.to_string(), health_checks, depends_on, ..spec }, force);
        }
        Step::Follow(n, back) => {
            let all: Vec<_> = world.state.deployments().map(|d| d.id).collect();
            let command = if back { Command::RollbackDeployment } else { Command::RestartDeployment };
            pick(&all, n).copied().into_iter().for_each(|id| drop(world.follow(id, command)));
        }
        Step::Health { n, ready, failing } => {
            let failing: Vec<u32> = (0..2).filter(|check| failing & (1 << check) != 0).collect();
            let running = instances(world, |s| s == Running);
            pick(&running, n).copied().into_iter().for_each(|id| world.health(id, ready, &failing));
        }
        Step::Delete(n) => {
            let all: Vec<_> = world.state.deployments().map(|d| d.id).collect();
            pick(&all, n).copied().into_iter().for_each(|id| world.delete(id));
        }
        Step::Node(n) if world.state.node_count() < 4 => drop(world.node(&format!("n{n}"), 4000, 8000, &[])),
        Step::Node(_) | Step::Plan => drop(world.step()),
        Step::Status(n, status) => pick(&nodes(world), n).copied().into_iter().for_each(|id| world.set_node(id, status)),
        Step::Return(n) => pick(&nodes(world), n).copied().into_iter().for_each(|id| world.register(id, 4000, 8000)),
        Step::RemoveNode(n) => pick(&nodes(world), n).copied().into_iter().for_each(|node| {
            world.apply(Command::RemoveNode { node });
        }),
        Step::Claim(n) => pick(&instances(world, |s| s == Assigned), n).copied().into_iter().for_each(|id| world.claim(id)),
        Step::Run(n) => pick(&instances(world, |s| s <= Claimed), n).copied().into_iter().for_each(|id| world.run(id)),
        Step::End(n, o) => {
            let ran = instances(world, |s| (Claimed..=Lost).contains(&s) && s >= Running);
            pick(&ran, n).copied().into_iter().for_each(|id| world.end(id, outcome(o)));
        }
        Step::FailStart(n, c) => {
            let fresh = instances(world, |s| s <= Claimed);
            let cause = FAILURES[usize::from(c) % FAILURES.len()];
            pick(&fresh, n).copied().into_iter().for_each(|id| world.fail_start(id, cause));
        }
        Step::Removed(n) => {
            let ended = instances(world, |s| s == Exited);
            let going = ended.into_iter().filter(|id| world.state.instance(*id).unwrap().goal == Goal::Remove);
            let going: Vec<_> = going.collect();
            pick(&going, n).copied().into_iter().for_each(|id| world.removed(id));
        }
        Step::Pass(ms) => world.pass(Span(u64::from(ms))),
    }
}

/// How many instances of each attempt of each job may have run, over the whole history.
#[derive(Default)]
struct History {
    ran: BTreeMap<(DeploymentId, u32), BTreeSet<InstanceId>>,
    /// Jobs that were told to be over, and the instances they had then.
    over: BTreeMap<DeploymentId, BTreeSet<InstanceId>>,
}

impl History {
    fn check(&mut self, world: &World) -> Result<(), TestCaseError> {
        for deployment in world.state.deployments() {
            let mut live: BTreeMap<u32, u32> = BTreeMap::new();
            for instance in world.state.instances_of(deployment.id) {
                if instance.state.is_live() {
                    *live.entry(instance.slot).or_default() += 1;
                }
                if instance.claim.is_some() && deployment.spec.kind == Kind::Job {
                    let not_started = instance.exit.as_deref().is_some_and(|e| matches!(e.outcome, Outcome::NotStarted { .. }));
                    let ran = self.ran.entry((deployment.id, instance.attempt)).or_default();
                    if not_started {
                        ran.remove(&instance.id)
                    } else {
                        ran.insert(instance.id)
                    };
                }
            }
            prop_assert!(live.values().all(|count| *count == 1), "two live instances in one slot");
            let (first, last) = ((deployment.id, 0), (deployment.id, u32::MAX));
            for ((_, attempt), ran) in self.ran.range(first..=last) {
                prop_assert!(ran.len() <= 1, "attempt {attempt} ran twice: {ran:?}");
                prop_assert!(ran.is_empty() || *attempt <= deployment.spec.attempts(), "attempt {attempt} of {deployment:?}");
            }
            if deployment.spec.kind == Kind::Job && deployment.status.is_final() {
                let now: BTreeSet<_> = world.state.instances_of(deployment.id).map(|i| i.id).collect();
                let then = self.over.entry(deployment.id).or_insert_with(|| now.clone());
                prop_assert!(now.is_subset(then), "a job that was over goes on: {deployment:?}");
            }
        }
        within_capacity(world)
    }
}

/// No node has more on it than it has room for, by its instances and by the index of what is set aside.
pub(crate) fn within_capacity(world: &World) -> Result<(), TestCaseError> {
    for node in world.state.nodes() {
        let mut held = Usage::default();
        for instance in world.state.instances_on(node.id).filter(|i| i.state <= InstanceState::Lost) {
            let (cpu, memory) = world.deployment(instance.deployment).spec.resources.reserved();
            held.cpu.0 += cpu.0;
            held.memory.0 += memory.0;
            held.instances += 1;
        }
        prop_assert_eq!(held, world.state.usage(node.id), "what is set aside is what its instances hold");
        let capacity = node.info.capacity;
        prop_assert!(held.cpu <= capacity.cpu && held.memory <= capacity.memory, "placed over capacity: {:?}", held);
    }
    Ok(())
}

fn settled(world: &mut World) -> Result<(), TestCaseError> {
    let mut rounds = 0;
    loop {
        let plan = world.step();
        if plan.actions.is_empty() && plan.remaining.is_empty() {
            break;
        }
        rounds += 1;
        prop_assert!(rounds <= 5, "does not settle: {:#?}", plan.actions);
    }
    for deployment in world.state.deployments().filter(|d| !d.deleting) {
        let name = (&deployment.spec.namespace, &deployment.spec.name);
        let active = world.state.deployments_named(name.0, name.1).filter(|d| !d.deleting && !d.has_failed_to_roll_out());
        let (rolling, standing): (Vec<_>, Vec<_>) = active.partition(|d| d.is_rolling_out());
        prop_assert!(standing.len() <= 1 && rolling.len() <= standing.len(), "{rolling:?} beside {standing:?}");
        let live = world.state.instances_of(deployment.id).filter(|i| i.state.is_live() && i.goal == Goal::Run).count();
        prop_assert!(live <= deployment.spec.wanted() as usize, "{live} live instances of {}", deployment.spec.wanted());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_whatever_happens(steps in steps()) {
        let mut world = World::with_nodes(2);
        let mut history = History::default();
        for step in &steps {
            take(&mut world, step);
            history.check(&world)?;
        }
        settled(&mut world)?;
        history.check(&world)?;
    }

    /// With nodes that do what they are told everything comes to rest: jobs end, workers run, what is deleted is forgotten.
    #[test]
    fn everything_heals(steps in steps()) {
        let mut world = World::with_nodes(2);
        let mut history = History::default();
        steps.iter().for_each(|step| take(&mut world, step));
        for id in nodes(&world) {
            world.register(id, 4000, 8000);
        }
        for _ in 0..40 {
            settled(&mut world)?;
            world.obey();
            world.get_well();
            world.pass(Span::seconds(70));
            history.check(&world)?;
        }
        settled(&mut world)?;
        for deployment in world.state.deployments() {
            prop_assert!(!deployment.deleting, "not forgotten: {deployment:?}");
            let waits = deployment.placement_failure.is_some();
            let waits = waits || deployment.conditions.contains(&ring_types::Condition::Waiting);
            let stopped = deployment.reason == "stopped_by_check";
            let runs = deployment.status == DeploymentStatus::Running && deployment.spec.kind == Kind::Worker;
            prop_assert!(waits || !deployment.is_rolling_out(), "{deployment:?}");
            prop_assert!(deployment.status.is_final() || runs || stopped || waits, "{deployment:?}");
        }
    }
}
