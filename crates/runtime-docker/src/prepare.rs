//! Making a container: its image, its network, its volumes and files, and then itself.

use bollard::errors::Error;
use bollard::query_parameters::CreateContainerOptions;
use ring_runtime::registry::login;
use ring_runtime::{Prepared, RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{DeploymentSpec, NetworkMode, StartFailure};
use tokio::join;

use crate::client::{status, told};
use crate::config::Engine;
use crate::create;
use crate::driver::{Containers, FILES};
use crate::image::{self, Wanted};
use crate::{marks, mounts, network};

/// Makes the container of a workload unless it is there.
pub(crate) async fn prepare(containers: &Containers, workload: &Workload) -> Result<Prepared, RuntimeError> {
    let (config, spec) = (&containers.config, &*workload.spec);
    let mounts = mounts::mounts(workload, &files(containers, workload)?)?;
    let client = &containers.client;
    // None of these changes anything, so they are asked at the same time.
    let (there, here, network_there) =
        join!(containers.inspect(workload.instance), image::here(client, &spec.image), has_network(containers, spec));
    if let Some(there) = there? {
        return Ok(Prepared { image_digest: there.image });
    }
    if config.engine == Engine::Podman && containers.is_local() {
        mounts::missing_here(workload, &host(containers)).map_or(Ok(()), |message| Err(no_path(message)))?;
    }
    let registry = image::registry_of(&spec.image);
    let login = login(workload, registry, config.engine.client(), config.logins.as_deref()).await?;
    let wanted = Wanted { image: spec.image.clone(), policy: spec.config.image_pull_policy, login };
    let here = here?;
    // A network that is in no use may be cleared away meanwhile.
    let fetched = wanted.is_fetched(here.as_ref());
    let image_digest = image::ensure(client, &containers.pulls, wanted, here).await?;
    if !network_there? || fetched {
        let _one_at_a_time = containers.networks.lock().await;
        network::ensure(client, &marks::network_name(&spec.namespace)).await?;
    }
    mounts::ensure_volumes(client, workload).await?;
    containers.files.write(workload.instance, &workload.files).await?;
    let made = make(containers, workload, create::container(workload, config.node, mounts)).await;
    if matches!(&made, Err(error) if !error.retryable()) {
        containers.files.remove(workload.instance).await?;
    }
    made.map(|()| Prepared { image_digest })
}

/// Is the network there that the workload is to be in?
async fn has_network(containers: &Containers, spec: &DeploymentSpec) -> Result<bool, RuntimeError> {
    match spec.network {
        NetworkMode::Bridge => network::is_one(&containers.client, &marks::network_name(&spec.namespace)).await,
        NetworkMode::Host => Ok(true),
    }
}

/// An engine elsewhere sees other files than this host's.
fn files(containers: &Containers, workload: &Workload) -> Result<Vec<std::path::PathBuf>, RuntimeError> {
    if !workload.files.is_empty() && !containers.is_local() {
        let message = "configs and secrets can be mounted only where the engine runs on the agent's own host";
        return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), message));
    }
    containers.files.paths(workload.instance, workload.files.len())
}

async fn make(
    containers: &Containers,
    workload: &Workload,
    body: bollard::models::ContainerCreateBody,
) -> Result<(), RuntimeError> {
    let options = CreateContainerOptions { name: Some(marks::container_name(workload)), ..CreateContainerOptions::default() };
    let client = &containers.client;
    let asked = client.ask_within(FILES, |docker| async move { docker.create_container(Some(options), body).await });
    match asked.await? {
        Ok(made) => {
            containers.made(workload.instance, made.id);
            Ok(())
        }
        Err(error) if status(&error) == Some(409) => adopt(containers, workload, &error).await,
        Err(error) => Err(refused(containers, workload, &error)),
    }
}

/// The name is taken. By the container of this very instance, when an earlier answer was lost: then that is it.
async fn adopt(containers: &Containers, workload: &Workload, conflict: &Error) -> Result<(), RuntimeError> {
    let name = marks::container_name(workload);
    let asked = containers.client.ask(|docker| async move { docker.inspect_container(&name, None).await }).await?;
    let there = asked.map_err(|error| containers.failed("the container of that name", &error))?;
    let labels = there.config.and_then(|config| config.labels).unwrap_or_default();
    match (marks::instance(&labels), there.id) {
        (Some(instance), Some(id)) if instance == workload.instance => {
            containers.remember(workload.instance, id);
            Ok(())
        }
        _ => {
            let kind = RuntimeErrorKind::Start(StartFailure::Create);
            Err(containers.client.error(kind, "the container's name is taken", conflict))
        }
    }
}

fn refused(containers: &Containers, workload: &Workload, error: &Error) -> RuntimeError {
    if let Some(message) = mounts::missing_path(workload, &told(error), &host(containers)) {
        return no_path(message);
    }
    let kind = RuntimeErrorKind::Start(create::cause(&told(error)));
    containers.client.error(kind, "the engine did not make the container", error)
}

fn no_path(message: String) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Start(StartFailure::FileSystem), message)
}

/// What the host of the engine is called.
fn host(containers: &Containers) -> String {
    if containers.is_local() {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    containers.config.address()
}
