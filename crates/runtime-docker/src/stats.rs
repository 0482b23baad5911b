//! What a container uses, counted as the engine's own client does.

use bollard::models::{ContainerBlkioStats, ContainerInspectResponse, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures::StreamExt;
use ring_runtime::{InstanceStats, RuntimeError, now};
use ring_types::{InstanceId, Memory, Timestamp};

use crate::client::status;
use crate::driver::Containers;
use crate::exec::running;

/// Asks once, without the second in which an engine would measure a rate.
const ONCE: StatsOptions = StatsOptions { stream: false, one_shot: true };

pub(crate) async fn stats(containers: &Containers, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
    let container = running(containers, instance).await?;
    let id = container.id.clone().unwrap_or_default();
    let asked = containers.client.ask(|docker| async move { docker.stats(&id, Some(ONCE)).boxed().next().await.transpose() });
    let what = format!("use of instance {instance}");
    match asked.await? {
        Ok(Some(told)) => Ok(counted(&told, &container, now())),
        Ok(None) => Err(crate::exec::not_running(instance)),
        Err(error) if status(&error) == Some(404) => Err(crate::exec::not_running(instance)),
        Err(error) => Err(containers.failed(&what, &error)),
    }
}

fn counted(told: &ContainerStatsResponse, container: &ContainerInspectResponse, at: Timestamp) -> InstanceStats {
    let cpu = told.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    let limit = container.host_config.as_ref().and_then(|host| host.memory).filter(|bytes| *bytes > 0);
    let networks = told.networks.as_ref().filter(|networks| !networks.is_empty());
    let network = |bytes: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.map(|networks| networks.values().filter_map(bytes).sum())
    };
    let block = |operation| told.blkio_stats.as_ref().and_then(|stats| block(stats, operation));
    InstanceStats {
        at,
        cpu_time_us: cpu.unwrap_or_default() / 1000,
        memory: Memory(told.memory_stats.as_ref().map_or(0, memory)),
        memory_limit: limit.and_then(|bytes| u64::try_from(bytes).ok()).map(Memory),
        network_received: network(|network| network.rx_bytes),
        network_sent: network(|network| network.tx_bytes),
        block_read: block("read"),
        block_written: block("write"),
        processes: told.pids_stats.as_ref().and_then(|pids| pids.current),
    }
}

/// Use without the part of the page cache that is given back first: `total_inactive_file` of version 1 of the control groups,
/// `inactive_file` of version 2.
fn memory(stats: &ContainerMemoryStats) -> u64 {
    let usage = stats.usage.unwrap_or_default();
    let of = |name| stats.stats.as_ref().and_then(|stats| stats.get(name)).copied();
    let cache = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or_default();
    // A cache above the use is a figure of another moment.
    usage.checked_sub(cache).unwrap_or(usage)
}

/// Version 1 of the control groups says `Read`, version 2 `read`.
fn block(stats: &ContainerBlkioStats, operation: &str) -> Option<u64> {
    let entries = stats.io_service_bytes_recursive.as_ref().filter(|entries| !entries.is_empty())?;
    let of = |op: Option<&str>| op.is_some_and(|op| op.eq_ignore_ascii_case(operation));
    Some(entries.iter().filter(|entry| of(entry.op.as_deref())).filter_map(|entry| entry.value).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> InstanceStats {
        let host = bollard::models::HostConfig { memory: Some(64 << 20), ..Default::default() };
        let container = ContainerInspectResponse { host_config: Some(host), ..Default::default() };
        counted(&serde_json::from_str(json).unwrap(), &container, Timestamp(5))
    }

    #[test]
    fn figures_of_control_groups_version_1() {
        let told = read(
            r#"{"cpu_stats": {"cpu_usage": {"total_usage": 5000999}},
                "memory_stats": {"usage": 10000, "limit": 1, "stats": {"total_inactive_file": 4000, "inactive_file": 1}},
                "networks": {"eth0": {"rx_bytes": 7, "tx_bytes": 8}, "eth1": {"rx_bytes": 1, "tx_bytes": 0}},
                "blkio_stats": {"io_service_bytes_recursive": [
                    {"major": 8, "minor": 0, "op": "Read", "value": 3}, {"major": 8, "minor": 0, "op": "Write", "value": 4},
                    {"major": 8, "minor": 0, "op": "Total", "value": 7}]},
                "pids_stats": {"current": 2}}"#,
        );
        let expected = InstanceStats {
            at: Timestamp(5),
            cpu_time_us: 5000,
            memory: Memory(6000),
            memory_limit: Some(Memory(64 << 20)),
            network_received: Some(8),
            network_sent: Some(8),
            block_read: Some(3),
            block_written: Some(4),
            processes: Some(2),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn figures_of_control_groups_version_2() {
        let told = read(
            r#"{"cpu_stats": {"cpu_usage": {"total_usage": 1000}},
                "memory_stats": {"usage": 10000, "stats": {"inactive_file": 2500, "file": 3000}},
                "blkio_stats": {"io_service_bytes_recursive": [{"major": 8, "minor": 0, "op": "read", "value": 3}]},
                "pids_stats": {}}"#,
        );
        assert_eq!((told.memory, told.block_read, told.block_written), (Memory(7500), Some(3), Some(0)));
        assert_eq!((told.network_received, told.processes), (None, None));
    }

    #[test]
    fn a_cache_above_the_use_is_not_believed() {
        let told = read(r#"{"memory_stats": {"usage": 100, "stats": {"inactive_file": 101}}}"#);
        assert_eq!(told.memory, Memory(100));
    }
}
