//! The state as rows: what is written to disk after each entry, and what a snapshot is made of.

use std::sync::Arc;

use ring_types::{
    ConfigId, DeploymentId, InstanceId, JoinTokenId, KeyId, MemberId, Name, NodeId, Revision, SecretId, TokenId, UserId,
    VolumeId, WebhookId,
};

use crate::{
    Account, ApiToken, AuditEntry, CaRotation, Clock, ClusterLevel, ClusterMeta, Config, DataKey, Delivery, Deployment, Event,
    Instance, JoinToken, Leader, Member, Namespace, Node, PastRequest, Secret, Volume, Webhook,
};

/// A table. The numbers are part of the stored format: never changed, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the table of the object of that name.
pub enum Table {
    Meta = 1,
    Namespace = 2,
    Deployment = 3,
    Instance = 4,
    Node = 5,
    Secret = 6,
    Config = 7,
    User = 8,
    Token = 9,
    JoinToken = 10,
    Member = 11,
    Event = 12,
    Request = 13,
    Clock = 14,
    Volume = 15,
    Audit = 16,
    Webhook = 17,
    Delivery = 18,
    Leader = 19,
    DataKey = 20,
    CaRotation = 21,
    Level = 22,
}

impl Table {
    /// Every table, in the order of their numbers.
    pub const ALL: [Self; 22] = [
        Self::Meta,
        Self::Namespace,
        Self::Deployment,
        Self::Instance,
        Self::Node,
        Self::Secret,
        Self::Config,
        Self::User,
        Self::Token,
        Self::JoinToken,
        Self::Member,
        Self::Event,
        Self::Request,
        Self::Clock,
        Self::Volume,
        Self::Audit,
        Self::Webhook,
        Self::Delivery,
        Self::Leader,
        Self::DataKey,
        Self::CaRotation,
        Self::Level,
    ];

    /// The word for its objects, such as `join_token`.
    pub fn word(self) -> String {
        let mut word = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !word.is_empty() {
                word.push('_');
            }
            word.push(c.to_ascii_lowercase());
        }
        word
    }

    /// The table of a number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u8 == number)
    }
}

/// Key of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // Each is the key of the object of that name.
pub enum RowKey {
    Meta,
    Namespace(Name),
    Deployment(DeploymentId),
    Instance(InstanceId),
    Node(NodeId),
    Secret(SecretId),
    Config(ConfigId),
    User(UserId),
    Token(TokenId),
    JoinToken(JoinTokenId),
    Member(MemberId),
    /// Deployment, and the event's number.
    Event(DeploymentId, u64),
    /// By the entry that answered it, so that the oldest comes first.
    Request(Revision),
    Clock,
    Volume(VolumeId),
    /// By the entry that brought it, and its place among that entry's lines.
    Audit(Revision, u32),
    Webhook(WebhookId),
    /// Webhook, and the event's number.
    Delivery(WebhookId, u64),
    Leader,
    DataKey(KeyId),
    CaRotation,
    Level,
}

impl RowKey {
    /// The table it is in.
    pub const fn table(&self) -> Table {
        match self {
            Self::Meta => Table::Meta,
            Self::Namespace(_) => Table::Namespace,
            Self::Deployment(_) => Table::Deployment,
            Self::Instance(_) => Table::Instance,
            Self::Node(_) => Table::Node,
            Self::Secret(_) => Table::Secret,
            Self::Config(_) => Table::Config,
            Self::User(_) => Table::User,
            Self::Token(_) => Table::Token,
            Self::JoinToken(_) => Table::JoinToken,
            Self::Member(_) => Table::Member,
            Self::Event(..) => Table::Event,
            Self::Request(_) => Table::Request,
            Self::Clock => Table::Clock,
            Self::Volume(_) => Table::Volume,
            Self::Audit(..) => Table::Audit,
            Self::Webhook(_) => Table::Webhook,
            Self::Delivery(..) => Table::Delivery,
            Self::Leader => Table::Leader,
            Self::DataKey(_) => Table::DataKey,
            Self::CaRotation => Table::CaRotation,
            Self::Level => Table::Level,
        }
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each is the object of that name.
pub enum Row {
    Meta(Arc<ClusterMeta>),
    Namespace(Arc<Namespace>),
    Deployment(Arc<Deployment>),
    Instance(Arc<Instance>),
    Node(Arc<Node>),
    Secret(Arc<Secret>),
    Config(Arc<Config>),
    User(Arc<Account>),
    Token(Arc<ApiToken>),
    JoinToken(Arc<JoinToken>),
    Member(Arc<Member>),
    Event(Arc<Event>),
    Request(Arc<PastRequest>),
    Clock(Clock),
    Volume(Arc<Volume>),
    Audit(Arc<AuditEntry>),
    Webhook(Arc<Webhook>),
    Delivery(Arc<Delivery>),
    Leader(Arc<Leader>),
    DataKey(Arc<DataKey>),
    CaRotation(Arc<CaRotation>),
    Level(ClusterLevel),
}

impl Row {
    /// The key it stands under.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Meta(_) => RowKey::Meta,
            Self::Namespace(o) => RowKey::Namespace(o.name.clone()),
            Self::Deployment(o) => RowKey::Deployment(o.id),
            Self::Instance(o) => RowKey::Instance(o.id),
            Self::Node(o) => RowKey::Node(o.id),
            Self::Secret(o) => RowKey::Secret(o.id),
            Self::Config(o) => RowKey::Config(o.id),
            Self::User(o) => RowKey::User(o.id),
            Self::Token(o) => RowKey::Token(o.id),
            Self::JoinToken(o) => RowKey::JoinToken(o.id),
            Self::Member(o) => RowKey::Member(o.id),
            Self::Event(o) => RowKey::Event(o.deployment, o.id),
            Self::Request(o) => RowKey::Request(o.revision),
            Self::Clock(_) => RowKey::Clock,
            Self::Volume(o) => RowKey::Volume(o.id),
            Self::Audit(o) => RowKey::Audit(o.revision, o.part),
            Self::Webhook(o) => RowKey::Webhook(o.id),
            Self::Delivery(o) => RowKey::Delivery(o.webhook, o.number),
            Self::Leader(_) => RowKey::Leader,
            Self::DataKey(o) => RowKey::DataKey(o.id),
            Self::CaRotation(_) => RowKey::CaRotation,
            Self::Level(_) => RowKey::Level,
        }
    }
}

/// A row written, or deleted (`None`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Which.
    pub key: RowKey,
    /// What it is now.
    pub row: Option<Row>,
}
