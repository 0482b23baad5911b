//! The state in memory: persistent maps with structural sharing, so that a copy is a view of one moment and costs nothing.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use ring_types::{
    ConfigId, Cpu, DeploymentId, DeploymentSpec, InstanceId, JoinTokenId, KeyId, Level, MemberId, Memory, Name, NodeId,
    RequestId, Revision, SecretId, Timestamp, TokenId, UserId, VolumeId, WebhookId,
};

use crate::{
    Account, ApiToken, AuditEntry, Backlog, CaRotation, Clock, ClusterMeta, Config, DataKey, Delivery, Deployment, Event,
    Instance, JoinToken, Leader, Member, Namespace, Node, PastRequest, Row, Secret, Volume, Webhook,
};

/// What a node's instances have set aside for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Live instances.
    pub instances: u32,
}

/// Everything the cluster remembers at one moment. `clone` is a view: it shares all its rows, and costs one count.
#[derive(Clone, Debug, Default)]
pub struct State {
    tables: Arc<Tables>,
}

/// The tables of a state. A change to a state that is shared copies this much, and of each table only what it touches.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(crate) revision: Revision,
    pub(crate) clock: Clock,
    pub(crate) meta: Option<Arc<ClusterMeta>>,
    pub(crate) namespaces: OrdMap<Name, Arc<Namespace>>,
    pub(crate) deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    pub(crate) instances: OrdMap<InstanceId, Arc<Instance>>,
    pub(crate) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(crate) secrets: OrdMap<SecretId, Arc<Secret>>,
    pub(crate) configs: OrdMap<ConfigId, Arc<Config>>,
    pub(crate) users: OrdMap<UserId, Arc<Account>>,
    pub(crate) tokens: OrdMap<TokenId, Arc<ApiToken>>,
    pub(crate) join_tokens: OrdMap<JoinTokenId, Arc<JoinToken>>,
    pub(crate) members: OrdMap<MemberId, Arc<Member>>,
    pub(crate) events: OrdMap<(DeploymentId, u64), Arc<Event>>,
    pub(crate) requests: OrdMap<Revision, Arc<PastRequest>>,
    pub(crate) audit: OrdMap<(Revision, u32), Arc<AuditEntry>>,
    pub(crate) volumes: OrdMap<VolumeId, Arc<Volume>>,
    pub(crate) webhooks: OrdMap<WebhookId, Arc<Webhook>>,
    pub(crate) deliveries: OrdMap<(WebhookId, u64), Arc<Delivery>>,
    pub(crate) leader: Option<Arc<Leader>>,
    pub(crate) data_keys: OrdMap<KeyId, Arc<DataKey>>,
    pub(crate) ca_rotation: Option<Arc<CaRotation>>,
    pub(crate) level: Level,
    // Indexes: derived from the rows above, never stored.
    pub(crate) request_ids: OrdMap<RequestId, Revision>,
    pub(crate) deployment_names: OrdSet<(Name, Name, DeploymentId)>,
    pub(crate) deployment_instances: OrdSet<(DeploymentId, InstanceId)>,
    pub(crate) node_instances: OrdSet<(NodeId, InstanceId)>,
    pub(crate) usage: OrdMap<NodeId, Usage>,
    pub(crate) moving: OrdSet<InstanceId>,
    pub(crate) published: OrdSet<(NodeId, u16, InstanceId)>,
    pub(crate) secret_names: OrdMap<(Name, Name), SecretId>,
    pub(crate) config_names: OrdMap<(Name, Name), ConfigId>,
    pub(crate) volume_names: OrdMap<(Name, Name), VolumeId>,
    pub(crate) user_names: OrdMap<Name, UserId>,
    pub(crate) token_hashes: OrdMap<[u8; 32], TokenId>,
    pub(crate) user_tokens: OrdSet<(UserId, TokenId)>,
    pub(crate) replacements: OrdSet<(DeploymentId, DeploymentId)>,
    pub(crate) dependents: OrdSet<(Name, String, DeploymentId)>,
    pub(crate) pending: OrdSet<(WebhookId, u64)>,
    pub(crate) due: OrdSet<(WebhookId, Timestamp, u64)>,
    pub(crate) dead: OrdSet<(WebhookId, u64)>,
    pub(crate) backlogs: OrdMap<WebhookId, Backlog>,
}

impl Deref for State {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl DerefMut for State {
    fn deref_mut(&mut self) -> &mut Tables {
        Arc::make_mut(&mut self.tables)
    }
}

/// Why rows are not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Two rows have the same key.
    #[error("the row {0} is there twice")]
    Duplicate(String),
}

impl State {
    /// Builds a state from stored rows.
    ///
    /// # Errors
    /// [`LoadError`] when they contradict each other.
    pub fn from_rows(revision: Revision, rows: impl IntoIterator<Item = Row>) -> Result<Self, LoadError> {
        let mut state = Self::default();
        for row in rows {
            let key = row.key();
            if state.put(row) {
                return Err(LoadError::Duplicate(format!("{key:?}")));
            }
        }
        state.revision = revision;
        Ok(state)
    }

    /// Every row, table by table, in key order: what a snapshot has and what the digest is taken of.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let meta = self.meta.iter().cloned().map(Row::Meta);
        meta.chain(self.namespaces.values().cloned().map(Row::Namespace))
            .chain(self.deployments.values().cloned().map(Row::Deployment))
            .chain(self.instances.values().cloned().map(Row::Instance))
            .chain(self.nodes.values().cloned().map(Row::Node))
            .chain(self.secrets.values().cloned().map(Row::Secret))
            .chain(self.configs.values().cloned().map(Row::Config))
            .chain(self.users.values().cloned().map(Row::User))
            .chain(self.tokens.values().cloned().map(Row::Token))
            .chain(self.join_tokens.values().cloned().map(Row::JoinToken))
            .chain(self.members.values().cloned().map(Row::Member))
            .chain(self.events.values().cloned().map(Row::Event))
            .chain(self.requests.values().cloned().map(Row::Request))
            .chain(std::iter::once(Row::Clock(self.clock)))
            .chain(self.volumes.values().cloned().map(Row::Volume))
            .chain(self.audit.values().cloned().map(Row::Audit))
            .chain(self.webhooks.values().cloned().map(Row::Webhook))
            .chain(self.deliveries.values().cloned().map(Row::Delivery))
            .chain(self.leader.iter().cloned().map(Row::Leader))
            .chain(self.data_keys.values().cloned().map(Row::DataKey))
            .chain(self.ca_rotation.iter().cloned().map(Row::CaRotation))
            .chain(self.level_row())
    }

    /// Index of the last entry that is part of this.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The cluster as a whole; None before the first entry.
    pub fn meta(&self) -> Option<&Arc<ClusterMeta>> {
        self.meta.as_ref()
    }

    /// Time of the latest entry.
    pub fn clock(&self) -> Timestamp {
        self.clock.now
    }

    /// A namespace.
    pub fn namespace(&self, name: &Name) -> Option<&Arc<Namespace>> {
        self.namespaces.get(name)
    }

    /// All namespaces by name.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.namespaces.values()
    }

    /// A deployment.
    pub fn deployment(&self, id: DeploymentId) -> Option<&Arc<Deployment>> {
        self.deployments.get(&id)
    }

    /// All deployments by id.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments.values()
    }

    /// Every record of a name, those being deleted too.
    pub fn deployments_named(&self, namespace: &Name, name: &Name) -> impl Iterator<Item = &Arc<Deployment>> {
        let id = |bytes| DeploymentId(uuid_from(bytes));
        let from = (namespace.clone(), name.clone(), id(0));
        let to = (namespace.clone(), name.clone(), id(u128::MAX));
        self.deployment_names.range(from..=to).filter_map(|(_, _, id)| self.deployments.get(id))
    }

    /// Every deployment of a namespace, those being deleted too, by name.
    pub fn deployments_in(&self, namespace: &Name) -> impl Iterator<Item = &Arc<Deployment>> {
        let from = (namespace.clone(), Name::least(), DeploymentId(uuid_from(0)));
        let wanted = namespace.clone();
        let entries = self.deployment_names.range(from..).take_while(move |(ns, ..)| *ns == wanted);
        entries.filter_map(|(_, _, id)| self.deployments.get(id))
    }

    /// Deployments that take the place of `old`.
    pub fn replacements_of(&self, old: DeploymentId) -> impl Iterator<Item = DeploymentId> + '_ {
        let id = |bytes| DeploymentId(uuid_from(bytes));
        self.replacements.range((old, id(0))..=(old, id(u128::MAX))).map(|(_, new)| *new)
    }

    /// An instance.
    pub fn instance(&self, id: InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(&id)
    }

    /// All instances by id.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values()
    }

    /// Instances of a deployment by id.
    pub fn instances_of(&self, deployment: DeploymentId) -> impl Iterator<Item = &Arc<Instance>> {
        let id = |bytes| InstanceId(uuid_from(bytes));
        let range = (deployment, id(0))..=(deployment, id(u128::MAX));
        self.deployment_instances.range(range).filter_map(|(_, id)| self.instances.get(id))
    }

    /// Instances of a node by id.
    pub fn instances_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Instance>> {
        let id = |bytes| InstanceId(uuid_from(bytes));
        let range = (node, id(0))..=(node, id(u128::MAX));
        self.node_instances.range(range).filter_map(|(_, id)| self.instances.get(id))
    }

    /// Instances that may run on a node and publish this port there, of whatever protocol and address, by id.
    pub fn publishing(&self, node: NodeId, port: u16) -> impl Iterator<Item = &Arc<Instance>> {
        let id = |bytes| InstanceId(uuid_from(bytes));
        let range = (node, port, id(0))..=(node, port, id(u128::MAX));
        self.published.range(range).filter_map(|(_, _, id)| self.instances.get(id))
    }

    /// What is set aside on a node.
    pub fn usage(&self, node: NodeId) -> Usage {
        self.usage.get(&node).copied().unwrap_or_default()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// All nodes by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes by id, from the first one after `id` on and around: the beginning of a sample.
    pub fn nodes_from(&self, id: NodeId) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.range(id..).chain(self.nodes.range(..id)).map(|(_, node)| node)
    }

    /// A secret.
    pub fn secret(&self, id: SecretId) -> Option<&Arc<Secret>> {
        self.secrets.get(&id)
    }

    /// A secret by name.
    pub fn secret_named(&self, namespace: &Name, name: &Name) -> Option<&Arc<Secret>> {
        self.secret_names.get(&(namespace.clone(), name.clone())).and_then(|id| self.secrets.get(id))
    }

    /// Secrets of a namespace by name.
    pub fn secrets_in(&self, namespace: &Name) -> impl Iterator<Item = &Arc<Secret>> {
        of_namespace(&self.secret_names, namespace).filter_map(|id| self.secrets.get(id))
    }

    /// All secrets by id.
    pub fn secrets(&self) -> impl Iterator<Item = &Arc<Secret>> {
        self.secrets.values()
    }

    /// A config.
    pub fn config(&self, id: ConfigId) -> Option<&Arc<Config>> {
        self.configs.get(&id)
    }

    /// A config by name.
    pub fn config_named(&self, namespace: &Name, name: &Name) -> Option<&Arc<Config>> {
        self.config_names.get(&(namespace.clone(), name.clone())).and_then(|id| self.configs.get(id))
    }

    /// Configs of a namespace by name.
    pub fn configs_in(&self, namespace: &Name) -> impl Iterator<Item = &Arc<Config>> {
        of_namespace(&self.config_names, namespace).filter_map(|id| self.configs.get(id))
    }

    /// All configs by id.
    pub fn configs(&self) -> impl Iterator<Item = &Arc<Config>> {
        self.configs.values()
    }

    /// A volume.
    pub fn volume(&self, id: VolumeId) -> Option<&Arc<Volume>> {
        self.volumes.get(&id)
    }

    /// A volume by name.
    pub fn volume_named(&self, namespace: &Name, name: &Name) -> Option<&Arc<Volume>> {
        self.volume_names.get(&(namespace.clone(), name.clone())).and_then(|id| self.volumes.get(id))
    }

    /// Volumes of a namespace by name.
    pub fn volumes_in(&self, namespace: &Name) -> impl Iterator<Item = &Arc<Volume>> {
        of_namespace(&self.volume_names, namespace).filter_map(|id| self.volumes.get(id))
    }

    /// All volumes by id.
    pub fn volumes(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.volumes.values()
    }

    /// The volumes a specification mounts by name, with the mount; None in the place of one that is not there.
    pub fn mounted<'a>(
        &'a self,
        spec: &'a DeploymentSpec,
    ) -> impl Iterator<Item = (&'a ring_types::Volume, Option<&'a Arc<Volume>>)> {
        spec.named_volumes().map(|(mount, name)| (mount, self.volume_named(&spec.namespace, &name)))
    }

    /// Deployments that mount a volume: those that are not being deleted, and those of which something may still run.
    pub fn users_of<'a>(&'a self, volume: &'a Volume) -> impl Iterator<Item = &'a Arc<Deployment>> {
        self.deployments_in(&volume.namespace).filter(move |deployment| {
            let mounts = deployment.spec.named_volumes().any(|(_, name)| name == volume.name);
            mounts && (!deployment.deleting || self.instances_of(deployment.id).any(|i| i.state.is_live()))
        })
    }

    /// An account.
    pub fn user(&self, id: UserId) -> Option<&Arc<Account>> {
        self.users.get(&id)
    }

    /// An account by login name.
    pub fn user_named(&self, name: &Name) -> Option<&Arc<Account>> {
        self.user_names.get(name).and_then(|id| self.users.get(id))
    }

    /// All accounts by id.
    pub fn users(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.users.values()
    }

    /// A token.
    pub fn token(&self, id: TokenId) -> Option<&Arc<ApiToken>> {
        self.tokens.get(&id)
    }

    /// The token of a hash; whether it is expired is for the caller to say.
    pub fn token_hashed(&self, hash: &[u8; 32]) -> Option<&Arc<ApiToken>> {
        self.token_hashes.get(hash).and_then(|id| self.tokens.get(id))
    }

    /// Tokens of an account by id.
    pub fn tokens_of(&self, user: UserId) -> impl Iterator<Item = &Arc<ApiToken>> {
        let id = |bytes| TokenId(uuid_from(bytes));
        let range = (user, id(0))..=(user, id(u128::MAX));
        self.user_tokens.range(range).filter_map(|(_, id)| self.tokens.get(id))
    }

    /// All tokens by id.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<ApiToken>> {
        self.tokens.values()
    }

    /// A join token.
    pub fn join_token(&self, id: JoinTokenId) -> Option<&Arc<JoinToken>> {
        self.join_tokens.get(&id)
    }

    /// All join tokens by id.
    pub fn join_tokens(&self) -> impl Iterator<Item = &Arc<JoinToken>> {
        self.join_tokens.values()
    }

    /// A control node.
    pub fn member(&self, id: MemberId) -> Option<&Arc<Member>> {
        self.members.get(&id)
    }

    /// All control nodes by id, removed ones too.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// Events of a deployment, oldest first.
    pub fn events(&self, deployment: DeploymentId) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.range((deployment, 0)..=(deployment, u64::MAX)).map(|(_, event)| event)
    }

    /// The audit record, oldest first.
    pub fn audit(&self) -> impl DoubleEndedIterator<Item = &Arc<AuditEntry>> {
        self.audit.values()
    }

    /// Lines of the audit record that came after an entry, oldest first.
    pub fn audit_after(&self, revision: Revision) -> impl Iterator<Item = &Arc<AuditEntry>> {
        self.audit.range((Revision(revision.0.saturating_add(1)), 0)..).map(|(_, entry)| entry)
    }

    /// What a request was answered.
    pub fn past_request(&self, id: RequestId) -> Option<&Arc<PastRequest>> {
        self.request_ids.get(&id).and_then(|revision| self.requests.get(revision))
    }
}

/// What an index by name has of one namespace.
fn of_namespace<'a, T>(names: &'a OrdMap<(Name, Name), T>, namespace: &Name) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let wanted = namespace.clone();
    let entries = names.range((namespace.clone(), Name::least())..);
    entries.take_while(move |((ns, _), _)| *ns == wanted).map(|(_, id)| id)
}

pub(crate) fn uuid_from(bytes: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(bytes)
}
