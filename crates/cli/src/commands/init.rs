//! `ring init`

use clap::Args;
use ring_types::RuntimeKind;

use super::doctor;
use crate::config::{create_secret_key, read_secret_key};
use crate::context::Context;
use crate::error::CliError;
use crate::host::HostChecks;
use crate::output::Reply;

/// `ring init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The runtime this host is meant for: docker, podman, cloud-hypervisor or process
    #[arg(long, default_value = "docker")]
    runtime: RuntimeKind,
    /// Port of the REST interface
    #[arg(long, default_value_t = ring_api::API_PORT)]
    port: u16,
    /// Overwrite the configuration; the secret key is kept
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, host: Option<&dyn HostChecks>, args: &InitArgs) -> Result<Reply, CliError> {
    let path = &context.paths.config_file;
    if path.exists() && !args.force {
        return Err(CliError::Exists(path.clone()));
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| CliError::Write { path: parent.to_owned(), source })?;
    }
    std::fs::write(path, contents(args)).map_err(|source| CliError::Write { path: path.clone(), source })?;
    let key = context.paths.secret_key();
    let key_line = if read_secret_key(&key)?.is_some() {
        format!("secret key kept: {}", key.display())
    } else {
        create_secret_key(&key)?;
        format!("secret key written: {} (keep a copy: secrets cannot be read without it)", key.display())
    };
    let fresh = Context::load(context.globals.clone())?;
    let checks = doctor::checks(&fresh, host).await;
    Ok(Reply::default()
        .note(format!("configuration written: {}", path.display()))
        .note(key_line)
        .note(doctor::told(&checks))
        .note("next: ring server start"))
}

fn contents(args: &InitArgs) -> String {
    let enabled = |kind| args.runtime == kind;
    format!(
        r#"# Configuration of ring.

[contexts.default]
current = true
# Control nodes, comma separated; the next one is asked when one is down.
host = "127.0.0.1"
api.scheme = "http"
api.port = {port}

[server.runtime.docker]
enabled = {docker}
# host = "unix:///var/run/docker.sock"

[server.runtime.podman]
enabled = {podman}

[server.runtime.cloud_hypervisor]
enabled = {hypervisor}
# kernel_path = "/var/lib/ring/vmlinux"
"#,
        port = args.port,
        docker = enabled(RuntimeKind::Docker),
        podman = enabled(RuntimeKind::Podman),
        hypervisor = enabled(RuntimeKind::CloudHypervisor),
    )
}
