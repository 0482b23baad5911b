//! Commits each second of three stores in one process that replicate over the loopback interface: `cargo bench -p ring-store`.
//! One write is one proposal at the leader, on the disks of a quorum when it returns. Clients, all three members and their
//! syncs share the machine, so the figures are a lower bound for three hosts.

#![allow(clippy::unwrap_used, missing_docs)] // A measurement, not a product.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{Cluster, namespace};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use ring_state::Command;
use ring_store::Store;
use ring_types::{KeyId, RequestId, SecretId};
use uuid::Uuid;

/// A write of 256 bytes. It changes one of a thousand rows, so that the state does not grow while it is measured.
fn write(n: u64) -> Command {
    Command::PutSecret {
        id: SecretId(Uuid::from_u128(u128::from(n % 1000))),
        namespace: "default".parse().unwrap(),
        name: format!("s{}", n % 1000).parse().unwrap(),
        sealed: vec![7; 256],
        key: KeyId(0),
        create: false,
    }
}

async fn writes(store: &Store, count: u64, open: usize) -> Duration {
    let begin = Instant::now();
    let writes = futures::stream::iter(0..count).map(|n| store.propose(RequestId::NONE, write(n)));
    writes.buffer_unordered(open).for_each(async |done| drop(done.unwrap())).await;
    begin.elapsed()
}

fn commits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let cluster = runtime.block_on(Cluster::of(3));
    let store = &cluster.members[0].store;
    runtime.block_on(store.propose(RequestId::NONE, namespace("default"))).unwrap();
    let mut group = criterion.benchmark_group("commits");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(5));
    for open in [1, 64, 1000] {
        // One iteration is as many writes as are open at once.
        group.throughput(Throughput::Elements(open as u64));
        group.bench_function(BenchmarkId::from_parameter(open), |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(writes(store, rounds * open as u64, open)));
        });
    }
    group.finish();
    runtime.block_on(cluster.stop());
}

criterion_group!(benches, commits);
criterion_main!(benches);
