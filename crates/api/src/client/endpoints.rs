//! One function an endpoint.

use reqwest::Method;
use ring_types::{ConfigId, DeploymentId, JoinTokenId, MemberId, NodeId, SecretId, TokenId, UserId, VolumeId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded::byte_serialize;

use super::send::Request;
use super::sse::Follow;
use super::{Client, ClientError};
use crate::LOGS_INCOMPLETE;
use crate::model::{
    ApplyReply, AuditEntry, Changed, ClusterStatus, Config, CreateJoinToken, CreateNamespace, CreateSecret, CreateToken,
    CreateUser, CreateVolume, Deployment, DeploymentEvent, DeploymentMetrics, Done, Health, HealthCheckResult, JoinToken,
    KeyRotation, LogGaps, LogItem, LogLine, LoginReply, LoginRequest, Member, Move, Namespace, Node, NodePatch, PlanReply, Prune,
    PruneReply, Rebalance, RebalanceRequest, Secret, Token, TransferLeader, UpdateUser, User, Volume,
};
use crate::query::{AuditQuery, DeploymentQuery, EventQuery, HealthCheckQuery, LogQuery};

type Reply<T> = Result<T, ClientError>;

fn segment(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn in_namespace(path: &str, namespace: Option<&str>) -> String {
    namespace.map_or_else(|| path.to_owned(), |name| format!("{path}?namespace={}", segment(name)))
}

impl Client {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Reply<T> {
        self.call(Request::new(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Reply<T> {
        self.call(Request::new(Method::POST, path).json(body)?).await
    }

    async fn delete<T: DeserializeOwned>(&self, path: &str) -> Reply<T> {
        self.call(Request::new(Method::DELETE, path)).await
    }

    /// Is a server there?
    pub async fn health(&self) -> Reply<Health> {
        self.get("/healthz").await
    }

    /// Trades a password for a token.
    pub async fn login(&self, login: &LoginRequest) -> Reply<LoginReply> {
        self.post("/login", login).await
    }

    /// Ends the session of the token in use.
    pub async fn logout(&self) -> Reply<serde_json::Value> {
        self.call(Request::new(Method::POST, "/logout")).await
    }

    /// Applies a manifest in its JSON form. `force` replaces where a rolling update would begin.
    pub async fn apply(&self, manifest: &serde_json::Value, force: bool) -> Reply<ApplyReply> {
        self.post(if force { "/deployments?force=true" } else { "/deployments" }, manifest).await
    }

    /// What applying a manifest would do; nothing is changed.
    pub async fn plan(&self, manifest: &serde_json::Value, force: bool) -> Reply<PlanReply> {
        let force = if force { "&force=true" } else { "" };
        self.post(&format!("/deployments?dry_run=true{force}"), manifest).await
    }

    /// Deployments.
    pub async fn deployments(&self, query: &DeploymentQuery) -> Reply<Vec<Deployment>> {
        self.get(&with_query("/deployments", &query.encode())).await
    }

    /// One deployment.
    pub async fn deployment(&self, id: DeploymentId) -> Reply<Deployment> {
        self.get(&format!("/deployments/{id}")).await
    }

    /// What the instances of a deployment use now.
    pub async fn deployment_metrics(&self, id: DeploymentId) -> Reply<DeploymentMetrics> {
        self.get(&format!("/deployments/{id}/metrics")).await
    }

    /// Deletes a deployment.
    pub async fn delete_deployment(&self, id: DeploymentId) -> Reply<Done> {
        self.delete(&format!("/deployments/{id}")).await
    }

    /// New instances of the same specification.
    pub async fn restart_deployment(&self, id: DeploymentId) -> Reply<ApplyReply> {
        self.call(Request::new(Method::POST, &format!("/deployments/{id}/restart"))).await
    }

    /// Back to the specification before.
    pub async fn rollback_deployment(&self, id: DeploymentId) -> Reply<ApplyReply> {
        self.call(Request::new(Method::POST, &format!("/deployments/{id}/rollback"))).await
    }

    /// What a deployment has written so far, and whose output could not be had.
    pub async fn logs(&self, id: DeploymentId, query: &LogQuery) -> Reply<(Vec<LogLine>, LogGaps)> {
        let query = LogQuery { follow: false, ..query.clone() };
        let path = with_query(&format!("/deployments/{id}/logs"), &query.encode());
        let (lines, headers) = self.call_with_headers(Request::new(Method::GET, &path)).await?;
        let gaps = headers.get(LOGS_INCOMPLETE).and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
        Ok((lines, gaps.unwrap_or_default()))
    }

    /// What a deployment has written and writes.
    pub fn follow_logs(&self, id: DeploymentId, query: &LogQuery) -> Follow<LogItem> {
        let query = LogQuery { follow: true, ..query.clone() };
        Follow::new(self.clone(), with_query(&format!("/deployments/{id}/logs"), &query.encode()))
    }

    /// Goes on with what another deployment of the same name writes, after the last line seen.
    pub fn follow_logs_on(&self, lines: &mut Follow<LogItem>, id: DeploymentId, query: &LogQuery) {
        let query = LogQuery { follow: true, ..query.clone() };
        lines.go_on_at(with_query(&format!("/deployments/{id}/logs"), &query.encode()));
    }

    /// What happened to a deployment, oldest first.
    pub async fn events(&self, id: DeploymentId, query: &EventQuery) -> Reply<Vec<DeploymentEvent>> {
        let query = EventQuery { follow: false, ..query.clone() };
        self.get(&with_query(&format!("/deployments/{id}/events"), &query.encode())).await
    }

    /// What happened and happens to a deployment.
    pub fn follow_events(&self, id: DeploymentId, query: &EventQuery) -> Follow<DeploymentEvent> {
        let query = EventQuery { follow: true, ..query.clone() };
        Follow::new(self.clone(), with_query(&format!("/deployments/{id}/events"), &query.encode()))
    }

    /// Who did what in a namespace, oldest first.
    pub async fn namespace_audit(&self, name: &str, query: &AuditQuery) -> Reply<Vec<AuditEntry>> {
        self.get(&with_query(&format!("/namespaces/{}/audit", segment(name)), &query.encode())).await
    }

    /// Who did what, in every namespace the caller may see and in the cluster, oldest first.
    pub async fn cluster_audit(&self, query: &AuditQuery) -> Reply<Vec<AuditEntry>> {
        self.get(&with_query("/cluster/audit", &query.encode())).await
    }

    /// What the health checks of a deployment found, the newest first.
    pub async fn health_checks(&self, id: DeploymentId, query: HealthCheckQuery) -> Reply<Vec<HealthCheckResult>> {
        self.get(&with_query(&format!("/deployments/{id}/health-checks"), &query.encode())).await
    }

    /// Hosts that run work.
    pub async fn nodes(&self) -> Reply<Vec<Node>> {
        self.get("/nodes").await
    }

    /// One node.
    pub async fn node(&self, id: NodeId) -> Reply<Node> {
        self.get(&format!("/nodes/{id}")).await
    }

    /// The node on the host of the answering server.
    pub async fn own_node(&self) -> Reply<Node> {
        self.get("/node/get").await
    }

    /// Changes a node.
    pub async fn patch_node(&self, id: NodeId, patch: &NodePatch) -> Reply<Changed<Node>> {
        self.call(Request::new(Method::PATCH, &format!("/nodes/{id}")).json(patch)?).await
    }

    /// The moves that would make the spread over the nodes even, and those under way.
    pub async fn planned_rebalance(&self) -> Reply<Rebalance> {
        self.get("/nodes/rebalance").await
    }

    /// The moves under way alone, which costs little.
    pub async fn moves_under_way(&self) -> Reply<Vec<Move>> {
        self.get::<Rebalance>("/nodes/rebalance?under_way=true").await.map(|found| found.under_way)
    }

    /// Moves instances until the spread over the nodes is even.
    pub async fn rebalance(&self, request: &RebalanceRequest) -> Reply<Rebalance> {
        self.call(Request::new(Method::POST, "/nodes/rebalance").json(request)?).await
    }

    /// Takes a node out of the cluster for good.
    pub async fn remove_node(&self, id: NodeId) -> Reply<Done> {
        self.delete(&format!("/nodes/{id}")).await
    }

    /// State of the cluster.
    pub async fn cluster(&self) -> Reply<ClusterStatus> {
        self.get("/cluster").await
    }

    /// Makes a new authority, which takes the place of the present one; with `force` ends the phase of a rotation under way.
    pub async fn rotate_authority(&self, force: bool) -> Reply<Done> {
        let path = if force { "/cluster/ca/rotate?force=true" } else { "/cluster/ca/rotate" };
        self.call(Request::new(Method::POST, path)).await
    }

    /// Control nodes.
    pub async fn members(&self) -> Reply<Vec<Member>> {
        self.get("/cluster/members").await
    }

    /// Gives a member a vote.
    pub async fn promote(&self, id: MemberId) -> Reply<Done> {
        self.call(Request::new(Method::POST, &format!("/cluster/members/{id}/promote"))).await
    }

    /// Takes a member out of the cluster.
    pub async fn remove_member(&self, id: MemberId) -> Reply<Done> {
        self.delete(&format!("/cluster/members/{id}")).await
    }

    /// Makes another member lead.
    pub async fn transfer_leader(&self, to: Option<MemberId>) -> Reply<serde_json::Value> {
        self.post("/cluster/transfer-leader", &TransferLeader { to }).await
    }

    /// Tokens that admit hosts.
    pub async fn join_tokens(&self) -> Reply<Vec<JoinToken>> {
        self.get("/cluster/tokens").await
    }

    /// Makes a token that admits hosts.
    pub async fn create_join_token(&self, token: &CreateJoinToken) -> Reply<Changed<JoinToken>> {
        self.post("/cluster/tokens", token).await
    }

    /// Takes a join token away.
    pub async fn revoke_join_token(&self, id: JoinTokenId) -> Reply<Done> {
        self.delete(&format!("/cluster/tokens/{id}")).await
    }

    /// Namespaces.
    pub async fn namespaces(&self) -> Reply<Vec<Namespace>> {
        self.get("/namespaces").await
    }

    /// Makes a namespace.
    pub async fn create_namespace(&self, name: &str) -> Reply<Changed<Namespace>> {
        self.post("/namespaces", &CreateNamespace { name: name.to_owned() }).await
    }

    /// Deletes a namespace.
    pub async fn delete_namespace(&self, name: &str) -> Reply<Done> {
        self.delete(&format!("/namespaces/{}", segment(name))).await
    }

    /// Deletes what is over in a namespace; everything with `all`.
    pub async fn prune(&self, name: &str, all: bool) -> Reply<PruneReply> {
        self.post(&format!("/namespaces/{}/prune", segment(name)), &Prune { all }).await
    }

    /// Secrets, without their values.
    pub async fn secrets(&self, namespace: Option<&str>) -> Reply<Vec<Secret>> {
        self.get(&in_namespace("/secrets", namespace)).await
    }

    /// Makes or replaces a secret.
    pub async fn create_secret(&self, secret: &CreateSecret) -> Reply<Changed<Secret>> {
        self.post("/secrets", secret).await
    }

    /// Makes a new data key; the leader seals every value anew with it.
    pub async fn rotate_key(&self) -> Reply<Changed<KeyRotation>> {
        self.call(Request::new(Method::POST, "/secrets/rotate-key")).await
    }

    /// How far the rotation of the data key is.
    pub async fn key_rotation(&self) -> Reply<KeyRotation> {
        self.get("/secrets/rotate-key").await
    }

    /// Deletes a secret; with `force` also one that is in use.
    pub async fn delete_secret(&self, id: SecretId, force: bool) -> Reply<Done> {
        let query = if force { "force=true" } else { "" };
        self.delete(&with_query(&format!("/secrets/{id}"), query)).await
    }

    /// Configs.
    pub async fn configs(&self, namespace: Option<&str>) -> Reply<Vec<Config>> {
        self.get(&in_namespace("/configs", namespace)).await
    }

    /// One config.
    pub async fn config(&self, id: ConfigId) -> Reply<Config> {
        self.get(&format!("/configs/{id}")).await
    }

    /// Deletes a config; with `force` also one that is in use.
    pub async fn delete_config(&self, id: ConfigId, force: bool) -> Reply<Done> {
        let query = if force { "force=true" } else { "" };
        self.delete(&with_query(&format!("/configs/{id}"), query)).await
    }

    /// Volumes.
    pub async fn volumes(&self, namespace: Option<&str>) -> Reply<Vec<Volume>> {
        self.get(&in_namespace("/volumes", namespace)).await
    }

    /// One volume.
    pub async fn volume(&self, id: VolumeId) -> Reply<Volume> {
        self.get(&format!("/volumes/{id}")).await
    }

    /// Makes a volume.
    pub async fn create_volume(&self, volume: &CreateVolume) -> Reply<Changed<Volume>> {
        self.post("/volumes", volume).await
    }

    /// Forgets a volume; with `force` also one that is in use. Its data stays where it is.
    pub async fn delete_volume(&self, id: VolumeId, force: bool) -> Reply<Done> {
        let query = if force { "force=true" } else { "" };
        self.delete(&with_query(&format!("/volumes/{id}"), query)).await
    }

    /// Accounts.
    pub async fn users(&self) -> Reply<Vec<User>> {
        self.get("/users").await
    }

    /// The account of the token in use.
    pub async fn me(&self) -> Reply<User> {
        self.get("/users/me").await
    }

    /// Makes an account.
    pub async fn create_user(&self, user: &CreateUser) -> Reply<Changed<User>> {
        self.post("/users", user).await
    }

    /// Changes an account.
    pub async fn update_user(&self, id: UserId, update: &UpdateUser) -> Reply<Changed<User>> {
        self.call(Request::new(Method::PUT, &format!("/users/{id}")).json(update)?).await
    }

    /// Deletes an account.
    pub async fn delete_user(&self, id: UserId) -> Reply<Done> {
        self.delete(&format!("/users/{id}")).await
    }

    /// API tokens, without their secrets.
    pub async fn tokens(&self) -> Reply<Vec<Token>> {
        self.get("/tokens").await
    }

    /// Makes an API token.
    pub async fn create_token(&self, token: &CreateToken) -> Reply<Changed<Token>> {
        self.post("/tokens", token).await
    }

    /// One API token, without its secret.
    pub async fn token(&self, id: TokenId) -> Reply<Token> {
        self.get(&format!("/tokens/{id}")).await
    }

    /// Gives an API token another secret, which the reply has.
    pub async fn rotate_token(&self, id: TokenId) -> Reply<Changed<Token>> {
        self.call(Request::new(Method::POST, &format!("/tokens/{id}/rotate"))).await
    }

    /// Takes an API token away.
    pub async fn revoke_token(&self, id: TokenId) -> Reply<Done> {
        self.delete(&format!("/tokens/{id}")).await
    }
}
