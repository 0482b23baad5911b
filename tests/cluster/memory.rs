//! What a node that does nothing has of the machine's memory.

use std::time::Duration;

use ring_testkit::cluster::Options;
use ring_testkit::process::Memory;
use ring_testkit::{Cluster, RingNode, wait};

/// The start counts as over after ten seconds.
const DEADLINE: Duration = Duration::from_secs(40);

/// Bytes of files that a node has in memory: the program's code, nearly all of it.
fn of_files(node: &RingNode) -> anyhow::Result<u64> {
    let Memory { resident, own } = node.memory()?;
    Ok(resident - own)
}

#[test]
fn code_that_only_the_start_needs_leaves_memory() {
    let options = Options::default().env("RUST_LOG", "info,openraft=error,ring::node::pages=debug");
    let cluster = Cluster::loopback_with(1, 1, &options).unwrap();
    for node in [cluster.control(0), cluster.agent(0)] {
        node.restart().unwrap();
        let mut most = 0;
        wait::eventually(DEADLINE, "the start to be over", || {
            most = most.max(of_files(node)?);
            Ok(node.tail().contains("code of the start is no longer in memory").then_some(()))
        })
        .unwrap();
        let left = of_files(node).unwrap();
        println!("{}: {most} bytes of files before, {left} after", node.name());
        assert!(left * 4 < most * 3, "{}: {left} of {most} bytes are still there", node.name());
    }
    // It works as before.
    assert_eq!(cluster.control(0).http("GET", "/cluster").bearer(cluster.token()).send().unwrap().status, 200);
}
