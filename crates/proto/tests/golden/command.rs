//! A command and an action of every kind, with every field set.

use std::sync::Arc;

use ring_state::{
    Action, ApplyConfig, ApplyDeployment, AuditedCommand, Bootstrap, CaConfirm, CaPhase, CaStep, Command, CreateVolume,
    EnrolMember, EnrolNode, Entry, InstanceReport, NewCa, NewDataKey, NodeChange, NodeUpdate, PlacementNote, Rebalance,
    Relocation, Reseal, Resealed, Role, RolloutPhase, SealedValue, Succession, TokenRotation, TokenUse, UserUpdate,
};
use ring_types::{
    Condition, DeploymentSpec, DeploymentStatus, Epoch, Goal, InstanceState, KeyId, Level, MemberId, NodeInfo, NodeStatus,
    Outcome, Revision, Span, StartFailure, StopCause, UnknownExit, VolumeDriver,
};

use crate::object::{self, exit, failure, health, info, join_token, password, token};
use crate::{
    AT, CLUSTER, CONFIG, DEPLOYMENT, INSTANCE, JOIN_TOKEN, LATER, NODE, OLDER, REQUEST, SECRET, TOKEN, USER, VOLUME, WEBHOOK,
    map, name, spec,
};

pub(crate) fn entry() -> Entry {
    Entry { at: AT, request: REQUEST, command: Command::Prune { namespace: name("shop"), all: true } }
}

pub(crate) fn examples() -> Vec<Command> {
    [deployments(), objects(), access(), audit(), keys(), members(), nodes(), hooks(), vec![Command::Plan { actions: actions() }]]
        .concat()
}

fn deployments() -> Vec<Command> {
    let deployments =
        vec![ApplyDeployment::new(DEPLOYMENT, Arc::new(spec::full())), ApplyDeployment::new(OLDER, Arc::new(spec::plain()))];
    vec![
        Command::Bootstrap(Bootstrap {
            cluster: CLUSTER,
            ca_certificate: "-----BEGIN CERTIFICATE-----".to_owned(),
            ca_key_sealed: vec![0, 255, 1],
            data_key_sealed: Vec::new(),
            member_name: name("c1"),
            address: "10.0.0.1:3031".to_owned(),
            api_address: "10.0.0.1:3030".to_owned(),
            admin: USER,
            admin_password_hash: "$argon2id$x".to_owned(),
            level: Level::FIRST,
        }),
        Command::Apply {
            namespaces: vec![name("shop"), name("tools")],
            configs: vec![config()],
            deployments,
            force: true,
            rollout_deadline: None,
        },
        Command::RestartDeployment(succession()),
        Command::RollbackDeployment(succession()),
        Command::DeleteDeployments { ids: vec![DEPLOYMENT, OLDER] },
        Command::Prune { namespace: name("shop"), all: true },
        Command::CreateNamespace { name: name("shop") },
        Command::DeleteNamespace { name: name("shop") },
    ]
}

/// The others about webhooks have files of their own.
fn hooks() -> Vec<Command> {
    crate::webhook::commands().into_iter().take(1).map(Command::Hook).collect()
}

fn succession() -> Succession {
    Succession { id: OLDER, successor: DEPLOYMENT, rollout_deadline: Some(Span::seconds(600)) }
}

/// An apply that says how long a rolling update may take.
pub(crate) fn rolling() -> Command {
    let deployments = vec![ApplyDeployment::new(DEPLOYMENT, Arc::new(spec::plain()))];
    let (namespaces, configs, rollout_deadline) = (Vec::new(), Vec::new(), Some(Span::seconds(600)));
    Command::Apply { namespaces, configs, deployments, force: false, rollout_deadline }
}

/// An apply that brings a sealed password and ids of volumes.
pub(crate) fn carrying() -> Command {
    let one = ApplyDeployment {
        registry_password: Some(password()),
        volumes: [("data".to_owned(), VOLUME)].into(),
        ..ApplyDeployment::new(DEPLOYMENT, Arc::new(spec::plain()))
    };
    let (namespaces, configs) = (Vec::new(), Vec::new());
    Command::Apply { namespaces, configs, deployments: vec![one], force: false, rollout_deadline: None }
}

fn config() -> ApplyConfig {
    ApplyConfig {
        id: CONFIG,
        namespace: name("shop"),
        name: name("settings"),
        data: map(&[("app.toml", "a = 1\n")]),
        labels: map(&[("tier", "front")]),
    }
}

fn objects() -> Vec<Command> {
    vec![
        Command::PutSecret {
            id: SECRET,
            namespace: name("shop"),
            name: name("web-key"),
            sealed: vec![9; 40],
            key: KeyId(0),
            create: true,
        },
        Command::DeleteSecret { id: SECRET, force: true },
        Command::PutConfig {
            id: CONFIG,
            namespace: name("shop"),
            name: name("settings"),
            data: map(&[("app.toml", "a = 1\n")]),
            labels: map(&[("tier", "front")]),
            create: true,
        },
        Command::DeleteConfig { id: CONFIG, force: true },
        Command::CreateVolume(CreateVolume {
            id: VOLUME,
            namespace: name("shop"),
            name: name("data"),
            driver: VolumeDriver::Nfs,
            source: Some("10.0.0.7:/srv/data".to_owned()),
            labels: map(&[("tier", "front")]),
            node: Some(NODE),
        }),
        Command::DeleteVolume { id: VOLUME, force: true },
    ]
}

fn audit() -> Vec<Command> {
    let command = Box::new(Command::DeleteDeployments { ids: vec![DEPLOYMENT] });
    vec![
        Command::Audited(Box::new(AuditedCommand { note: object::audit_note(), command })),
        Command::RecordAudit { records: vec![object::audit_record()] },
    ]
}

fn keys() -> Vec<Command> {
    let secret = SealedValue::Secret { id: SECRET, version: Revision(300) };
    let password = SealedValue::Password { deployment: DEPLOYMENT, digest: [0xef; 32] };
    let values = [secret, password].map(|value| Resealed { value, sealed: vec![7; 40] }).to_vec();
    vec![
        Command::RotateDataKey(NewDataKey { id: KeyId(2), sealed: vec![6; 60] }),
        Command::Reseal(Reseal { key: KeyId(2), values }),
        Command::SettleDataKey { key: KeyId(2) },
        Command::RotateCa(NewCa { certificate: "-----BEGIN CERTIFICATE-----".to_owned(), key_sealed: vec![0, 255, 2] }),
        Command::ConfirmCa(CaConfirm {
            rotation: Revision(300),
            phase: CaPhase::Trust,
            members: vec![MemberId(3)],
            nodes: vec![NODE],
        }),
        Command::BeginGeneration(ring_state::NewGeneration {
            generation: ring_types::ClusterGeneration(0x1_0000_0a1b),
            member: MemberId(1001),
            name: name("c9"),
            address: "10.0.0.9:3031".to_owned(),
            api_address: "10.0.0.9:3030".to_owned(),
        }),
        Command::StepCa(CaStep { rotation: Revision(300), phase: CaPhase::Renew, force: true }),
    ]
}

/// A secret sealed with a data key.
pub(crate) fn sealed() -> Command {
    let (namespace, name) = (name("shop"), name("web-key"));
    Command::PutSecret { id: SECRET, namespace, name, sealed: vec![9; 40], key: KeyId(2), create: false }
}

/// The secret of a webhook sealed anew.
pub(crate) fn webhook_resealed() -> Command {
    let value = SealedValue::Webhook { id: WEBHOOK, key: KeyId(1) };
    Command::Reseal(Reseal { key: KeyId(2), values: vec![Resealed { value, sealed: vec![7; 40] }] })
}

/// The beginning of a cluster with a data key.
pub(crate) fn bootstrap_with_key() -> Command {
    bootstrap(|plain| Bootstrap { data_key_sealed: vec![6; 60], ..plain })
}

/// The beginning of a cluster by a release that knows of levels.
pub(crate) fn bootstrap_at_level() -> Command {
    bootstrap(|plain| Bootstrap { level: Level(2), ..plain })
}

fn bootstrap(change: impl Fn(Bootstrap) -> Bootstrap) -> Command {
    let changed = |command| match command {
        Command::Bootstrap(bootstrap) => Some(Command::Bootstrap(change(bootstrap))),
        _ => None,
    };
    examples().into_iter().find_map(changed).unwrap()
}

/// What agents stop that are cut off: who asks for it, what is said of it, and who can; and what was said under a registration.
pub(crate) fn cut_off() -> [(&'static str, Command); 5] {
    let spec = Arc::new(DeploymentSpec { stop_on_disconnect: Some(Span(30_000)), ..crate::spec::plain() });
    let deployments = vec![ApplyDeployment::new(DEPLOYMENT, spec)];
    let apply = Command::Apply { namespaces: vec![], configs: vec![], deployments, force: false, rollout_deadline: None };
    let (node, epoch, status) = (NODE, Epoch(5), NodeStatus::Lost);
    let change = NodeChange { node, epoch, status, held: false, silent_since: Some(AT) };
    let info = NodeInfo { level: Level(2), ..crate::object::info() };
    let report = InstanceReport {
        started_at: Some(AT),
        exit: Some(crate::object::exit(Outcome::Signal { signal: 15, oom_killed: false })),
        cut_off: true,
        ..InstanceReport::of(INSTANCE, InstanceState::Exited)
    };
    [
        ("apply_stop_on_disconnect", apply),
        ("node_silent", Command::SetNodeStatus { changes: vec![change] }),
        ("node_register_level", Command::RegisterNode { node, boot: REQUEST, info }),
        ("report_cut_off", Command::Report { node, epoch: None, reports: vec![report.clone()] }),
        ("report_epoch", Command::Report { node, epoch: Some(epoch), reports: vec![report] }),
    ]
}

pub(crate) fn drained_until_return() -> Command {
    Command::UpdateNode(NodeUpdate { drain: Some(Span(1500)), until_return: true, ..NodeUpdate::of(NODE) })
}

fn access() -> Vec<Command> {
    vec![
        Command::CreateUser { id: USER, username: name("alice"), password_hash: "$argon2id$x".to_owned(), role: Role::Admin },
        Command::UpdateUser(UserUpdate {
            id: USER,
            username: Some(name("bob")),
            password_hash: Some("$argon2id$y".to_owned()),
            role: Some(Role::Viewer),
        }),
        Command::DeleteUser { id: USER },
        Command::CreateToken(token()),
        Command::RevokeTokens { ids: vec![TOKEN] },
        Command::RotateToken(TokenRotation { id: TOKEN, hash: [8; 32] }),
        Command::NoteTokenUse { uses: vec![TokenUse { token: TOKEN, at: LATER }] },
        Command::CreateJoinToken(join_token()),
        Command::RevokeJoinToken { id: JOIN_TOKEN },
    ]
}

fn members() -> Vec<Command> {
    let (address, api_address) = ("10.0.0.3:3031".to_owned(), "10.0.0.3:3030".to_owned());
    vec![
        Command::EnrolMember(EnrolMember {
            token: JOIN_TOKEN,
            name: name("c3"),
            address: address.clone(),
            api_address: api_address.clone(),
        }),
        Command::UpdateMember { id: MemberId(3), address, api_address },
        Command::ActivateMember { id: MemberId(3) },
        Command::RemoveMember { id: MemberId(3) },
    ]
}

fn nodes() -> Vec<Command> {
    let states = [NodeStatus::Joining, NodeStatus::Ready, NodeStatus::Unreachable, NodeStatus::Lost];
    let changes = states.into_iter().map(|status| NodeChange {
        node: NODE,
        epoch: Epoch(5),
        status,
        held: status == NodeStatus::Unreachable,
        silent_since: None,
    });
    vec![
        Command::EnrolNode(EnrolNode {
            token: Some(JOIN_TOKEN),
            node: NODE,
            name: name("n1"),
            member: Some(MemberId(3)),
            labels: map(&[("zone", "eu")]),
        }),
        Command::RegisterNode { node: NODE, boot: REQUEST, info: info() },
        Command::SetNodeStatus { changes: changes.collect() },
        Command::UpdateNode(NodeUpdate {
            node: NODE,
            labels: Some(map(&[])),
            schedulable: Some(false),
            drain: Some(Span(1500)),
            lost: true,
            until_return: false,
        }),
        Command::RemoveNode { node: NODE },
        Command::Rebalance(Rebalance { moves: vec![Relocation { instance: INSTANCE, to: NODE }], within: Span(60_000) }),
        Command::Claim { node: NODE, epoch: Epoch(5), instances: vec![INSTANCE] },
        Command::Report { node: NODE, epoch: None, reports: reports() },
        Command::RaiseLevel { level: Level(2) },
    ]
}

fn reports() -> Vec<InstanceReport> {
    let ends = [
        Outcome::Code(0),
        Outcome::Code(-1),
        Outcome::Signal { signal: 9, oom_killed: true },
        Outcome::NotStarted { cause: StartFailure::NodeGone, message: "the node was removed".to_owned() },
        Outcome::Unknown(UnknownExit::HostRestarted),
    ];
    let running = InstanceReport {
        address: Some("172.18.0.2".to_owned()),
        image_digest: Some("sha256:00".to_owned()),
        started_at: Some(LATER),
        health: Some(health()),
        ..InstanceReport::of(INSTANCE, InstanceState::Running)
    };
    let ended = ends.map(|end| InstanceReport {
        started_at: Some(AT),
        exit: Some(exit(end)),
        ..InstanceReport::of(INSTANCE, InstanceState::Exited)
    });
    [running].into_iter().chain(ended).collect()
}

pub(crate) fn actions() -> Vec<Action> {
    vec![
        Action::CreateInstance { id: INSTANCE, deployment: DEPLOYMENT, slot: 1, attempt: 2, node: NODE, restart: true },
        Action::SetGoal { instance: INSTANCE, goal: Goal::Remove, cause: Some(StopCause::Unhealthy) },
        Action::LoseInstance { instance: INSTANCE },
        Action::DropMove { instance: INSTANCE },
        Action::ForgetInstance { instance: INSTANCE },
        Action::SetStatus {
            deployment: DEPLOYMENT,
            status: DeploymentStatus::Failed,
            reason: "exit_code".to_owned(),
            message: "it ended with code 3".to_owned(),
            conditions: vec![Condition::NotPlaced],
            exit: Some(exit(Outcome::Code(3))),
        },
        Action::NotePlacement(PlacementNote { deployment: DEPLOYMENT, failure: Some(failure()) }),
        Action::ForgiveRestarts { deployment: DEPLOYMENT },
        Action::NoteRollout { deployment: DEPLOYMENT, ready: 2 },
        Action::EndRollout {
            deployment: DEPLOYMENT,
            phase: RolloutPhase::Failed,
            reason: "rollout_deadline".to_owned(),
            message: "1 of 3 were ready".to_owned(),
        },
        Action::ForgetDeployment { deployment: DEPLOYMENT },
        Action::Autoscale { deployment: DEPLOYMENT, from: 2, replicas: 4, message: "cpu at 95 %".to_owned() },
    ]
}
