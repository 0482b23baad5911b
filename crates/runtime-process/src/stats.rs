//! What an instance uses: by its control groups where it has them, else by what its processes say of themselves.
//!
//! A process that was collected by a parent counts with that parent. Times of one whose parent does not want to know of its end
//! are lost, so that without control groups the sum can be too small.

use std::collections::BTreeSet;
use std::sync::Arc;

use ring_runtime::{InstanceStats, RuntimeError};
use ring_types::{InstanceId, Memory};

use crate::cgroup::Usage;
use crate::driver::Shared;
use crate::layout::InstanceDir;
use crate::record::{self, Record, Starting};
use ring_runtime_host::proc::{self, Stat};

/// Clock ticks of `/proc` in a second: 100 on every architecture Linux runs on today.
const TICKS: u64 = 100;

impl Shared {
    pub(crate) async fn stats(self: &Arc<Self>, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
        self.running(instance).await?;
        let dir = self.dir(instance);
        self.blocking(move |shared| {
            let limits = record::read::<Record>(&dir.record())?.map(|record| record.limits).unwrap_or_default();
            let used = used(&dir)?;
            let groups = if limits.any() { shared.cgroups.of(instance).usage() } else { Usage::default() };
            let enforced = limits.memory.filter(|_| shared.cgroups.enforces(limits));
            Ok(InstanceStats {
                at: ring_runtime::now(),
                cpu_time_us: groups.cpu_time_us.unwrap_or(used.cpu_time_us),
                memory: Memory(groups.memory.unwrap_or(used.memory)),
                memory_limit: enforced.map(Memory),
                // The network and the disks are the host's.
                processes: Some(used.threads),
                ..InstanceStats::default()
            })
        })
        .await
    }
}

/// The sum over the processes of an instance.
struct Used {
    cpu_time_us: u64,
    memory: u64,
    threads: u64,
}

fn used(dir: &InstanceDir) -> std::io::Result<Used> {
    let Some(starting) = record::read::<Starting>(&dir.starting())? else {
        return Ok(Used { cpu_time_us: 0, memory: 0, threads: 0 });
    };
    let supervisor = starting.shim;
    let all: Vec<Stat> = proc::all().collect();
    let own = family(&all, supervisor.pid);
    // What the supervisor has collected counts with it; its own work does not.
    let collected = all.iter().find(|stat| stat.id == supervisor).map_or(0, |stat| stat.collected_ticks);
    let ticks: u64 = own.iter().map(|stat| stat.own_ticks + stat.collected_ticks).sum::<u64>() + collected;
    Ok(Used {
        cpu_time_us: ticks * (1_000_000 / TICKS),
        memory: own.iter().map(|stat| proc::memory(stat.id.pid)).sum(),
        threads: own.iter().map(|stat| stat.threads).sum(),
    })
}

/// The processes that descend from a supervisor, and those of its session when it is gone.
fn family(all: &[Stat], supervisor: i32) -> Vec<Stat> {
    let mut members = BTreeSet::from([supervisor]);
    loop {
        let known = members.len();
        let related = |stat: &&Stat| members.contains(&stat.parent) || stat.session == supervisor;
        let found: Vec<i32> = all.iter().filter(related).map(|stat| stat.id.pid).collect();
        members.extend(found);
        if members.len() == known {
            break;
        }
    }
    members.remove(&supervisor);
    all.iter().filter(|stat| members.contains(&stat.id.pid) && !stat.zombie).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring_runtime_host::proc::ProcessId;

    #[test]
    fn a_family_is_found_by_parents_and_by_session() {
        let stat = |pid, parent, session| Stat {
            id: ProcessId { pid, start: 1 },
            parent,
            session,
            zombie: false,
            own_ticks: 0,
            collected_ticks: 0,
            threads: 1,
        };
        // 10 supervises; 12 left the session, 13 lost its parent, 14 is a stranger.
        let all = [stat(10, 1, 10), stat(11, 10, 10), stat(12, 11, 12), stat(13, 1, 10), stat(14, 1, 14)];
        let pids: Vec<i32> = family(&all, 10).iter().map(|stat| stat.id.pid).collect();
        assert_eq!(pids, [11, 12, 13]);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(proc::memory(i32::try_from(std::process::id()).unwrap()) > 0);
    }
}
