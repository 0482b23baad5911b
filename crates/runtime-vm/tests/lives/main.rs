//! Many lives: what is made for an instance is gone when it is. No other test is in this process, so all is counted exactly.
//!
//! `RING_VM_LIVES` is how many there are on each host, 48 when it is not set.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

#[path = "../common/apart.rs"]
mod apart;
mod counted;
#[path = "../common/loud.rs"]
mod loud;
#[path = "../tiny/vmm.rs"]
#[allow(dead_code, reason = "here the runtime drives the VMM, and only what is booted is of use")]
mod tiny;
#[path = "../vm/world.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod world;

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::future::join_all;
use ring_runtime::{Observed, Runtime, Workload};
use ring_runtime_vm::VmRuntime;
use ring_runtime_vm::net::NetworkConfig;
use ring_types::{Outcome, Permission, Port, Protocol, Span, UnknownExit, Volume, VolumeDriver, VolumeKind};
use rustix::process::Signal;

use counted::Counted;
use world::{Boots, FOREVER, World, is_root, launch, outcome, printed, within};

const AT_ONCE: usize = 4;

/// One after another: each counts what the process has.
static ALONE: Mutex<()> = Mutex::new(());

fn lives() -> usize {
    std::env::var("RING_VM_LIVES").map_or(48, |text| text.parse().expect("RING_VM_LIVES is a number"))
}

/// A host and what is on it.
struct Place {
    world: World,
    runtime: VmRuntime,
}

impl Place {
    async fn new(world: World) -> Self {
        let runtime = world.open().await;
        Self { world, runtime }
    }

    /// One life whose workload ends by itself.
    async fn ends(&self, job: Workload, wanted: Outcome) {
        launch(&self.runtime, &job).await;
        assert_eq!(outcome(&self.runtime, job.instance).await, wanted);
        self.gone(&job).await;
    }

    /// One that is stopped with this grace.
    async fn stopped(&self, job: Workload, grace: Span, wanted: Option<Outcome>) {
        launch(&self.runtime, &job).await;
        if wanted.is_some() {
            printed(&self.runtime, job.instance, "ready").await;
        }
        within(self.runtime.stop(job.instance, grace)).await.unwrap();
        let seen = outcome(&self.runtime, job.instance).await;
        assert!(wanted.is_none_or(|wanted| wanted == seen), "{seen:?}");
        self.gone(&job).await;
    }

    /// One whose VMM is killed.
    async fn killed(&self, job: Workload) {
        launch(&self.runtime, &job).await;
        self.world.kill_vmm(job.instance, Signal::KILL);
        assert_eq!(outcome(&self.runtime, job.instance).await, Outcome::Unknown(UnknownExit::VmLost));
        self.gone(&job).await;
    }

    async fn gone(&self, job: &Workload) {
        within(self.runtime.remove(job.instance)).await.unwrap();
        assert_eq!(self.runtime.inspect(job.instance).await.unwrap(), Observed::Absent);
    }
}

/// So many lives, some at once; then everything is as it was after the first of each kind.
async fn live<F: Future<Output = ()>>(name: &str, kinds: usize, places: &[&Place], life: impl Fn(usize) -> F) {
    let worlds: Vec<&World> = places.iter().map(|place| &place.world).collect();
    let (rounds, begun) = (lives().div_ceil(AT_ONCE), Instant::now());
    // The first ones make what is made once.
    join_all((0..kinds).map(&life)).await;
    let before = Counted::settled(&worlds, None).await;
    for round in 0..rounds {
        join_all((0..AT_ONCE).map(|number| life(round * AT_ONCE + number))).await;
    }
    let after = Counted::settled(&worlds, Some(&before)).await;
    println!("{name}: {} lives, {AT_ONCE} at once, in {:.1} s", rounds * AT_ONCE, begun.elapsed().as_secs_f32());
    println!("{name}: before {before}; after {after}");
    assert_eq!(after, before, "something grew");
}

/// Two agents of a host need two prefixes.
fn network(mut world: World, prefix: &str) -> World {
    let dir = world.config.data_dir.join("network");
    world.config.network = Some(NetworkConfig { prefix: prefix.to_owned(), ..NetworkConfig::new(dir) });
    world
}

fn port(published: usize) -> Port {
    let published = 20_000 + u16::try_from(published % 10_000).unwrap();
    Port { published, target: 80, host_ip: "127.0.0.1".to_owned(), protocol: Protocol::Tcp }
}

fn etc() -> Volume {
    let (source, destination) = ("/etc".to_owned(), "/host/etc".to_owned());
    let (driver, permission) = (VolumeDriver::Local, Permission::ReadOnly);
    Volume { kind: VolumeKind::Bind, source, destination, key: None, driver, permission }
}

/// The stand-in for the VMM: images with our init and directories of the host, and disk images with a network.
#[test]
fn of_many_lives_with_a_stand_in_nothing_is_left() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_root() {
        return;
    }
    apart::apart(|| async {
        let images = Place::new(World::new(Boots::Init)).await;
        let disks = Place::new(network(World::new(Boots::Nobody), "rvm")).await;
        live("stand-in", 8, &[&images, &disks], |number| stand_in(&images, &disks, number)).await;
    });
}

async fn stand_in(images: &Place, disks: &Place, number: usize) {
    let code = i32::try_from(number % 100).unwrap();
    let mut job = images.world.shell(&format!("echo out; echo err >&2; exit {code}"));
    let forever = images.world.shell(FOREVER);
    match number % 8 {
        0 => images.ends(job, Outcome::Code(code)).await,
        1 => {
            Arc::make_mut(&mut job.spec).volumes = vec![etc()];
            images.ends(job, Outcome::Code(code)).await;
        }
        2 => images.stopped(forever, Span::seconds(30), Some(Outcome::Code(4))).await,
        3 => images.stopped(forever, Span::ZERO, None).await,
        4 => images.killed(forever).await,
        5 => disks.ends(disk(disks, number, "exit 0"), Outcome::Code(0)).await,
        6 => {
            let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
            disks.stopped(disk(disks, number, script), Span::seconds(30), Some(Outcome::Code(0))).await;
        }
        _ => disks.killed(disk(disks, number, "exec sleep 1000")).await,
    }
}

/// A disk image with a published port. Its script goes with it.
fn disk(place: &Place, number: usize, script: &str) -> Workload {
    let path = place.world.dir.path().join(format!("{}.raw", number % 8));
    if !path.exists() {
        fs::write(&path, script).unwrap();
    }
    let mut job = place.world.shell("is not run");
    let spec = Arc::make_mut(&mut job.spec);
    spec.image = path.display().to_string();
    spec.ports = vec![port(number)];
    job
}

/// The real VMM with the least a guest can be, each with a network.
#[cfg(target_arch = "x86_64")]
#[test]
fn of_many_lives_with_the_real_one_nothing_is_left() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(short), Some(long)) = (real("rvm", "exit=42"), real("rvn", "exit=7 stay")) else { return };
    apart::apart(|| async {
        let (short, long) = (Place::new(short).await, Place::new(long).await);
        live("real", 4, &[&short, &long], |number| with_a_vmm(&short, &long, number)).await;
    });
}

#[cfg(target_arch = "x86_64")]
fn real(prefix: &str, cmdline: &str) -> Option<World> {
    let program = tiny::usable()?;
    let mut world = network(World::new(Boots::Nobody), prefix);
    fs::write(world.dir.path().join("root.ext4"), vec![0; 1 << 20]).unwrap();
    world.config.kernel = Some(tiny::kernel(world.dir.path())?);
    world.config.binary = program;
    world.config.kvm = "/dev/kvm".into();
    cmdline.clone_into(&mut world.config.cmdline);
    Some(world)
}

#[cfg(target_arch = "x86_64")]
async fn with_a_vmm(short: &Place, long: &Place, number: usize) {
    let of = |place: &Place| {
        let mut job = place.world.shell("is not run");
        let spec = Arc::make_mut(&mut job.spec);
        spec.ports = vec![port(number)];
        spec.resources.limits.memory = Some(ring_types::Memory(64 << 20));
        job
    };
    match number % 4 {
        0 => short.ends(of(short), Outcome::Code(42)).await,
        1 => {
            let job = of(long);
            launch(&long.runtime, &job).await;
            within(long.runtime.stop(job.instance, Span::seconds(30))).await.unwrap();
            assert_eq!(outcome(&long.runtime, job.instance).await, Outcome::Code(7));
            long.gone(&job).await;
        }
        2 => long.stopped(of(long), Span::ZERO, None).await,
        _ => long.killed(of(long)).await,
    }
}
