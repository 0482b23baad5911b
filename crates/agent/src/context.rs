//! What every task of the agent shares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use ring_runtime::Runtime;
use ring_types::{NodeId, RuntimeKind};

use crate::config::AgentTiming;
use crate::contact::Contact;
use crate::leave::Leave;
use crate::ledger::Ledger;
use crate::outbox::Outbox;
use crate::stats::Sampler;
use crate::usage::Unsent;

/// Shared by every task of the agent.
pub(crate) struct Context {
    pub(crate) node: NodeId,
    /// Boot id of the host; empty when it has none.
    pub(crate) host_boot: String,
    pub(crate) ledger: Ledger,
    pub(crate) outbox: Outbox,
    pub(crate) stats: Sampler,
    pub(crate) unsent: Unsent,
    pub(crate) leave: Leave,
    pub(crate) contact: Contact,
    pub(crate) runtimes: BTreeMap<RuntimeKind, Arc<dyn Runtime>>,
    pub(crate) timing: AgentTiming,
}

impl Context {
    /// The runtime of a kind, if this node has it.
    pub(crate) fn runtime(&self, kind: RuntimeKind) -> Option<Arc<dyn Runtime>> {
        self.runtimes.get(&kind).cloned()
    }
}

/// The pause before try number `failures` + 1: doubles from `first` to `longest`, then a random part of its second half is
/// left off, so that many who failed together do not come back together.
pub(crate) fn pause(failures: u32, (first, longest): (Duration, Duration)) -> Duration {
    let doubled = first.saturating_mul(1_u32 << failures.saturating_sub(1).min(20)).min(longest);
    doubled.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// The boot id of the host; empty where there is none.
pub(crate) fn host_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
