//! Control nodes in this process, and requests to them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use ring_api::errors::ErrorCode;
use ring_server::JoinRole;
use ring_server::node::{ControlNode, FirstWords, InitOptions, JoinOptions, Settings, StartOptions, init, join};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "first password";
const PATIENCE: Duration = Duration::from_secs(30);

/// A control node that runs in this process.
pub(crate) struct Control {
    pub(crate) dir: TempDir,
    pub(crate) api: SocketAddr,
    pub(crate) cluster: SocketAddr,
    pub(crate) words: Option<FirstWords>,
    /// Its store, for what the API does not do.
    pub(crate) store: ring_store::Store,
    login: String,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ring_server::node::NodeError>>,
}

/// An address nobody listens on, and nobody else is given while this process lives.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ring_testkit::ports::free_one().unwrap())
}

impl Control {
    /// A cluster of one that runs no work.
    pub(crate) async fn first() -> Self {
        Self::first_with(Settings::default()).await
    }

    pub(crate) async fn first_with(settings: Settings) -> Self {
        Self::try_first(settings).await.unwrap()
    }

    /// The same, or why there is none.
    pub(crate) async fn try_first(settings: Settings) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let (cluster, api) = (free_address(), free_address());
        let options = InitOptions {
            data_dir: dir.path().to_owned(),
            name: Some("c1".into()),
            advertise: cluster,
            api_listen: Some(api),
            labels: BTreeMap::new(),
            with_agent: false,
            admin_password: Some(PASSWORD.to_owned().into()),
            prepared_key: None,
            settings,
        };
        let (node, words) = init(options).await.map_err(|error| error.to_string())?;
        Ok(Self::run(dir, node, cluster, Some(words)))
    }

    /// A control node that joins with `token`.
    pub(crate) async fn joined(name: &str, token: &str, members: &[SocketAddr]) -> Self {
        Self::joined_with(name, token, members, Settings::default()).await
    }

    pub(crate) async fn joined_with(name: &str, token: &str, members: &[SocketAddr], settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cluster, api) = (free_address(), free_address());
        let options = JoinOptions {
            advertise: Some(cluster),
            api_listen: Some(api),
            ..join_options(dir.path(), token, JoinRole::Control, name, members)
        };
        join(&options).await.unwrap();
        let node = ControlNode::start(StartOptions { settings, ..start_options(dir.path()) }).await.unwrap();
        Self::run(dir, node, cluster, None)
    }

    fn run(dir: TempDir, node: ControlNode, cluster: SocketAddr, words: Option<FirstWords>) -> Self {
        let (api, login, stop) = (node.api_address(), node.api_words().login.clone(), CancellationToken::new());
        let store = node.store().clone();
        let running = tokio::spawn(node.run(stop.clone().cancelled_owned()));
        Self { dir, api, cluster, words, store, login, stop, running }
    }

    /// What it says to type to log in.
    pub(crate) fn words_of_api(&self) -> &str {
        &self.login
    }

    /// Stops it in good order; its directory stays.
    pub(crate) async fn stop(self) -> (TempDir, SocketAddr) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        (self.dir, self.cluster)
    }

    /// Starts it again from its directory.
    pub(crate) async fn again((dir, cluster): (TempDir, SocketAddr)) -> Self {
        let node = ControlNode::start(start_options(dir.path())).await.unwrap();
        Self::run(dir, node, cluster, None)
    }

    /// The token of a join command that was printed.
    pub(crate) fn token(&self, role: JoinRole) -> String {
        let words = self.words.as_ref().unwrap();
        let command = if role == JoinRole::Control { &words.join_control } else { &words.join_agent };
        command.rsplit(' ').next().unwrap().to_owned()
    }

    pub(crate) async fn ready(&self) {
        eventually("ready", async || self.anonymous().get("/readyz").await.status == 200).await;
    }

    pub(crate) fn anonymous(&self) -> Api {
        Api { base: format!("http://{}", self.api), token: None, http: http() }
    }

    /// Logged in as `admin`.
    pub(crate) async fn admin(&self) -> Api {
        self.ready().await;
        self.anonymous().login("admin", PASSWORD).await
    }
}

fn http() -> reqwest::Client {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

pub(crate) fn join_options(dir: &Path, token: &str, role: JoinRole, name: &str, members: &[SocketAddr]) -> JoinOptions {
    JoinOptions {
        data_dir: dir.to_owned(),
        addresses: members.iter().map(ToString::to_string).collect(),
        token: token.to_owned(),
        role,
        name: Some(name.to_owned()),
        advertise: None,
        api_listen: None,
        labels: BTreeMap::new(),
        with_agent: false,
    }
}

pub(crate) fn start_options(dir: &Path) -> StartOptions {
    StartOptions {
        data_dir: dir.to_owned(),
        advertise: None,
        control_nodes: Vec::new(),
        api_listen: None,
        settings: Settings::default(),
    }
}

/// Asks until it is so, with a deadline.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// A caller of the API.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The answer, which has to have that status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Api {
    pub(crate) async fn login(&self, username: &str, password: &str) -> Self {
        let body = json!({ "username": username, "password": password });
        let reply = self.post("/login", &body).await.expect(200);
        self.with_token(reply["token"].as_str().unwrap())
    }

    /// The client of the command line, with the same token.
    pub(crate) fn client(&self) -> ring_api::client::Client {
        let hosts = ring_api::client::Hosts::parse(&self.base, "http", 0).unwrap();
        ring_api::client::Client::new(hosts, self.token.clone(), ring_api::client::Patience::default()).unwrap()
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Answer {
        Self::answer(self.request(method, path, body, headers).send().await.unwrap()).await
    }

    /// As [`Self::send`], of what may stream: a stream is left at its beginning.
    pub(crate) async fn begin(&self, method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Answer {
        let response = self.request(method, path, body, headers).send().await.unwrap();
        if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
            return Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: Value::Null };
        }
        Self::answer(response).await
    }

    /// A stream that has begun.
    pub(crate) async fn open(&self, path: &str) -> reqwest::Response {
        let response = self.request(Method::GET, path, None, &[]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response
    }

    async fn answer(response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_client_error() || status.is_server_error() {
            assert_problem(status, &headers, &body);
        }
        Answer { status: status.as_u16(), headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, &[]).await
    }

    /// The body of a stream, until its end.
    pub(crate) async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token.as_deref().unwrap());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().text().await.unwrap()
    }
}

/// Every failure has the same form, health checks aside.
fn assert_problem(status: StatusCode, headers: &reqwest::header::HeaderMap, body: &Value) {
    if body.get("node").is_some() {
        return;
    }
    assert_eq!(headers["content-type"], "application/problem+json", "{body}");
    assert_eq!(body["status"], status.as_u16(), "{body}");
    let code = body["code"].as_str().unwrap_or_default();
    assert_eq!(ErrorCode::named(code).map(ErrorCode::status), Some(status.as_u16()), "{body}");
    assert_eq!(body["type"], format!("/errors/{code}"), "{body}");
}

/// A manifest of one job for the process runtime.
pub(crate) fn job(namespace: &str, name: &str) -> Value {
    json!({ "deployments": { name: {
        "name": name, "namespace": namespace, "runtime": "process", "kind": "job", "command": ["true"],
    } } })
}
