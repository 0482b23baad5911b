//! Filling a cluster: placements a second, and what each instance takes of the memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring_state::{Action, Command, Instance, InstanceReport, Reply, Row, State};
use ring_types::{Cpu, DeploymentId, InstanceState, Port, Protocol, Resources};

use crate::out;
use crate::process::{processor, resident, since};
use crate::stats::{Times, ms};
use crate::table::Table;
use crate::world::{BATCH, World, worker};

/// How long the parts took.
#[derive(Default)]
struct Spent {
    planned: Duration,
    applied: Duration,
    placements: usize,
}

/// A cluster in which so many deployments run.
pub(crate) fn fill(empty: &World, deployments: u32, replicas: u32) -> World {
    let mut world = empty.clone();
    let ids = world.deploy(deployments, replicas);
    place(&mut world, &ids);
    start(&mut world);
    place(&mut world, &ids);
    world
}

/// Fills a cluster and says how fast that went and what it needs.
pub(crate) fn measure(empty: &World, deployments: u32, replicas: u32) -> (World, Table) {
    let (begin, begin_processor) = (Instant::now(), processor());
    let mut world = empty.clone();
    let ids = world.deploy(deployments, replicas);
    let before = resident();
    let spent = place(&mut world, &ids);
    out::progress("placed");
    let placed = resident();
    start(&mut world);
    place(&mut world, &ids);
    let running = resident();
    let built = (since(begin_processor), begin.elapsed());
    assert_eq!(world.state.instances().filter(|i| i.state == InstanceState::Running).count(), spent.placements);
    let mut table = Table::new(&["filling the cluster", "measured", "aim"]);
    let mut row = |what: &str, measured: String, aim: &str| table.row([what.to_owned(), measured, aim.to_owned()]);
    let rate = |time: Duration| format!("{:.0}/s", spent.placements as f64 / time.as_secs_f64());
    row("instances placed", spent.placements.to_string(), "");
    row("placements: planned", rate(spent.planned), "50,000/s");
    row("placements: checked and applied", rate(spent.applied), "");
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    row("all of it, until every instance is reported running", seconds(built.0), "60 s");
    row("the same by the clock on the wall", seconds(built.1), "");
    let each = |bytes: u64| format!("{} bytes", bytes / spent.placements as u64);
    row("memory of an instance, placed, with its event (difference of VmRSS)", each(placed.saturating_sub(before)), "");
    row("memory of an instance, running, with its events (difference of VmRSS)", each(running.saturating_sub(before)), "");
    out::progress("loads the rows again");
    let (took, indexes, rows) = load(&world.state);
    row("of that, maps and indexes", each(indexes), "");
    row("size of the instance's record", format!("{} bytes", size_of::<Instance>()), "");
    row(&format!("the state built from its {rows} rows, as at a start"), seconds(took), "");
    (world, table)
}

/// A second state of the same rows: only its maps are new.
fn load(state: &State) -> (Duration, u64, usize) {
    let rows: Vec<Row> = state.rows().collect();
    let count = rows.len();
    let before = resident();
    let begin = processor();
    let again = State::from_rows(state.revision(), rows.iter().cloned()).unwrap();
    let took = since(begin);
    assert_eq!(again.instances().count(), state.instances().count());
    (took, resident().saturating_sub(before), count)
}

fn place(world: &mut World, ids: &[DeploymentId]) -> Spent {
    let mut spent = Spent::default();
    for batch in ids.chunks(BATCH) {
        let mut dirty: BTreeSet<_> = batch.iter().copied().collect();
        while !dirty.is_empty() {
            let begin = processor();
            let plan = world.plan(&dirty);
            spent.planned += since(begin);
            spent.placements += creates(&plan.actions);
            dirty = plan.remaining;
            let entry = world.entry(Command::Plan { actions: plan.actions });
            let begin = processor();
            let reply = world.state.apply(world.state.revision().next(), &entry).reply;
            spent.applied += since(begin);
            assert_eq!(reply, Reply::Planned { skipped: 0 });
        }
    }
    spent
}

fn creates(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::CreateInstance { .. })).count()
}

/// Every node claims what is bound to it and reports it running.
fn start(world: &mut World) {
    let nodes: Vec<_> = world.state.nodes().map(|node| (node.id, node.epoch)).collect();
    for (node, epoch) in nodes {
        let instances: Vec<_> = world.state.instances_on(node).map(|instance| instance.id).collect();
        let reports = world.state.instances_on(node).map(|instance| running(world, instance)).collect();
        world.run(Command::Claim { node, epoch, instances });
        world.run(Command::Report { node, epoch: None, reports });
    }
}

fn running(world: &World, instance: &Arc<Instance>) -> InstanceReport {
    InstanceReport {
        address: Some("172.17.0.2".to_owned()),
        image_digest: Some(format!("sha256:{:064x}", 7)),
        started_at: Some(world.now),
        ..InstanceReport::of(instance.id, InstanceState::Running)
    }
}

/// Placements that are harder to find, in the full cluster. Nothing of it is kept.
pub(crate) fn searches(world: &mut World, times: usize) -> Table {
    let mut table = Table::new(&["searching the full cluster", "median of a plan", "placements/s"]);
    let replicas = 100;
    let mut plain = worker("search", "plain", replicas);
    plain.resources = Resources::default();
    let mut ports = plain.clone();
    ports.ports = vec![Port { published: 8080, target: 80, host_ip: "0.0.0.0".to_owned(), protocol: Protocol::Tcp }];
    let mut zone = plain.clone();
    zone.placement.constraints = vec!["zone==zone-7".parse().unwrap()];
    let mut huge = worker("search", "huge", replicas);
    huge.resources.requests.cpu = Some(Cpu(31_000));
    for (what, spec, found) in [
        ("100 instances without a wish", plain, replicas),
        ("100 instances with a published port", ports, replicas),
        ("100 instances for one node in 100", zone, replicas),
        ("100 instances no node has room for", huge, 0),
    ] {
        let mut world = world.clone();
        let dirty: BTreeSet<_> = world.apply(vec![spec]).into_iter().collect();
        let timed = || {
            let begin = processor();
            let plan = world.plan(&dirty);
            let took = since(begin);
            assert_eq!(creates(&plan.actions), found as usize, "{what}");
            took
        };
        let median = Times::new(std::iter::repeat_with(timed).take(times.min(31)).collect()).median();
        let rate = if found == 0 { "-".to_owned() } else { format!("{:.0}", f64::from(found) / median.as_secs_f64()) };
        table.row([what.to_owned(), ms(median), rate]);
    }
    table
}
