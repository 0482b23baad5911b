//! Everything that can change the state. One request of a client is one command is one log entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring_types::{
    ClusterId, Condition, ConfigId, DeploymentId, DeploymentSpec, DeploymentStatus, Epoch, ExitStatus, Goal, Health, InstanceId,
    InstanceState, JoinTokenId, KeyId, Level, MemberId, Name, NodeId, NodeInfo, Outcome, RequestId, SecretId, Span, StopCause,
    Timestamp, TokenId, UserId, VolumeId,
};

use crate::{
    ApiToken, AuditRecord, AuditedCommand, CaConfirm, CaStep, CreateVolume, HookCommand, JoinToken, NewCa, NewDataKey,
    NewGeneration, NodeChange, NodeUpdate, PlacementNote, Rebalance, RegistryPassword, Reseal, Role, RolloutPhase, Succession,
    TokenRotation, TokenUse, UserUpdate,
};

/// A log entry: a command, stamped by the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leader's clock when it accepted the command.
    pub at: Timestamp,
    /// Which request this answers.
    pub request: RequestId,
    /// What to do.
    pub command: Command,
}

/// A change of the state. All of it happens, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first entry of a cluster.
    Bootstrap(Bootstrap),
    /// A whole manifest: makes namespaces, makes or changes configs, creates, scales or replaces deployments. All or nothing.
    Apply {
        /// Namespaces it names; those that are there stay as they are, and those its objects need are made too.
        namespaces: Vec<Name>,
        /// Configs, each with its whole content.
        configs: Vec<ApplyConfig>,
        /// In manifest order.
        deployments: Vec<ApplyDeployment>,
        /// Replace even what is unchanged.
        force: bool,
        /// Longest time of a rolling update from one ready instance to the next; None: [`crate::limits::ROLLOUT_DEADLINE`].
        rollout_deadline: Option<Span>,
    },
    /// New instances of the same specification, as a new record: one at a time where that can be, else all at once.
    RestartDeployment(Succession),
    /// Back to the specification before: calls off a rolling update under way, else makes a new record of the one before.
    RollbackDeployment(Succession),
    /// Marks deployments for deletion.
    DeleteDeployments {
        /// Which.
        ids: Vec<DeploymentId>,
    },
    /// Marks the deployments of a namespace that are not pending, creating or running for deletion.
    Prune {
        /// Which namespace.
        namespace: Name,
        /// Those too.
        all: bool,
    },
    /// Makes a namespace.
    CreateNamespace {
        /// Its name.
        name: Name,
    },
    /// Deletes an empty namespace.
    DeleteNamespace {
        /// Its name.
        name: Name,
    },
    /// Makes a secret or changes its value.
    PutSecret {
        /// Used when it is new.
        id: SecretId,
        /// Namespace; made when missing.
        namespace: Name,
        /// Name.
        name: Name,
        /// Nonce and ciphertext, sealed for `id`.
        sealed: Vec<u8>,
        /// The data key it is sealed with.
        key: KeyId,
        /// Fails with a conflict when it exists under another id.
        create: bool,
    },
    /// Deletes a secret.
    DeleteSecret {
        /// Which.
        id: SecretId,
        /// Even when a deployment refers to it.
        force: bool,
    },
    /// Makes a config or changes it.
    PutConfig {
        /// Used when it is new.
        id: ConfigId,
        /// Namespace; made when missing.
        namespace: Name,
        /// Name.
        name: Name,
        /// Key to content.
        data: BTreeMap<String, String>,
        /// Labels.
        labels: BTreeMap<String, String>,
        /// Fails with a conflict when it exists.
        create: bool,
    },
    /// Deletes a config.
    DeleteConfig {
        /// Which.
        id: ConfigId,
        /// Even when a deployment mounts it.
        force: bool,
    },
    /// Makes a volume. Nothing is made on any host: the data comes with the first instance that mounts it.
    CreateVolume(CreateVolume),
    /// Forgets a volume. Its data stays where it is.
    DeleteVolume {
        /// Which.
        id: VolumeId,
        /// Even when a deployment mounts it.
        force: bool,
    },
    /// Makes an account.
    CreateUser {
        /// Identity.
        id: UserId,
        /// Login name.
        username: Name,
        /// argon2id, PHC string.
        password_hash: String,
        /// What it may do.
        role: Role,
    },
    /// Changes an account.
    UpdateUser(UserUpdate),
    /// Deletes an account and its tokens.
    DeleteUser {
        /// Which.
        id: UserId,
    },
    /// Records a session or an API token. `version` and `created_at` are set by the state.
    CreateToken(ApiToken),
    /// Deletes tokens; unknown ones are passed over.
    RevokeTokens {
        /// Which.
        ids: Vec<TokenId>,
    },
    /// Gives a token another secret: the one before is good for nothing from then on.
    RotateToken(TokenRotation),
    /// Notes when tokens were used last; unknown ones, and what is older than what is known, are passed over.
    NoteTokenUse {
        /// Which, and when; at most [`crate::limits::USES_PER_ENTRY`].
        uses: Vec<TokenUse>,
    },
    /// Records a join token. `version`, `created_at` and `revoked` are set by the state.
    CreateJoinToken(JoinToken),
    /// Takes a join token back.
    RevokeJoinToken {
        /// Which.
        id: JoinTokenId,
    },
    /// Admits a host that runs work: uses up one admission of the token.
    EnrolNode(EnrolNode),
    /// Admits a control node: uses up one admission of the token and gives out an id.
    EnrolMember(EnrolMember),
    /// A control node's addresses changed.
    UpdateMember {
        /// Which.
        id: MemberId,
        /// Cluster port.
        address: String,
        /// REST API.
        api_address: String,
    },
    /// A control node was promoted to voter.
    ActivateMember {
        /// Which.
        id: MemberId,
    },
    /// A control node is removed for good.
    RemoveMember {
        /// Which.
        id: MemberId,
    },
    /// An agent says what it is; answers with its epoch.
    RegisterNode {
        /// Which node.
        node: NodeId,
        /// Which run of the agent: the same run again keeps its epoch, unless the node was declared lost.
        boot: RequestId,
        /// What it has.
        info: NodeInfo,
    },
    /// The leader's view of nodes' contact.
    SetNodeStatus {
        /// What changed.
        changes: Vec<NodeChange>,
    },
    /// An operator changes a node.
    UpdateNode(NodeUpdate),
    /// Instances of workers are to go to other nodes, for an even spread.
    Rebalance(Rebalance),
    /// From here on the log may have what a level brought: every control node speaks it. Never goes down.
    RaiseLevel {
        /// The level.
        level: Level,
    },
    /// A node is removed for good; its instances count as lost.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// A node asks for the right to execute instances.
    Claim {
        /// Which node.
        node: NodeId,
        /// Its registration.
        epoch: Epoch,
        /// Which instances.
        instances: Vec<InstanceId>,
    },
    /// A node says what it saw of its instances.
    Report {
        /// Which node.
        node: NodeId,
        /// The registration it said so under: only the present one counts. None: any does. Needs level 3.
        epoch: Option<Epoch>,
        /// What it saw, in the order it saw it.
        reports: Vec<InstanceReport>,
    },
    /// A command of somebody: its record is part of its entry.
    Audited(Box<AuditedCommand>),
    /// Records what changed nothing else.
    RecordAudit {
        /// Lines.
        records: Vec<AuditRecord>,
    },
    /// Brings a data key that is used from now on; what is sealed with others is to be sealed anew.
    RotateDataKey(NewDataKey),
    /// Values sealed anew with the data key in use.
    Reseal(Reseal),
    /// Nothing is sealed with another key than this one any more: the others go. Passed over while that is not so.
    SettleDataKey {
        /// Which.
        key: KeyId,
    },
    /// Brings a new authority: both are trusted until every host has a certificate of the new one.
    RotateCa(NewCa),
    /// Hosts have done their part of a phase.
    ConfirmCa(CaConfirm),
    /// Ends a phase.
    StepCa(CaStep),
    /// Begins another generation of the cluster, with one control node.
    BeginGeneration(NewGeneration),
    /// About webhooks, and what they are told.
    Hook(HookCommand),
    /// What a controller decided.
    Plan {
        /// In the order they are to be done; each is checked by itself.
        actions: Vec<Action>,
    },
}

impl Command {
    /// The command itself, without whose it is.
    pub fn bare(&self) -> &Self {
        let mut command = self;
        while let Self::Audited(audited) = command {
            command = &audited.command;
        }
        command
    }
}

/// The first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Certificate of its authority, PEM.
    pub ca_certificate: String,
    /// Its key, encrypted.
    pub ca_key_sealed: Vec<u8>,
    /// The first data key, encrypted; empty in clusters of releases that had none.
    pub data_key_sealed: Vec<u8>,
    /// Name of the first control node, whose id is 1.
    pub member_name: Name,
    /// Its cluster port.
    pub address: String,
    /// Its REST API.
    pub api_address: String,
    /// First account.
    pub admin: UserId,
    /// argon2id, PHC string.
    pub admin_password_hash: String,
    /// The level it begins at: that of the release that makes it.
    pub level: Level,
}

/// One config of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyConfig {
    /// Identity it gets when it is new.
    pub id: ConfigId,
    /// Namespace; made when missing.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Key to content.
    pub data: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One deployment of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyDeployment {
    /// Identity it gets when it is new.
    pub id: DeploymentId,
    /// What it asks for; valid.
    pub spec: Arc<DeploymentSpec>,
    /// The registry password its manifest has, encrypted.
    pub registry_password: Option<RegistryPassword>,
    /// Identities of the local volumes it mounts by name, used for those that are not there yet.
    pub volumes: BTreeMap<String, VolumeId>,
}

impl ApplyDeployment {
    /// One without a password in its manifest, and without volumes to be made.
    pub fn new(id: DeploymentId, spec: Arc<DeploymentSpec>) -> Self {
        Self { id, spec, registry_password: None, volumes: BTreeMap::new() }
    }
}

/// Admission of a host that runs work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolNode {
    /// The token; None for the agent in a control node's own process, which that node's certificate admits.
    pub token: Option<JoinTokenId>,
    /// Identity it gets.
    pub node: NodeId,
    /// Wanted name; a number is added when it is taken by another node.
    pub name: Name,
    /// The control node on the same host.
    pub member: Option<MemberId>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Admission of a control node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolMember {
    /// The token.
    pub token: JoinTokenId,
    /// Wanted name; a number is added when it is taken.
    pub name: Name,
    /// Its cluster port.
    pub address: String,
    /// Its REST API.
    pub api_address: String,
}

/// What a node saw of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceReport {
    /// Which.
    pub instance: InstanceId,
    /// Where it is.
    pub state: InstanceState,
    /// Its address.
    pub address: Option<String>,
    /// Digest of its image.
    pub image_digest: Option<String>,
    /// When its process started.
    pub started_at: Option<Timestamp>,
    /// How it ended; required from [`InstanceState::Exited`] on when it was ever started.
    pub exit: Option<ExitStatus>,
    /// What its checks say; None: nothing new.
    pub health: Option<Health>,
    /// Its agent stopped it since the host was out of contact for longer than it may be. Needs level 2.
    pub cut_off: bool,
}

impl InstanceReport {
    /// That it is so far, and nothing else of it.
    pub fn of(instance: InstanceId, state: InstanceState) -> Self {
        let (exit, health) = (None, None);
        Self { instance, state, address: None, image_digest: None, started_at: None, exit, health, cut_off: false }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.exit.as_ref().map(|exit| &exit.outcome)
    }
}

/// One decision of a controller. An action that does not fit the facts any more is passed over, and the reply counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes an instance and binds it, and with it the local volumes it mounts that are on no node yet. Passed over when the
    /// slot has a live instance, the deployment goes, a volume is missing or on another node, or the node cannot take it.
    CreateInstance {
        /// Identity.
        id: InstanceId,
        /// Whose.
        deployment: DeploymentId,
        /// Which replica.
        slot: u32,
        /// Which attempt.
        attempt: u32,
        /// Where.
        node: NodeId,
        /// It follows a crash: counts as a restart.
        restart: bool,
    },
    /// Moves an instance's goal forward.
    SetGoal {
        /// Which.
        instance: InstanceId,
        /// What is wanted.
        goal: Goal,
        /// Why. The first cause of an instance stands.
        cause: Option<StopCause>,
    },
    /// Records the end of an instance whose node cannot tell it.
    LoseInstance {
        /// Which.
        instance: InstanceId,
    },
    /// An instance stays where it is after all.
    DropMove {
        /// Which.
        instance: InstanceId,
    },
    /// Forgets an instance that has been removed from its node, or whose node is lost or gone.
    ForgetInstance {
        /// Which.
        instance: InstanceId,
    },
    /// Records a deployment's derived status.
    SetStatus {
        /// Which.
        deployment: DeploymentId,
        /// Where it is.
        status: DeploymentStatus,
        /// One word.
        reason: String,
        /// A sentence.
        message: String,
        /// Sorted.
        conditions: Vec<Condition>,
        /// A job's end.
        exit: Option<ExitStatus>,
    },
    /// Records why instances are missing, or that none is any more.
    NotePlacement(PlacementNote),
    /// A healthy window has passed: the restart count goes back to zero.
    ForgiveRestarts {
        /// Whose.
        deployment: DeploymentId,
    },
    /// More instances of a rolling update are ready than ever before.
    NoteRollout {
        /// The new version.
        deployment: DeploymentId,
        /// How many.
        ready: u32,
    },
    /// A rolling update is over. Completed, its parent goes; failed, the deployment is, and its parent stays.
    EndRollout {
        /// The new version.
        deployment: DeploymentId,
        /// How it is over.
        phase: RolloutPhase,
        /// One word for why it failed.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// Forgets a deployment that is being deleted and has no instance left.
    ForgetDeployment {
        /// Which.
        deployment: DeploymentId,
    },
    /// Changes the number of instances of a deployment that scales with its load. Passed over when that number is another
    /// by now, or the new one is out of its bounds.
    Autoscale {
        /// Which.
        deployment: DeploymentId,
        /// From so many.
        from: u32,
        /// To so many.
        replicas: u32,
        /// Why, for people.
        message: String,
    },
}
