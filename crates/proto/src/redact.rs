//! `Debug` of the messages that carry something in the clear: it says that it is there, not what it is.

use std::fmt;

use crate::agent::v1::{ClaimResult, MountedFile, RegistryLogin};
use crate::cluster::v1::{JoinReply, JoinRequest};

/// Stands for what is not shown.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl fmt::Debug for ClaimResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimResult")
            .field("instance_id", &self.instance_id)
            .field("granted", &self.granted)
            .field("secret_environment", &self.secret_environment.keys().map(|name| (name, Hidden)).collect::<Vec<_>>())
            .field("config_error", &self.config_error)
            .field("files", &self.files)
            .field("registry", &self.registry)
            .field("exports", &self.exports)
            .finish()
    }
}

impl fmt::Debug for MountedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedFile")
            .field("destination", &self.destination)
            .field("content", &Hidden)
            .field("secret", &self.secret)
            .finish()
    }
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin")
            .field("server", &self.server)
            .field("username", &self.username)
            .field("password", &Hidden)
            .finish()
    }
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("token_id", &self.token_id)
            .field("token_secret", &Hidden)
            .field("role", &self.role)
            .field("name", &self.name)
            .field("node_id", &self.node_id)
            .field("address", &self.address)
            .field("api_address", &self.api_address)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinReply")
            .field("cluster_id", &self.cluster_id)
            .field("node_id", &self.node_id)
            .field("node_name", &self.node_name)
            .field("member_id", &self.member_id)
            .field("secret_key", &Hidden)
            .field("control_addresses", &self.control_addresses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let claim = ClaimResult { secret_environment: [("KEY".to_owned(), "hunter2".to_owned())].into(), ..Default::default() };
        let claim = ClaimResult {
            files: vec![MountedFile { content: b"hunter2".to_vec(), secret: true, ..Default::default() }],
            registry: Some(RegistryLogin { password: "hunter2".to_owned(), ..Default::default() }),
            ..claim
        };
        let request = JoinRequest { token_secret: "hunter2".to_owned(), ..Default::default() };
        let reply = JoinReply { secret_key: b"hunter2".to_vec(), ..Default::default() };
        assert!(format!("{claim:?}").contains("KEY"));
        for shown in [format!("{claim:?}"), format!("{request:?}"), format!("{reply:?}")] {
            assert!(shown.contains("<hidden>"), "{shown}");
            assert!(!shown.contains("hunter2") && !shown.contains("104, 117, 110"), "{shown}");
        }
    }
}
