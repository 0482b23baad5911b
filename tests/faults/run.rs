//! One run: a cluster, clients that never stop, one fault after another, and the judgement.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring_testkit::cluster::Options;
use ring_testkit::lab::{DockerOptions, Lab};
use ring_testkit::work::new_key;
use ring_testkit::{Cluster, history, report, wait};
use serde_json::json;

use crate::clients::{self, READER, Registers};
use crate::clock;
use crate::inject::Faults;
use crate::jobs::Jobs;
use crate::kinds::Kind;
use crate::load::{EndsLoad, Load, Sent};
use crate::workers;

/// The hosts of the control nodes; the second has a disk that fails on demand, the last a small one.
pub(crate) const CONTROLS: [&str; 3] = ["c1", "c2", "c3"];
const AGENTS: [&str; 2] = ["a1", "a2"];
/// Room for the state, its log, and what they are rewritten into.
const DISK: u64 = 256 << 20;
/// After a fault is healed the whole cluster works again within this time.
const CONVERGES: Duration = Duration::from_mins(1);
pub(crate) fn seed() -> u64 {
    let given = std::env::var("RING_FAULT_SEED").ok();
    given.map_or_else(|| rand::rng().random_range(1..1_000_000), |text| text.parse().expect("RING_FAULT_SEED is a number"))
}

fn length() -> Duration {
    let minutes = std::env::var("RING_FAULT_MINUTES").ok();
    minutes.map_or(Duration::ZERO, |text| Duration::from_mins(text.parse().expect("RING_FAULT_MINUTES is a number")))
}

#[test]
fn whatever_fails_and_heals_nothing_acknowledged_is_lost_and_every_job_runs_once() {
    let daemons = DockerOptions { live_restore: true, ..DockerOptions::default() };
    let lab = Lab::builder("faults").hosts(CONTROLS).docker_hosts(AGENTS).docker_options(daemons);
    let Some(lab) = lab.start_or_skip() else { return };
    let (small, ailing) = (lab.small_disk(CONTROLS[2], "small", DISK).unwrap(), lab.ailing_disk(CONTROLS[1], "ailing").unwrap());
    let options = Options::default().data_dir(CONTROLS[2], small.path()).data_dir(CONTROLS[1], ailing.path());
    let clocks = clock::can_jump();
    let nodes = [&CONTROLS[..], &AGENTS[..]].concat();
    let options = if clocks { clock::own_clocks(&lab, options, &nodes).unwrap() } else { options };
    let cluster = Cluster::in_lab_with(&lab, &CONTROLS, &AGENTS, &options).unwrap();
    let seed = seed();
    report::line(&format!("faults of seed {seed}: repeat them with RING_FAULT_SEED={seed}"));
    let rng = StdRng::seed_from_u64(seed);
    let chosen: Vec<_> = Kind::chosen().into_iter().filter(|kind| clocks || !kind.needs_clocks()).collect();
    let effects = chosen.iter().map(|kind| (*kind, 0)).collect();
    let faults = Faults { chosen, lab: &lab, cluster: &cluster, small: &small, ailing: &ailing, rng, effects };
    if let Err(error) = run(faults, seed) {
        panic!("seed {seed}: {error:?}\n{}", cluster.tails());
    }
}

fn run(mut faults: Faults<'_>, seed: u64) -> Result<()> {
    let (lab, cluster) = (faults.lab, faults.cluster);
    let (load, registers, jobs) = (Load::on(cluster), Registers::default(), Jobs::of(lab)?);
    let made = thread::scope(|scope| {
        let (load, registers, jobs) = (&load, &registers, &jobs);
        for client in 0..3 {
            scope.spawn(move || registers.client(load, client, seed + client as u64));
        }
        for client in 3..5 {
            scope.spawn(move || workers::client(load, client, seed + client as u64));
        }
        scope.spawn(move || jobs.client(load, seed + 5));
        let _ends = EndsLoad(load);
        let made = faults_until_over(&mut faults, load);
        let healed = lab.heal();
        load.finish(made.is_ok());
        made.and(healed)
    });
    made?;
    judge(&faults, &load, (&registers, &jobs))
}

/// One round of all chosen kinds, and more as long as there is time.
fn faults_until_over(faults: &mut Faults<'_>, load: &Load<'_>) -> Result<()> {
    let (begun, length, chosen) = (Instant::now(), length(), faults.chosen.clone());
    let mut longest = (Duration::ZERO, None);
    loop {
        for kind in Kind::round(&chosen, &mut faults.rng) {
            faults.inject(kind, load)?;
            let healed = Instant::now();
            converge(faults.cluster, load).with_context(|| format!("after {kind:?}"))?;
            longest = longest.max((healed.elapsed(), Some(kind)));
            let problems = load.problems();
            ensure!(problems.is_empty(), "at {kind:?}: {problems:#?}");
        }
        if begun.elapsed() >= length {
            break;
        }
    }
    let (longest, kind) = longest;
    report::line(&format!("{:.0?} of faults; slowest to work again as a whole: {longest:.1?} after {kind:?}", begun.elapsed()));
    let unfelt: Vec<_> = faults.effects.iter().filter(|(_, count)| **count == 0).collect();
    ensure!(unfelt.is_empty(), "never had an effect: {unfelt:?}");
    Ok(())
}

/// Waits until everything works: nobody ended, each control node serves and takes a write, all vote, all agents are ready, and
/// all control nodes have the same state.
fn converge(cluster: &Cluster, load: &Load<'_>) -> Result<()> {
    let begun = Instant::now();
    for node in cluster.controls() {
        node.wait_ready()?;
    }
    cluster.wait_voters()?;
    for control in 0..cluster.controls().len() {
        let (key, body) = (new_key(), json!({ "name": format!("n{}", load.fresh()) }));
        wait::eventually(CONVERGES, "a write", || match load.send(control, "POST", "/namespaces", Some(&body), &key) {
            Sent::Done(..) => Ok(Some(())),
            Sent::Refused(status, said) => bail!("{status}: {said}"),
            Sent::Unknown => Ok(None),
        })
        .with_context(|| format!("through {}", cluster.control(control).name()))?;
    }
    cluster.wait_agents()?;
    let quiet = load.silence();
    let same = cluster.wait_same_state();
    drop(quiet);
    same?;
    ensure!(begun.elapsed() < CONVERGES, "it took {:?}", begun.elapsed());
    Ok(())
}

fn judge(faults: &Faults<'_>, load: &Load<'_>, (registers, jobs): (&Registers, &Jobs<'_>)) -> Result<()> {
    let cluster = faults.cluster;
    converge(cluster, load)?;
    let ended = jobs.judge(cluster)?;
    let mut names = load.names();
    names.sort();
    names.dedup();
    for name in &names {
        for control in 0..CONTROLS.len() {
            wait::until(CONVERGES, &format!("an answer about {name}"), || workers::read(load, READER, control, name))?;
        }
    }
    (0..CONTROLS.len()).for_each(|control| registers.read_all(load, control));
    let digest = cluster.wait_same_state()?;
    let problems = load.problems();
    ensure!(problems.is_empty(), "{problems:#?}");
    let events = load.events();
    let judged = history::judge(&events).map_err(|wrong| anyhow!("the history does not hold:\n{wrong}"))?;
    let windows = clients::judge(&events).map_err(|wrong| anyhow!(wrong))?;
    report::line(&format!("requests: {:?}; judged: {judged:?}; registers with one order: {windows}", load.counts()));
    report::line(&format!("{ended} jobs, each executed once an attempt, with its own exit status; state {digest}"));
    report::line(&format!("faults that had their effect: {:?}", faults.effects));
    ensure!(judged.writes > 50 && judged.reads > 50 && windows > 1 && ended > 5, "there was hardly any load");
    Ok(())
}
