//! What is asked of an instance that runs: commands, and what it uses.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ring_guest::Measured;
use ring_runtime::{ExecRequest, ExecSession, InstanceStats, RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, Memory};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::driver::{Shared, not_running};
use crate::exec::{order, session};
use crate::machine::{Ask, Handle};
use crate::observe::State;
use crate::record::{self, Boot, Record, Vmm};
use ring_runtime_host::proc::{self, ProcessId};

/// A guest answers a question within milliseconds, and dials again within a second when the connection was lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two questions to a guest that is about to dial again.
const AGAIN: Duration = Duration::from_millis(20);

/// Clock ticks of `/proc` in a second: 100 on every architecture Linux runs on today.
const TICKS: u64 = 100;

impl Shared {
    pub(crate) async fn exec(self: &Arc<Self>, instance: InstanceId, request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        let (handle, record, _) = self.running(instance).await?;
        let refuse = |what: &str| {
            let message = format!("a command in instance {instance}: {what}");
            RuntimeError::new(RuntimeErrorKind::Other, message)
        };
        if matches!(record.boot, Boot::Disk(_)) {
            return Err(refuse("a disk image has nobody inside who would run it; use an OCI image, or the image's own ssh"));
        }
        if request.command.is_empty() {
            return Err(refuse("there is no command to run"));
        }
        let deadline = Instant::now() + PATIENCE;
        let opened = loop {
            let (reply, answer) = oneshot::channel();
            let asked = handle.asks.send(Ask::Exec(order(&request), reply)).await;
            asked.map_err(|_| not_running(instance))?;
            match answer.await.map_err(|_| not_running(instance))? {
                Err(error) if error.retryable() && Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
                answer => break answer?,
            }
        };
        Ok(session(opened, handle.asks, request.stdin, request.terminal.is_some()))
    }

    /// What an instance uses: what its guest says of the workload, or the whole VM of a disk image.
    pub(crate) async fn stats(self: &Arc<Self>, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
        let (handle, record, vmm) = self.running(instance).await?;
        let mut stats = match record.boot {
            Boot::Image(_) => of_guest(measured(instance, &handle).await?),
            Boot::Disk(_) => self.blocking(move |_| Ok(of_vmm(vmm.process))).await?,
        };
        stats.at = ring_runtime::now();
        stats.memory_limit = record.spec.resources.limits.memory.map(|_| record.memory);
        // A VMM that does not answer now has figures all the same.
        let counters = self.api(&self.dir(instance)).counters().await.unwrap_or_default();
        stats.block_read = sum(&counters, "read_bytes");
        stats.block_written = sum(&counters, "write_bytes");
        if let Some(tap) = vmm.wiring.tap {
            // What the host sends into a tap the guest receives.
            (stats.network_received, stats.network_sent) = (counter(&tap, "tx_bytes"), counter(&tap, "rx_bytes"));
        }
        Ok(stats)
    }

    async fn running(self: &Arc<Self>, instance: InstanceId) -> Result<(Handle, Record, Vmm), RuntimeError> {
        let State::Running(_) = self.observe(instance).await? else { return Err(not_running(instance)) };
        let dir = self.dir(instance);
        let read = self.blocking(move |_| Ok((record::read::<Record>(&dir.record())?, record::read::<Vmm>(&dir.vmm())?)));
        match (self.machine(instance), read.await?) {
            (Some(handle), (Some(record), Some(vmm))) => Ok((handle, record, vmm)),
            _ => Err(not_running(instance)),
        }
    }
}

async fn measured(instance: InstanceId, handle: &Handle) -> Result<Measured, RuntimeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (reply, answer) = oneshot::channel();
        handle.asks.send(Ask::Measure(reply)).await.map_err(|_| not_running(instance))?;
        match timeout(deadline.saturating_duration_since(Instant::now()), answer).await {
            Ok(Ok(measured)) => return Ok(measured),
            // It is not connected, or was cut off.
            Ok(Err(_)) if handle.stage.borrow().is_over() => return Err(not_running(instance)),
            Ok(Err(_)) => tokio::time::sleep(AGAIN).await,
            Err(_) => {
                let message = format!("the guest of instance {instance} has not answered for {} seconds", PATIENCE.as_secs());
                return Err(RuntimeError::new(RuntimeErrorKind::Unavailable, message));
            }
        }
    }
}

fn of_guest(measured: Measured) -> InstanceStats {
    InstanceStats {
        cpu_time_us: measured.cpu,
        memory: Memory(measured.memory),
        processes: Some(measured.threads),
        ..InstanceStats::default()
    }
}

fn of_vmm(process: ProcessId) -> InstanceStats {
    let ticks = proc::stat(process.pid).filter(|stat| stat.id == process).map_or(0, |stat| stat.own_ticks);
    InstanceStats {
        cpu_time_us: ticks * (1_000_000 / TICKS),
        memory: Memory(proc::memory(process.pid)),
        ..InstanceStats::default()
    }
}

/// The sum of a counter over the devices that have it.
fn sum(counters: &Value, name: &str) -> Option<u64> {
    let devices = counters.as_object()?.values();
    devices.filter_map(|device| device.get(name)?.as_u64()).reduce(|sum, next| sum + next)
}

fn counter(interface: &str, name: &str) -> Option<u64> {
    fs::read_to_string(format!("/sys/class/net/{interface}/statistics/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_devices() {
        let counters = serde_json::json!({
            "_disk0": { "read_bytes": 5, "write_bytes": 1 },
            "_disk1": { "read_bytes": 7 },
            "_net2": { "rx_bytes": 9 },
        });
        assert_eq!((sum(&counters, "read_bytes"), sum(&counters, "write_bytes")), (Some(12), Some(1)));
        assert_eq!(sum(&serde_json::json!({}), "read_bytes"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let me = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(of_vmm(me).memory.0 > 0);
        assert_eq!(of_vmm(ProcessId { start: me.start + 1, ..me }).cpu_time_us, 0);
    }
}
