//! What this host is and has.

use std::thread::available_parallelism;
use std::time::Duration;

use futures::future::join_all;
use ring_types::{Cpu, Memory, NodeCapacity, NodeInfo, RuntimeReport};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use tokio::sync::watch;

use crate::config::AgentConfig;

/// Longest wait for one runtime's probe.
const PROBE: Duration = Duration::from_secs(6);

/// Looks at the host and its runtimes.
pub(crate) async fn gather(config: &AgentConfig) -> NodeInfo {
    NodeInfo {
        capacity: config.capacity.unwrap_or_else(capacity),
        runtimes: probe(config).await,
        labels: config.labels.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        hostname: System::host_name().unwrap_or_default(),
        address: config.address.clone(),
        level: ring_state::LEVEL,
    }
}

/// Looks at the runtimes again and again; tells when something changed.
pub(crate) async fn keep_fresh(config: AgentConfig, info: watch::Sender<NodeInfo>) {
    loop {
        tokio::time::sleep(config.timing.probe_interval).await;
        let runtimes = probe(&config).await;
        info.send_if_modified(|info| {
            let changed = info.runtimes != runtimes;
            for report in runtimes.iter().filter(|report| !info.runtimes.contains(report)) {
                tracing::info!(runtime = %report.kind, version = report.version, problem = report.problem, "runtime changed");
            }
            info.runtimes = runtimes;
            changed
        });
    }
}

async fn probe(config: &AgentConfig) -> Vec<RuntimeReport> {
    let probes = config.runtimes.iter().map(|runtime| async {
        let late = RuntimeReport { kind: runtime.kind(), version: String::new(), problem: Some("does not answer".into()) };
        tokio::time::timeout(PROBE, runtime.probe()).await.unwrap_or(late)
    });
    join_all(probes).await
}

/// Processors and memory this process may use: the host's, or the limits of its control group.
fn capacity() -> NodeCapacity {
    let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what);
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    let processors = available_parallelism().map_or(1, |n| n.get() as u64);
    NodeCapacity { cpu: Cpu(processors * 1000), memory: Memory(system.total_memory().min(limit)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_something_to_give() {
        let capacity = capacity();
        assert!(capacity.cpu >= Cpu(1000));
        assert!(capacity.memory > Memory(64 * 1024 * 1024), "{:?}", capacity.memory);
    }
}
