//! What nodes say of themselves and of what they run.

use ring_state::InstanceReport;
use ring_types::{
    ExitStatus, FailingCheck, Goal, Health, InstanceState, NodeCapacity, NodeInfo, NodeStatus, Outcome, RuntimeReport,
    StartFailure, StopCause, UnknownExit,
};

message! {
    NodeInfo => NodeInfo { capacity, runtimes, labels, agent_version, platform, hostname, address, level }
    NodeCapacity => NodeCapacity { cpu, memory }
    RuntimeReport => RuntimeReport { kind, version, problem }
    InstanceReport => InstanceReport { instance, state, address, image_digest, started_at, exit, health, cut_off }
    Health => Health { ready, failing }
    FailingCheck => FailingCheck { check, message }
    ExitStatus => ExitStatus { outcome, started_at, finished_at, node }
}

oneof! {
    Outcome => ExitOutcome in exit_outcome {
        values { Code, Unknown }
        records { Signal { signal, oom_killed }, NotStarted { cause, message } }
        tuples {}
    }
}

enumeration! {
    NodeStatus => NodeStatus { Joining, Ready, Unreachable, Lost }
    Goal => Goal { Run, Stop, Remove }
    InstanceState => InstanceState { Assigned, Claimed, Preparing, Starting, Running, Lost, Exited, Removed }
    StartFailure => StartFailure {
        ImageNotFound, ImagePull, Create, Network, Config, FileSystem, Cancelled, NodeGone, Other,
    }
    StopCause => StopCause { ScaledDown, Superseded, Deleted, Unhealthy, StoppedByCheck, TimedOut, Drained, Cleared, Retried, MakesRoom, Rebalanced, Disconnected }
    UnknownExit => UnknownExit { NodeLost, NodeRemoved, LedgerLost, InstanceVanished, HostRestarted, ClusterRestored, VmLost }
}
