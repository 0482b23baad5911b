//! What a micro-VM is given, and whether the host has it.
//!
//! A VMM promises its guest memory the host need not have. What the guests of a host can use together is never more than the host
//! has: one that would take it beyond that is refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{Cpu, InstanceId, Memory, Resources, StartFailure};

use crate::config::{DEFAULT_CPUS, DEFAULT_MEMORY, Host, LEAST_MEMORY};

/// Guests have memory in pieces of this size, bytes.
const PIECE: u64 = 2 << 20;

/// Virtual processors and memory of an instance: its limits, else its requests, else the default. Processors are whole, memory is
/// in pieces of 2 MiB; both are rounded up.
pub(crate) fn allocation(resources: &Resources) -> (u32, Memory) {
    let (limits, requests) = (resources.limits, resources.requests);
    let cpu = limits.cpu.or(requests.cpu).filter(|cpu| *cpu > Cpu(0));
    let memory = limits.memory.or(requests.memory).filter(|memory| *memory > Memory(0));
    let cpus = cpu.map_or(DEFAULT_CPUS, |cpu| u32::try_from(cpu.0.div_ceil(1000)).unwrap_or(u32::MAX));
    let memory = memory.unwrap_or(DEFAULT_MEMORY).max(LEAST_MEMORY);
    (cpus, Memory(memory.0.div_ceil(PIECE).saturating_mul(PIECE)))
}

/// Could this host ever have it?
pub(crate) fn fits(host: Host, (cpus, memory): (u32, Memory)) -> Result<(), RuntimeError> {
    if cpus > host.cpus {
        let message = format!("resources: {cpus} processors are asked for, and the host has {}", host.cpus);
        return Err(refuse(message));
    }
    if memory > host.memory {
        return Err(refuse(format!("resources: {memory} of memory are asked for, and the host has {}", host.memory)));
    }
    Ok(())
}

fn refuse(message: String) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Create), message)
}

/// What the guests of a host have.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<HashMap<InstanceId, Memory>>);

impl Ledger {
    /// Counts an instance, unless the guests would have more than the host then.
    pub(crate) fn reserve(&self, host: Host, instance: InstanceId, memory: Memory) -> Result<(), RuntimeError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = all.iter().filter(|(id, _)| **id != instance).map(|(_, memory)| memory.0).sum::<u64>();
        if others.saturating_add(memory.0) > host.memory.0 {
            let message = format!(
                "resources: {memory} of memory are asked for; of the {} of the host {} are given to other micro-VMs",
                host.memory,
                Memory(others)
            );
            return Err(refuse(message));
        }
        all.insert(instance, memory);
        Ok(())
    }

    /// Counts an instance that has its memory already.
    pub(crate) fn adopt(&self, instance: InstanceId, memory: Memory) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, memory);
    }

    pub(crate) fn release(&self, instance: InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }
}

#[cfg(test)]
mod tests {
    use ring_types::ResourceAmounts;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn id(n: u128) -> InstanceId {
        format!("{n:032x}").parse().unwrap()
    }

    #[test]
    fn limits_come_before_requests_and_both_are_rounded_up() {
        let mut resources = Resources::default();
        assert_eq!(allocation(&resources), (DEFAULT_CPUS, DEFAULT_MEMORY));
        resources.requests = ResourceAmounts { cpu: Some(Cpu(250)), memory: Some(Memory(100_000_000)) };
        assert_eq!(allocation(&resources), (1, Memory(48 * PIECE)));
        resources.limits = ResourceAmounts { cpu: Some(Cpu(1001)), memory: Some(Memory(1)) };
        assert_eq!(allocation(&resources), (2, LEAST_MEMORY));
    }

    #[test]
    fn guests_have_no_more_together_than_their_host() {
        let host = Host { cpus: 2, memory: Memory(4 * GIB) };
        let ledger = Ledger::default();
        ledger.reserve(host, id(1), Memory(3 * GIB)).unwrap();
        ledger.reserve(host, id(1), Memory(3 * GIB)).unwrap();
        let refused = ledger.reserve(host, id(2), Memory(2 * GIB)).unwrap_err();
        assert!(refused.message.contains("2Gi") && refused.message.contains("3Gi are given"), "{refused}");
        ledger.release(id(1));
        ledger.reserve(host, id(2), Memory(2 * GIB)).unwrap();
        assert!(fits(host, (3, Memory(GIB))).unwrap_err().message.contains("3 processors"));
        assert!(fits(host, (2, Memory(5 * GIB))).unwrap_err().message.contains("5Gi"));
    }
}
