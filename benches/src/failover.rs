//! From killing the leader to the next acknowledged write.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ring_testkit::cluster::Options;
use ring_testkit::{Cluster, RingNode};
use tokio::runtime::Runtime;

use crate::load::Writer;
use crate::out;
use crate::ring::{NO_LIMITS, Object, RingWriter};
use crate::stats::{Times, ms};
use crate::table::Table;

const DEADLINE: Duration = Duration::from_secs(30);
/// Before a client asks again after a refusal.
const PAUSE: Duration = Duration::from_millis(20);

/// Kills the leader `kills` times, each time with all three there before, and returns the table.
pub fn measure(runtime: &Runtime, kills: usize) -> Result<Table> {
    let cluster = Cluster::loopback_with(3, 0, &Options::default().config(NO_LIMITS))?;
    let objects = runtime.block_on(Object::make(cluster.control(0).api(), cluster.token(), 2))?;
    cluster.wait_same_state()?;
    let mut times = Vec::with_capacity(kills);
    for kill in 1..=kills {
        let time = once(runtime, &cluster, &objects, kill).with_context(|| cluster.tails())?;
        out::progress(&format!("kill {kill} of {kills}: {}", ms(time)));
        times.push(time);
    }
    let times = Times::new(times);
    let mut table = Table::new(&["leader killed, to the next acknowledged write", "p50", "p99", "longest", "n", "aim (p99)"]);
    table.row([
        "SIGKILL, a client of the other two".to_owned(),
        ms(times.median()),
        ms(times.percentile(99.0)),
        ms(times.max()),
        times.count().to_string(),
        "2 s".to_owned(),
    ]);
    Ok(table)
}

fn once(runtime: &Runtime, cluster: &Cluster, objects: &[Object], kill: usize) -> Result<Duration> {
    let index = cluster.leader()?;
    let leader = cluster.control(index);
    let mut others: Vec<SocketAddr> = cluster.controls().iter().map(RingNode::api).filter(|&api| api != leader.api()).collect();
    // Each of the two is asked first in turn.
    others.rotate_left(kill % 2);
    // Connected before the leader is killed, as the clients of a running system are.
    let mut writers = runtime.block_on(RingWriter::many(&others, cluster.token(), objects))?;
    let start = Instant::now();
    leader.kill9()?;
    runtime.block_on(acknowledged(&mut writers, kill, start))?;
    let time = start.elapsed();
    leader.start()?;
    leader.wait_ready()?;
    cluster.wait_same_state()?;
    Ok(time)
}

/// Asks one after the other, as the client does with several addresses, until a write is acknowledged.
async fn acknowledged(writers: &mut [RingWriter], kill: usize, start: Instant) -> Result<()> {
    let count = writers.len();
    for attempt in 0.. {
        let result = writers[attempt % count].write(&format!("kill {kill}, attempt {attempt}")).await;
        match result {
            Ok(()) => break,
            Err(error) if start.elapsed() > DEADLINE => return Err(error.context("no write was acknowledged")),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(())
}
