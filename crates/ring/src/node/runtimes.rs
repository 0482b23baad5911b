//! What can run instances on this host.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use ring_cli::NodeSettings;
use ring_cli::config::DockerSection;
use ring_runtime::Runtime;
use ring_runtime_docker::{DockerConfig, DockerRuntime, Engine};
use ring_runtime_process::{ProcessConfig, ProcessRuntime};
use ring_runtime_vm::VmRuntime;
use ring_server::node::AgentHost;

use super::micro_vms;

/// The program itself, whatever became of its file since it was started.
const SELF: &str = "/proc/self/exe";

/// The runtimes of a host: the built-in one always, the engines that are switched on or found.
pub(super) async fn all(settings: &NodeSettings, host: &AgentHost) -> anyhow::Result<Vec<Arc<dyn Runtime>>> {
    let shim_command = vec![SELF.into(), super::SHIM.into()];
    let process = ProcessConfig { root: host.data_dir.join("process"), shim_command };
    let process = ProcessRuntime::open(process).await.map_err(|e| anyhow::anyhow!("{}", e.message));
    let mut found: Vec<Arc<dyn Runtime>> = vec![Arc::new(process.context("the built-in runtime does not open")?)];
    let section = &settings.config.server.runtime;
    for (engine, section) in [(Engine::Docker, &section.docker), (Engine::Podman, &section.podman)] {
        if wanted(engine, section) {
            let config = DockerConfig { host: section.host.clone(), engine, node: Some(host.node), ..DockerConfig::default() };
            found.push(Arc::new(DockerRuntime::new(config)));
        }
    }
    if let Some(mut config) = micro_vms::config(section, &host.data_dir)? {
        config.keeper_command = vec![SELF.into(), super::VM_KEEPER.into()];
        let runtime = VmRuntime::new(config).await.map_err(|e| anyhow::anyhow!("{}", e.message));
        found.push(Arc::new(runtime.context("the runtime of micro-VMs does not open")?));
    }
    Ok(found)
}

/// When nothing is said about an engine, it is used where its socket is.
fn wanted(engine: Engine, section: &DockerSection) -> bool {
    let socket = match engine {
        Engine::Docker => "/var/run/docker.sock",
        Engine::Podman => "/run/podman/podman.sock",
    };
    section.enabled.unwrap_or_else(|| section.host.is_some() || Path::new(socket).exists())
}
