//! Getting an image onto the host.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{ImageConfig, PullPolicy, StartFailure};
use tokio::time::timeout;

use crate::client::{Client, status, told};

/// A registry that has not answered by then counts as out of reach when the image is on the host anyway.
const REACH: Duration = Duration::from_secs(10);

/// A pull that makes no progress for so long is given up.
const STALL: Duration = Duration::from_mins(5);

/// Makes sure that the image is there, as the policy says, and gives its digest.
pub(crate) async fn ensure(client: &Client, image: &str, config: &ImageConfig) -> Result<Option<String>, RuntimeError> {
    let here = inspect(client, image).await?;
    match (config.image_pull_policy, here) {
        (PullPolicy::IfNotPresent | PullPolicy::Never, Some(here)) => Ok(here.digest),
        (PullPolicy::Never, None) => {
            let message = format!("image '{image}' is not on this host, and its pull policy is Never");
            Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImageNotFound), message))
        }
        (PullPolicy::IfNotPresent | PullPolicy::Always, None) => {
            pull(client, image, config, STALL).await?;
            Ok(inspect(client, image).await?.and_then(|here| here.digest))
        }
        (PullPolicy::Always, Some(here)) => match pull(client, image, config, REACH).await {
            Ok(()) => Ok(inspect(client, image).await?.and_then(|here| here.digest)),
            Err(error) if matches!(error.kind, RuntimeErrorKind::Start(_)) => {
                tracing::warn!(image, %error, "the image was not fetched; the one on this host is used");
                Ok(here.digest)
            }
            Err(error) => Err(error),
        },
    }
}

/// An image of the host.
struct Here {
    digest: Option<String>,
}

async fn inspect(client: &Client, image: &str) -> Result<Option<Here>, RuntimeError> {
    match client.ask(|docker| async move { docker.inspect_image(image).await }).await? {
        Ok(found) => {
            let by_registry = found.repo_digests.unwrap_or_default();
            let digest = by_registry.iter().find_map(|digest| Some(digest.split_once('@')?.1.to_owned()));
            Ok(Some(Here { digest: digest.or(found.id) }))
        }
        Err(error) if status(&error) == Some(404) => Ok(None),
        // The engine found the reference itself unreadable: no registry can have it.
        Err(error) if status(&error) == Some(400) => Err(failed(client, image, StartFailure::ImageNotFound, &error)),
        Err(error) => Err(client.error(RuntimeErrorKind::Other, &format!("image '{image}'"), &error)),
    }
}

/// `patience` is for the first sign of life of the registry; after that the pull may take as long as it makes progress.
async fn pull(client: &Client, image: &str, config: &ImageConfig, patience: Duration) -> Result<(), RuntimeError> {
    let (name, tag) = split(image);
    let options = CreateImageOptions { from_image: Some(name), tag: Some(tag), ..CreateImageOptions::default() };
    let mut progress = client.docker().await?.create_image(Some(options), None, credentials(config)).boxed();
    let mut patience = patience;
    loop {
        match timeout(patience, progress.next()).await {
            Ok(Some(Ok(_))) => patience = STALL,
            Ok(Some(Err(error))) => return Err(failed(client, image, cause(&error), &error)),
            Ok(None) => return Ok(()),
            Err(_) => {
                let message = format!("image '{image}': no answer from its registry for {} seconds", patience.as_secs());
                return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message));
            }
        }
    }
}

/// Credentials for the registry. The one place where they come in: a name and password of the specification, a secret, or what
/// the host's own Docker client has. Without any the pull is anonymous.
fn credentials(config: &ImageConfig) -> Option<DockerCredentials> {
    if config.username.is_some() || config.image_pull_secret.is_some() || config.use_host_auth {
        tracing::warn!("registry credentials are not passed to this agent; the image is fetched without");
    }
    None
}

fn failed(client: &Client, image: &str, cause: StartFailure, error: &Error) -> RuntimeError {
    client.error(RuntimeErrorKind::Start(cause), &format!("image '{image}'"), error)
}

/// Does the registry say that there is no such image, or can it not be had just now?
fn cause(error: &Error) -> StartFailure {
    let message = told(error).to_ascii_lowercase();
    let absent = ["manifest unknown", "not found", "does not exist", "invalid reference format", "name unknown"];
    if status(error) == Some(404) || absent.iter().any(|words| message.contains(words)) && !message.contains("no such host") {
        StartFailure::ImageNotFound
    } else {
        StartFailure::ImagePull
    }
}

/// Name and tag or digest. Without either an engine would fetch every tag there is.
fn split(image: &str) -> (String, String) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name.to_owned(), digest.to_owned());
    }
    match image.rsplit_once(':') {
        // A colon before a slash is the port of a registry.
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        _ => (image.to_owned(), "latest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_name_and_a_tag_or_digest() {
        let cases = [
            ("busybox", ("busybox", "latest")),
            ("busybox:1.36", ("busybox", "1.36")),
            ("registry:5000/team/app", ("registry:5000/team/app", "latest")),
            ("registry:5000/team/app:v1", ("registry:5000/team/app", "v1")),
            ("app@sha256:abcd", ("app", "sha256:abcd")),
        ];
        for (image, (name, tag)) in cases {
            assert_eq!(split(image), (name.to_owned(), tag.to_owned()));
        }
    }

    #[test]
    fn a_registry_that_cannot_be_reached_has_not_said_no() {
        let answered = |status_code, message: &str| Error::DockerResponseServerError { status_code, message: message.to_owned() };
        let cases = [
            (answered(404, "pull access denied for app, repository does not exist"), StartFailure::ImageNotFound),
            (answered(404, "manifest for app:9 not found: manifest unknown"), StartFailure::ImageNotFound),
            (Error::DockerStreamError { error: "manifest unknown".to_owned() }, StartFailure::ImageNotFound),
            (answered(500, "Get \"https://registry/v2/\": dial tcp: lookup registry: no such host"), StartFailure::ImagePull),
            (answered(500, "Get \"http://localhost:1/v2/\": connection refused"), StartFailure::ImagePull),
            (answered(500, "toomanyrequests: You have reached your pull rate limit"), StartFailure::ImagePull),
        ];
        for (error, expected) in cases {
            assert_eq!(cause(&error), expected, "{error}");
        }
    }
}
