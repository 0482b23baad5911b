//! The objects the cluster remembers.

use ring_state::{
    Account, ApiToken, AuditEntry, AuditNote, AuditObject, AuditRecord, AuditRefusal, CaPhase, CaRotation, Clock, ClusterLevel,
    ClusterMeta, Config, DataKey, Deployment, Drain, Event, EventKind, EventLevel, Instance, JoinRole, JoinToken, Member,
    MemberState, Move, Namespace, Node, PastRequest, PlacementFailure, Previous, RegistryPassword, Role, Rollout, RolloutPhase,
    Scale, Secret, Unplaced, UnplacedReason, Volume,
};
use ring_types::{Condition, DeploymentStatus};

message! {
    ClusterMeta => ClusterMeta {
        cluster, created_at, next_member, ca_certificate, ca_key_sealed, generation, first_member,
    }
    Clock => Clock { now, next_event }
    Namespace => Namespace { name, created_at, version }
    Deployment => Deployment {
        id, spec, created_at, updated_at, status, reason, message, conditions, restart_count, start_failures, parent, replaces,
        deleting, exit, image_digest, placement_failure, rollout, previous, released, scale, registry_password, version,
    }
    Rollout => Rollout { phase, deadline, progress_at, ready }
    Previous => Previous { spec, registry_password }
    Scale => Scale { replicas, at }
    RegistryPassword => RegistryPassword { sealed, key, digest }
    ClusterLevel => ClusterLevel { level }
    CaRotation => CaRotation { id, certificate, key_sealed, phase, started_at, members, nodes, version }
    DataKey => DataKey { id, sealed, created_at, settled, version }
    PlacementFailure => PlacementFailure { missing, reasons }
    Unplaced => Unplaced { reason, nodes }
    Instance => Instance {
        id, deployment, slot, attempt, node, claim, generation, goal, state, address, image_digest, created_at, started_at, exit,
        stop_cause, health, ready_at, running_since, moving, version,
    }
    Move => Move { to, order, until, begun }
    Node => Node {
        id, name, info, labels, status, held, schedulable, drain, epoch, boot, member, joined_at, status_since, version,
        silent_since,
    }
    Drain => Drain { since, deadline, until_return }
    Secret => Secret { id, namespace, name, sealed, key, created_at, updated_at, version }
    Config => Config { id, namespace, name, data, labels, created_at, updated_at, version }
    Volume => VolumeObject { id, namespace, name, driver, source, labels, node, created_at, updated_at, version }
    Account => Account { id, username, password_hash, role, created_at, updated_at, version }
    ApiToken => ApiToken { id, user, name, hash, scopes, namespaces, created_at, expires_at, last_used_at, version }
    JoinToken => JoinToken { id, hash, role, uses_left, expires_at, revoked, created_at, version }
    Member => Member { id, name, address, api_address, state, joined_at, version }
    Event => Event { id, deployment, at, level, kind, message, instance, node }
    PastRequest => PastRequest { id, revision, reply }
    AuditNote => AuditNote { user, user_id, token, token_name, address, served_by, action }
    AuditObject => AuditObject { kind, name, id, outcome }
    AuditRefusal => AuditRefusal { code, message }
    AuditRecord => AuditRecord { note, namespace, objects, more, refused, count }
    AuditEntry => AuditEntry { revision, part, at, record }
}

oneof! {
    UnplacedReason => UnplacedReason in unplaced_reason {
        values { RuntimeMissing, Constraint, Cpu, Memory, Port }
        records { NoNodes {}, NotReady {}, Cordoned {}, Full {}, Volume { volume, node }, AgentTooOld {} }
        tuples {}
    }
}

enumeration! {
    DeploymentStatus => DeploymentStatus {
        Pending, Creating, Running, Completed, Failed, Deleted, CrashLoopBackOff, ImagePullBackOff, CreateContainerError,
        NetworkError, ConfigError, FileSystemError, InsufficientResources, Error,
    }
    Condition => Condition { NodeUnreachable, NotPlaced, BackingOff, Unhealthy, NotReady, RollingOut, Waiting }
    RolloutPhase => RolloutPhase { Progressing, Completed, Failed }
    CaPhase => CaPhase { Trust, Renew }
    Role => Role { Viewer, Operator, Admin }
    JoinRole => JoinRole { Agent, Control }
    MemberState => MemberState { Joining, Active, Removed }
    EventLevel => EventLevel { Info, Warning, Error }
    EventKind => EventKind {
        Created, Scaled, Deleting, StatusChanged, InstanceAssigned, InstanceStarted, InstanceExited, InstanceLost, ExitCorrected,
        NotPlaced, HealthCheckFailed, HealthCheckRecovered, InstanceReady, InstanceStopping, RolloutStarted, RolloutCompleted,
        RolloutFailed, RestartRequested, Autoscaled, Retried,
    }
}
