//! A row of every table, with every field set, and an exit of every kind.

use std::sync::Arc;

use ring_state::{
    Account, ApiToken, AuditEntry, AuditNote, AuditObject, AuditRecord, AuditRefusal, CaPhase, CaRotation, Clock, ClusterLevel,
    ClusterMeta, Config, DataKey, Deployment, Drain, Event, EventKind, EventLevel, Instance, JoinRole, JoinToken, Member,
    MemberState, Move, Namespace, Node, PastRequest, PlacementFailure, Previous, RegistryPassword, Reply, Role, Rollout,
    RolloutPhase, Row, Scale, Secret, Unplaced, UnplacedReason, Volume,
};
use ring_types::{
    Condition, Cpu, DeploymentStatus, Epoch, ExitStatus, FailingCheck, Generation, Goal, Health, InstanceState, KeyId, Level,
    MemberId, Memory, NodeCapacity, NodeInfo, NodeStatus, Outcome, Revision, RuntimeKind, RuntimeReport, Span, StartFailure,
    StopCause, UnknownExit, VolumeDriver,
};

use crate::{
    AT, CLUSTER, CONFIG, DEPLOYMENT, INSTANCE, JOIN_TOKEN, LATER, NODE, OLDER, REQUEST, SECRET, TOKEN, USER, VOLUME, map, name,
    spec,
};

const VERSION: Revision = Revision(300);

pub(crate) fn examples() -> Vec<Row> {
    [objects(), crate::webhook::rows()].concat()
}

fn meta() -> Row {
    Row::Meta(Arc::new(ClusterMeta {
        cluster: CLUSTER,
        created_at: AT,
        next_member: MemberId(4),
        ca_certificate: "-----BEGIN CERTIFICATE-----".to_owned(),
        ca_key_sealed: vec![0, 255, 1],
        generation: ring_types::ClusterGeneration(0x1_0000_0a1b),
        first_member: MemberId(1001),
    }))
}

fn objects() -> Vec<Row> {
    let (created_at, updated_at, version) = (AT, LATER, VERSION);
    vec![
        meta(),
        Row::Clock(Clock { now: LATER, next_event: 77 }),
        Row::Namespace(Arc::new(Namespace { name: name("shop"), created_at, version })),
        Row::Deployment(Arc::new(deployment())),
        Row::Instance(Arc::new(instance())),
        Row::Node(Arc::new(node())),
        Row::Secret(Arc::new(Secret {
            id: SECRET,
            namespace: name("shop"),
            name: name("web-key"),
            sealed: vec![9; 40],
            key: KeyId(0),
            created_at,
            updated_at,
            version,
        })),
        Row::Config(Arc::new(Config {
            id: CONFIG,
            namespace: name("shop"),
            name: name("settings"),
            data: map(&[("app.toml", "a = 1\n"), ("empty", "")]),
            labels: map(&[("tier", "front")]),
            created_at,
            updated_at,
            version,
        })),
        Row::User(Arc::new(Account {
            id: USER,
            username: name("alice"),
            password_hash: "$argon2id$x".to_owned(),
            role: Role::Operator,
            created_at,
            updated_at,
            version,
        })),
        Row::Token(Arc::new(token())),
        Row::JoinToken(Arc::new(join_token())),
        Row::Member(Arc::new(Member {
            id: MemberId(3),
            name: name("c3"),
            address: "10.0.0.3:3031".to_owned(),
            api_address: "10.0.0.3:3030".to_owned(),
            state: MemberState::Active,
            joined_at: AT,
            version,
        })),
        Row::Event(Arc::new(Event {
            id: 76,
            deployment: DEPLOYMENT,
            at: AT,
            level: EventLevel::Warning,
            kind: EventKind::InstanceExited,
            message: "instance 0 ended with code 3".to_owned(),
            instance: Some(INSTANCE),
            node: Some(NODE),
        })),
        Row::Volume(Arc::new(volumes()[0].clone())),
        Row::Audit(Arc::new(AuditEntry { revision: VERSION, part: 2, at: AT, record: audit_record() })),
        Row::Request(Arc::new(PastRequest { id: REQUEST, revision: VERSION, reply: Reply::Deleted(vec![DEPLOYMENT]) })),
    ]
}

pub(crate) fn audit_note() -> AuditNote {
    AuditNote {
        user: "alice".to_owned(),
        user_id: Some(USER),
        token: Some(TOKEN),
        token_name: "ci".to_owned(),
        address: "10.0.0.9".to_owned(),
        served_by: "c1".to_owned(),
        action: "deployment.delete".to_owned(),
    }
}

pub(crate) fn audit_record() -> AuditRecord {
    let text = str::to_owned;
    let object =
        AuditObject { kind: text("deployment"), name: text("web"), id: DEPLOYMENT.to_string(), outcome: text("deleting") };
    let refused = Some(AuditRefusal { code: text("auth.forbidden"), message: text("no") });
    AuditRecord { note: audit_note(), namespace: Some(name("shop")), objects: vec![object], more: 3, refused, count: 4 }
}

/// A deployment with what its manifest brought beside the specification.
pub(crate) fn carrying() -> Row {
    let reasons = [Some("n2".to_owned()), None]
        .map(|node| Unplaced { reason: UnplacedReason::Volume { volume: "data".to_owned(), node }, nodes: 3 });
    Row::Deployment(Arc::new(Deployment {
        registry_password: Some(password()),
        placement_failure: Some(PlacementFailure { missing: 1, reasons: reasons.into() }),
        ..deployment()
    }))
}

/// A deployment that has begun and scales, and an instance that runs: fields that came later.
pub(crate) fn begun() -> [(&'static str, Row); 3] {
    let scale = Some(Scale { replicas: 3, at: Some(LATER) });
    [
        ("deployment_begun", Row::Deployment(Arc::new(Deployment { released: true, scale, ..deployment() }))),
        ("instance_moving", Row::Instance(Arc::new(Instance { moving: Some(Box::new(moving())), ..instance() }))),
        ("instance_begun", Row::Instance(Arc::new(Instance { running_since: Some(LATER), ..instance() }))),
    ]
}

/// The new version of a rolling update.
pub(crate) fn rolling() -> Row {
    let previous = Previous { spec: Arc::new(spec::plain()), registry_password: Some(password()) };
    Row::Deployment(Arc::new(Deployment {
        rollout: Some(Rollout { phase: RolloutPhase::Progressing, deadline: Span::seconds(600), progress_at: LATER, ready: 1 }),
        previous: Some(Arc::new(previous)),
        ..deployment()
    }))
}

/// What rotations keep.
pub(crate) fn rotations() -> Vec<Row> {
    let (created_at, version) = (AT, VERSION);
    vec![
        Row::CaRotation(Arc::new(CaRotation {
            id: VERSION,
            certificate: "-----BEGIN CERTIFICATE-----".to_owned(),
            key_sealed: vec![0, 255, 2],
            phase: CaPhase::Renew,
            started_at: created_at,
            members: vec![MemberId(1), MemberId(3)],
            nodes: vec![NODE],
            version,
        })),
        Row::Level(ClusterLevel { level: Level(2) }),
        Row::DataKey(Arc::new(DataKey { id: KeyId(2), sealed: vec![6; 60], created_at, settled: true, version })),
    ]
}

/// A secret and a registry password that name their data key.
pub(crate) fn sealed() -> [(&'static str, Row); 2] {
    let secret = Secret {
        id: SECRET,
        namespace: name("shop"),
        name: name("web-key"),
        sealed: vec![9; 40],
        key: KeyId(2),
        created_at: AT,
        updated_at: LATER,
        version: VERSION,
    };
    let registry_password = Some(RegistryPassword { key: KeyId(2), ..password() });
    let deployment = Deployment { registry_password, ..deployment() };
    [("secret_sealed", Row::Secret(Arc::new(secret))), ("deployment_sealed", Row::Deployment(Arc::new(deployment)))]
}

pub(crate) fn password() -> RegistryPassword {
    RegistryPassword { sealed: vec![8; 40], key: KeyId(0), digest: [0xef; 32] }
}

/// One on a node, with every field a local one has, and one on a file server.
pub(crate) fn volumes() -> [Volume; 2] {
    let local = Volume {
        id: VOLUME,
        namespace: name("shop"),
        name: name("data"),
        driver: VolumeDriver::Local,
        source: None,
        labels: map(&[("tier", "front")]),
        node: Some(NODE),
        created_at: AT,
        updated_at: LATER,
        version: VERSION,
    };
    let nfs = Volume { driver: VolumeDriver::Nfs, source: Some("10.0.0.7:/srv/data".to_owned()), node: None, ..local.clone() };
    [local, nfs]
}

fn deployment() -> Deployment {
    Deployment {
        id: DEPLOYMENT,
        spec: Arc::new(spec::full()),
        created_at: AT,
        updated_at: LATER,
        status: DeploymentStatus::ImagePullBackOff,
        reason: "image_pull".to_owned(),
        message: "the registry does not answer".to_owned(),
        conditions: vec![Condition::NodeUnreachable, Condition::NotPlaced, Condition::BackingOff],
        restart_count: 2,
        start_failures: 1,
        parent: Some(OLDER),
        replaces: Some(OLDER),
        deleting: true,
        exit: Some(exit(Outcome::Code(3))),
        image_digest: Some("sha256:00".to_owned()),
        placement_failure: Some(failure()),
        rollout: None,
        previous: None,
        released: false,
        scale: None,
        registry_password: None,
        version: VERSION,
    }
}

pub(crate) fn failure() -> PlacementFailure {
    let reasons = [
        UnplacedReason::NoNodes,
        UnplacedReason::NotReady,
        UnplacedReason::Cordoned,
        UnplacedReason::RuntimeMissing("docker".to_owned()),
        UnplacedReason::Constraint("zone!=eu".to_owned()),
        UnplacedReason::Cpu(500),
        UnplacedReason::Memory(1 << 30),
        UnplacedReason::Full,
        UnplacedReason::Port(8080),
    ];
    PlacementFailure { missing: 2, reasons: reasons.into_iter().map(|reason| Unplaced { reason, nodes: 1 }).collect() }
}

fn instance() -> Instance {
    Instance {
        id: INSTANCE,
        deployment: DEPLOYMENT,
        slot: 1,
        attempt: 2,
        node: NODE,
        claim: Some(Epoch(5)),
        generation: Generation(3),
        goal: Goal::Stop,
        state: InstanceState::Exited,
        address: Some("172.18.0.2".into()),
        image_digest: Some("sha256:00".into()),
        created_at: AT,
        started_at: Some(LATER),
        exit: Some(Box::new(exit(Outcome::Code(-1)))),
        stop_cause: Some(StopCause::TimedOut),
        health: Some(Box::new(health())),
        ready_at: Some(LATER),
        running_since: None,
        moving: None,
        version: VERSION,
    }
}

fn moving() -> Move {
    Move { to: NODE, order: 3, until: LATER, begun: true }
}

pub(crate) fn health() -> Health {
    let failing = vec![FailingCheck { check: 1, message: "connection refused".to_owned() }];
    Health { ready: true, failing }
}

fn node() -> Node {
    Node {
        id: NODE,
        name: name("n1"),
        info: info(),
        labels: map(&[("zone", "eu")]),
        status: NodeStatus::Unreachable,
        held: true,
        schedulable: true,
        drain: Some(Drain { since: AT, deadline: LATER, until_return: false }),
        epoch: Epoch(5),
        boot: REQUEST,
        member: Some(MemberId(3)),
        joined_at: AT,
        status_since: LATER,
        silent_since: None,
        version: VERSION,
    }
}

/// A node that is silent, and whose agent says its level; a deployment for which there is no such agent.
pub(crate) fn cut_off() -> [(&'static str, Row); 2] {
    let info = NodeInfo { level: Level(2), ..info() };
    let node = Node { info, silent_since: Some(AT), ..node() };
    let reasons = vec![Unplaced { reason: UnplacedReason::AgentTooOld, nodes: 3 }];
    let waits = Deployment { placement_failure: Some(PlacementFailure { missing: 1, reasons }), ..deployment() };
    [("node_silent_since", Row::Node(Arc::new(node))), ("deployment_agent_too_old", Row::Deployment(Arc::new(waits)))]
}

/// A node whose agent stops.
pub(crate) fn drained_until_return() -> Row {
    Row::Node(Arc::new(Node { drain: Some(Drain { since: AT, deadline: LATER, until_return: true }), ..node() }))
}

pub(crate) fn info() -> NodeInfo {
    NodeInfo {
        capacity: NodeCapacity { cpu: Cpu(8000), memory: Memory(16 << 30) },
        runtimes: vec![
            RuntimeReport { kind: RuntimeKind::Docker, version: "27.0".to_owned(), problem: None },
            RuntimeReport { kind: RuntimeKind::Process, version: String::new(), problem: Some("no cgroup".to_owned()) },
        ],
        labels: map(&[("zone", "us")]),
        agent_version: "0.1.0".to_owned(),
        platform: "linux/x86_64".to_owned(),
        hostname: "n1.example".to_owned(),
        address: "10.0.0.9".to_owned(),
        level: Level::FIRST,
    }
}

pub(crate) fn token() -> ApiToken {
    ApiToken {
        id: TOKEN,
        user: USER,
        name: "ci".to_owned(),
        hash: [0xab; 32],
        scopes: vec!["deployments:write".to_owned()],
        namespaces: vec![name("shop")],
        created_at: AT,
        expires_at: Some(LATER),
        last_used_at: None,
        version: VERSION,
    }
}

/// One somebody came with, which the first release did not note.
pub(crate) fn used_token() -> Row {
    Row::Token(Arc::new(ApiToken { last_used_at: Some(LATER), ..token() }))
}

pub(crate) fn join_token() -> JoinToken {
    JoinToken {
        id: JOIN_TOKEN,
        hash: [0xcd; 32],
        role: JoinRole::Control,
        uses_left: 2,
        expires_at: LATER,
        revoked: true,
        created_at: AT,
        version: VERSION,
    }
}

pub(crate) fn exit(outcome: Outcome) -> ExitStatus {
    ExitStatus { outcome, started_at: Some(AT), finished_at: LATER, node: NODE }
}

pub(crate) fn exits() -> [(&'static str, ExitStatus); 4] {
    let never = ExitStatus {
        started_at: None,
        ..exit(Outcome::NotStarted { cause: StartFailure::ImageNotFound, message: "no such image".to_owned() })
    };
    [
        ("exit_code_0", exit(Outcome::Code(0))),
        ("exit_signal", exit(Outcome::Signal { signal: 9, oom_killed: true })),
        ("exit_not_started", never),
        ("exit_unknown", exit(Outcome::Unknown(UnknownExit::NodeLost))),
    ]
}
