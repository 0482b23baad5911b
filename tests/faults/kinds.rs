//! The kinds of fault, and the plan of a run.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL to one control node.
    KillControl,
    /// SIGKILL to the leader.
    KillLeader,
    /// SIGKILL to all control nodes at once.
    KillAll,
    /// SIGKILL to an agent.
    KillAgent,
    /// SIGTERM to an agent, and a new start.
    RestartAgent,
    /// SIGSTOP to a control node, and SIGCONT.
    FreezeControl,
    /// SIGSTOP to the leader, and SIGCONT.
    FreezeLeader,
    /// SIGSTOP to an agent, and SIGCONT.
    FreezeAgent,
    /// The leader is cut off from all others.
    CutOffLeader,
    /// What a control node sends to the others does not arrive, or what they send to it.
    CutOneWay,
    /// The line between two of the three control nodes is cut.
    CutLink,
    /// An agent is cut off.
    CutOffAgent,
    /// What goes between the leader and the others takes longer.
    Slow,
    /// The leader's connections to another control node carry nothing.
    Stall,
    /// Another control node is made leader.
    Transfer,
    /// A control node is removed, and a fresh one joins.
    Replace,
    /// The disk of a control node is full.
    FullDisk,
    /// A control node dies, and its disk loses what was not synced.
    PowerLoss,
    /// The disk of a control node fails each sync.
    FailingSync,
    /// The disk of a control node takes long for each sync.
    SlowDisk,
    /// The leader's clock jumps by minutes, and back.
    LeaderClock,
    /// The clock of an agent jumps by minutes, and back.
    AgentClock,
    /// SIGSTOP to a Docker daemon, and SIGCONT.
    FreezeDocker,
    /// SIGTERM to a Docker daemon, and a new start; containers run on.
    RestartDocker,
    /// SIGKILL to a Docker daemon, and a new start; containers run on.
    KillDocker,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 25] = [
        Self::KillControl,
        Self::KillLeader,
        Self::KillAll,
        Self::KillAgent,
        Self::RestartAgent,
        Self::FreezeControl,
        Self::FreezeLeader,
        Self::FreezeAgent,
        Self::CutOffLeader,
        Self::CutOneWay,
        Self::CutLink,
        Self::CutOffAgent,
        Self::Slow,
        Self::Stall,
        Self::Transfer,
        Self::Replace,
        Self::FullDisk,
        Self::PowerLoss,
        Self::FailingSync,
        Self::SlowDisk,
        Self::LeaderClock,
        Self::AgentClock,
        Self::FreezeDocker,
        Self::RestartDocker,
        Self::KillDocker,
    ];

    /// Those `RING_FAULT_KINDS` names; all of them when it is not set.
    pub(crate) fn chosen() -> Vec<Self> {
        let Ok(text) = std::env::var("RING_FAULT_KINDS") else { return Self::ALL.to_vec() };
        let find = |name: &str| {
            let kind = Self::ALL.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name.trim()));
            kind.unwrap_or_else(|| panic!("RING_FAULT_KINDS: there is no kind '{name}', only {:?}", Self::ALL))
        };
        text.split(',').map(find).collect()
    }

    /// Does it need nodes with clocks of their own?
    pub(crate) fn needs_clocks(self) -> bool {
        matches!(self, Self::LeaderClock | Self::AgentClock)
    }

    /// Every chosen kind once, in an order of the seed.
    pub(crate) fn round(chosen: &[Self], rng: &mut StdRng) -> Vec<Self> {
        let mut round = chosen.to_vec();
        round.shuffle(rng);
        round
    }
}
