//! A control node with something of every kind in two namespaces, and calls of each of its routes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Method;
use ring_server::node::CallerLimits;
use ring_state::{ApiToken, Command, EnrolNode, Reply, Role};
use ring_types::{MemberId, Name, NodeId, RequestId, Revision, Timestamp, TokenId, UserId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::expected::Who;
use crate::limits::with_callers;
use crate::support::{Answer, Api, Control, job};

/// The namespace calls are about, and the other one.
pub(super) const HERE: &str = "here";
pub(super) const ELSEWHERE: &str = "elsewhere";

/// Headers of a WebSocket's request.
const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

/// A route, as the description of the API has it.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) permission: String,
    /// It can be asked to go on for ever.
    pub(super) follows: bool,
}

impl Route {
    /// The queries it is called with.
    pub(super) fn queries(&self) -> Vec<&'static str> {
        match self.path.as_str() {
            "/deployments/{id}/exec" => vec!["?command=true"],
            _ if self.follows => vec!["", "?follow=true"],
            _ => vec![""],
        }
    }

    fn kind(&self) -> &str {
        let mut parts = self.path.split('/').skip(1);
        match (parts.next(), parts.next()) {
            (Some("cluster"), Some(kind)) => kind,
            (Some(kind), _) => kind,
            _ => "",
        }
    }
}

/// The control node, and what is there.
pub(super) struct World {
    pub(super) control: Control,
    pub(super) admin: Api,
    /// What stays, by its kind: of those in a namespace what is in [`HERE`].
    standing: BTreeMap<&'static str, String>,
    made: AtomicU32,
}

impl World {
    pub(super) async fn start() -> Self {
        // It is called from one address as fast as it answers.
        let callers = CallerLimits { requests_per_second: 0, anonymous_per_second: 0, ..CallerLimits::default() };
        let control = Control::first_with(with_callers(callers)).await;
        let admin = control.admin().await;
        let mut world = Self { control, admin, standing: BTreeMap::new(), made: AtomicU32::new(0) };
        for kind in ["deployments", "secrets", "configs", "volumes", "users", "nodes"] {
            let id = world.make(kind, HERE, "standing").await.unwrap();
            world.standing.insert(kind, id);
        }
        for kind in ["deployments", "secrets", "configs", "volumes"] {
            world.make(kind, ELSEWHERE, "standing").await;
        }
        let webhook = json!({ "url": "http://192.0.2.1/", "events": ["cluster.leader_changed"] });
        let webhook = world.admin.post("/webhooks", &webhook).await.expect(200);
        world.standing.insert("webhooks", webhook["id"].as_str().unwrap().to_owned());
        world
    }

    async fn commit(&self, command: Command) -> Reply {
        let done = self.control.store.propose(RequestId::NONE, command).await.unwrap();
        assert!(!matches!(done.reply, Reply::Refused(_)), "{:?}", done.reply);
        done.reply
    }

    /// A new account of a role, which nobody can log in as.
    pub(super) async fn user(&self, name: &str, role: Role) -> UserId {
        let id = UserId(Uuid::new_v4());
        let username = Name::new(name).unwrap();
        self.commit(Command::CreateUser { id, username, password_hash: "none".to_owned(), role }).await;
        id
    }

    /// A token of an account, also of such accounts as may make none themselves.
    pub(super) async fn token(&self, user: UserId, who: &Who, expires_at: Option<Timestamp>) -> (TokenId, Api) {
        let clear = Uuid::new_v4().to_string();
        let id = TokenId(Uuid::new_v4());
        let session = who.scopes.is_empty();
        let token = ApiToken {
            id,
            user,
            name: if session { String::new() } else { format!("t{}", self.number()) },
            hash: Sha256::digest(clear.as_bytes()).into(),
            scopes: who.scopes.clone(),
            namespaces: who.namespaces.iter().map(|name| Name::new(name).unwrap()).collect(),
            created_at: Timestamp(0),
            expires_at,
            last_used_at: None,
            version: Revision(0),
        };
        self.commit(Command::CreateToken(token)).await;
        (id, self.control.anonymous().with_token(&clear))
    }

    fn number(&self) -> u32 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes an object; None where this does not know how.
    async fn make(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let post =
            async |path: &str, body: Value| self.admin.post(path, &body).await.expect(200)["id"].as_str().map(str::to_owned);
        match kind {
            "deployments" => {
                let applied = self.admin.post("/deployments", &job(namespace, name)).await.expect(200);
                applied["deployments"][0]["id"].as_str().map(str::to_owned)
            }
            "secrets" => post("/secrets", json!({ "namespace": namespace, "name": name, "value": "v" })).await,
            "configs" => post("/configs", json!({ "namespace": namespace, "name": name, "data": { "k": "v" } })).await,
            "volumes" => post("/volumes", json!({ "namespace": namespace, "name": name })).await,
            "users" => Some(self.user(name, Role::Viewer).await.to_string()),
            // Of the route `/cluster/tokens` and of `/tokens`: each is looked for in its own list.
            "tokens" => None,
            "nodes" => {
                let node = NodeId(Uuid::new_v4());
                let (name, member) = (Name::new(name).unwrap(), Some(MemberId(1)));
                self.commit(Command::EnrolNode(EnrolNode { token: None, node, name, member, labels: Default::default() })).await;
                Some(node.to_string())
            }
            _ => None,
        }
    }

    /// What stands for the parameter of a path: something that may go when the call is to succeed, else what stands.
    async fn parameter(&self, route: &Route, through: bool) -> String {
        let kind = route.kind();
        if route.path.contains("{name}") {
            return HERE.to_owned();
        }
        match kind {
            "errors" => return "auth.required".to_owned(),
            // Control node 99 is none: the only one there is has to stay.
            "members" => return "99".to_owned(),
            "tokens" if through => return self.new_token(&route.path).await,
            _ => {}
        }
        if through && route.method != "GET" {
            let name = format!("o{}", self.number());
            return self.make(kind, HERE, &name).await.unwrap_or_else(|| Uuid::nil().to_string());
        }
        // Nobody's id where there is none.
        self.standing.get(kind).cloned().unwrap_or_else(|| Uuid::nil().to_string())
    }

    async fn new_token(&self, path: &str) -> String {
        let made = if path.starts_with("/cluster") {
            self.admin.post("/cluster/tokens", &json!({ "role": "agent" })).await
        } else {
            self.admin.post("/tokens", &json!({ "name": format!("o{}", self.number()), "scopes": ["admin"] })).await
        };
        made.expect(200)["id"].as_str().unwrap().to_owned()
    }

    /// Every route of the description.
    pub(super) async fn routes(&self) -> Vec<Route> {
        let described = self.control.anonymous().get("/openapi.json").await.expect(200);
        let mut routes = Vec::new();
        for (path, item) in described["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                routes.push(Route {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    permission: operation["x-ring-permission"].as_str().unwrap().to_owned(),
                    follows: parameters.iter().any(|p| p["name"] == "follow"),
                });
            }
        }
        routes
    }

    /// Calls a route. `through`: it is expected to succeed, and gets an object of its own to change.
    pub(super) async fn call(&self, api: &Api, route: &Route, query: &str, through: bool) -> Answer {
        let mut path = route.path.clone();
        if let Some((before, rest)) = route.path.split_once('{') {
            let after = rest.split_once('}').unwrap().1;
            path = format!("{before}{}{after}", self.parameter(route, through).await);
        }
        let headers: &[(&str, &str)] = if route.path.ends_with("/exec") { &UPGRADE } else { &[] };
        let body = body(&route.method, &route.path);
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        api.begin(method, &format!("{path}{query}"), body.as_ref(), headers).await
    }

    /// All that is there, but for when tokens were used.
    pub(super) async fn everything(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for list in ["deployments", "secrets", "configs", "volumes", "namespaces", "users", "nodes", "cluster/tokens", "tokens"] {
            let mut listed = self.admin.get(&format!("/{list}")).await.expect(200);
            for token in listed.as_array_mut().into_iter().flatten().filter(|_| list == "tokens") {
                token["last_used_at"] = Value::Null;
                token["version"] = Value::Null;
            }
            found.push(listed);
        }
        found
    }
}

/// The body of a call: of such as change nothing where that can be, or are refused for what they say only after everything else.
fn body(method: &str, path: &str) -> Option<Value> {
    let named = |more: Value| {
        let mut body = json!({ "namespace": HERE, "name": "standing" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(body)
    };
    match (method, path) {
        ("GET" | "DELETE", _) => None,
        (_, "/deployments") => Some(job(HERE, "standing")),
        (_, "/secrets") => named(json!({ "value": "v" })),
        (_, "/configs" | "/configs/{id}") => named(json!({ "data": { "k": "v" } })),
        (_, "/volumes") => named(json!({})),
        (_, "/namespaces") => Some(json!({ "name": HERE })),
        (_, "/cluster/tokens") => Some(json!({ "role": "agent" })),
        _ => Some(json!({})),
    }
}
