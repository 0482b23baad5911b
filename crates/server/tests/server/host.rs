//! A host with a real agent and a scripted runtime.

use std::path::Path;
use std::sync::Arc;

use ring_agent::{Agent, AgentConfig, AgentTiming};
use ring_runtime::{FakeRuntime, Runtime};
use ring_server::JoinRole;
use ring_server::node::{AgentHost, join};
use ring_types::{InstanceId, RuntimeKind};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{Api, Control, join_options};

pub(crate) struct Host {
    dir: TempDir,
    pub(crate) runtime: FakeRuntime,
    pub(crate) stop: CancellationToken,
}

impl Host {
    pub(crate) async fn join(name: &str, control: &Control) -> Self {
        Self::join_with(name, control, RuntimeKind::Process).await
    }

    pub(crate) async fn join_with(name: &str, control: &Control, kind: RuntimeKind) -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap(), runtime: FakeRuntime::new(kind), stop: CancellationToken::new() };
        let options = join_options(host.dir.path(), &control.token(JoinRole::Agent), JoinRole::Agent, name, &[control.cluster]);
        join(&options).await.unwrap();
        host.start(vec![control.cluster.to_string()]);
        host
    }

    /// Everything the host keeps.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn start(&self, control_addresses: Vec<String>) {
        let host = AgentHost::load(self.dir.path(), &[], self.stop.clone()).unwrap();
        std::fs::create_dir_all(&host.data_dir).unwrap();
        let config = AgentConfig {
            data_dir: host.data_dir,
            node: host.node,
            control_addresses,
            connector: host.connector,
            runtimes: vec![Arc::new(self.runtime.clone()) as Arc<dyn Runtime>],
            labels: host.labels,
            address: host.address,
            capacity: None,
            drain_on_stop: None,
            timing: AgentTiming::default(),
        };
        tokio::spawn(Agent::new(config).run(self.stop.clone().cancelled_owned()));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn deployment(api: &Api, name: &str) -> Value {
    api.get(&format!("/deployments?name={name}")).await.expect(200)[0].clone()
}

pub(crate) fn instance(deployment: &Value) -> InstanceId {
    deployment["instances"][0]["id"].as_str().unwrap().parse().unwrap()
}
