//! What the driver needs to know.

use std::path::PathBuf;

use ring_runtime::registry::HostClient;
use ring_types::{NodeId, RuntimeKind};

/// Which engine is on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Docker, from 20.10 on.
    #[default]
    Docker,
    /// Podman, through its Docker-compatible API.
    Podman,
}

impl Engine {
    pub(crate) const fn kind(self) -> RuntimeKind {
        match self {
            Self::Docker => RuntimeKind::Docker,
            Self::Podman => RuntimeKind::Podman,
        }
    }

    /// Whose logins are the host's own.
    pub(crate) const fn client(self) -> HostClient {
        match self {
            Self::Docker => HostClient::Docker,
            Self::Podman => HostClient::Podman,
        }
    }

    /// Where it listens when nothing else is said.
    const fn socket(self) -> &'static str {
        match self {
            Self::Docker => "unix:///var/run/docker.sock",
            Self::Podman => "unix:///run/podman/podman.sock",
        }
    }
}

/// Where the engine is, and whose containers are ours.
#[derive(Clone, Debug, Default)]
pub struct DockerConfig {
    /// `unix:///path`, `/path`, `tcp://host:port` or `http://host:port`. None means the usual socket of the engine.
    pub host: Option<String>,
    /// Which engine.
    pub engine: Engine,
    /// The node this agent is. Containers get it as a label, and only those with it are ours; without it every container that
    /// ring made is, which is right as long as no other agent uses this engine.
    pub node: Option<NodeId>,
    /// Where configs and secrets are kept for instances, on a file system in memory that the engine sees under the same path.
    /// None: `/run/ring-files`, or the user's own place for such things.
    pub files: Option<PathBuf>,
    /// Configuration of the client that logged in to registries on this host. None: the usual place of the engine's client.
    pub logins: Option<PathBuf>,
}

impl DockerConfig {
    /// The address with its scheme.
    pub(crate) fn address(&self) -> String {
        match self.host.as_deref() {
            None | Some("") => self.engine.socket().to_owned(),
            Some(path) if path.starts_with('/') => format!("unix://{path}"),
            Some(host) => host.to_owned(),
        }
    }

    /// Does the engine run on this host? Only then does the host's boot say something about its containers.
    pub(crate) fn is_local(&self) -> bool {
        self.address().starts_with("unix://")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme() {
        let address = |host: Option<&str>| DockerConfig { host: host.map(str::to_owned), ..DockerConfig::default() }.address();
        assert_eq!(address(None), "unix:///var/run/docker.sock");
        assert_eq!(address(Some("/x/docker.sock")), "unix:///x/docker.sock");
        assert_eq!(address(Some("tcp://10.0.0.1:2375")), "tcp://10.0.0.1:2375");
        let podman = DockerConfig { engine: Engine::Podman, ..DockerConfig::default() };
        assert_eq!(podman.address(), "unix:///run/podman/podman.sock");
    }
}
