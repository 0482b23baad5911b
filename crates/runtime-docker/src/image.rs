//! Getting an image onto the host.

use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use ring_runtime::registry::{self, Login, LoginSecret, PUBLIC, Refused};
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{PullPolicy, StartFailure};
use tokio::time::{Instant, timeout};

use crate::client::{Client, status, told};
use crate::pulls::{Pulls, Slot};

/// A registry that has not answered by then counts as out of reach when the image is on the host anyway.
const REACH: Duration = Duration::from_secs(10);

/// A pull that makes no progress for so long is given up.
const STALL: Duration = Duration::from_mins(5);

/// A pull that makes no progress for so long makes room for another.
const HOLD: Duration = Duration::from_secs(3);

/// While a pull makes no progress the engine is asked so often whether it is there.
const PING: Duration = Duration::from_secs(10);

/// One image, as one deployment wants it.
pub(crate) struct Wanted {
    pub(crate) image: String,
    pub(crate) policy: PullPolicy,
    pub(crate) login: Option<Login>,
}

impl Wanted {
    /// Is a registry asked, which may take its time? `here` is what the host has of it.
    pub(crate) fn is_fetched(&self, here: Option<&Here>) -> bool {
        match self.policy {
            PullPolicy::Always => true,
            PullPolicy::IfNotPresent => here.is_none(),
            PullPolicy::Never => false,
        }
    }
}

/// Makes sure that the image is there, as the policy says, and gives its digest. `here` is what the host has of it: [`here`].
///
/// `Always` is content with an image of the host unless the registry has the last word: see [`Refused::is_final`].
pub(crate) async fn ensure(
    client: &Arc<Client>,
    pulls: &Pulls,
    wanted: Wanted,
    here: Option<Here>,
) -> Result<Option<String>, RuntimeError> {
    let (image, known) = (wanted.image.clone(), wanted.login.is_some());
    match (wanted.policy, here) {
        (PullPolicy::IfNotPresent | PullPolicy::Never, Some(here)) => Ok(here.digest),
        (PullPolicy::Never, None) => Err(registry::never_fetched(&image)),
        (PullPolicy::IfNotPresent | PullPolicy::Always, None) => {
            fetch(client, pulls, wanted, STALL).await.map_err(|refused| refused.error)?;
            Ok(self::here(client, &image).await?.and_then(|here| here.digest))
        }
        (PullPolicy::Always, Some(here)) => match fetch(client, pulls, wanted, REACH).await {
            Ok(()) => Ok(self::here(client, &image).await?.and_then(|here| here.digest)),
            Err(Refused { error, .. }) if error.kind == RuntimeErrorKind::Unavailable => Err(error),
            Err(refused) if refused.is_final(known) => Err(refused.error),
            Err(Refused { error, .. }) => {
                tracing::warn!(image, %error, "the image was not fetched; the one on this host is used");
                Ok(here.digest)
            }
        },
    }
}

/// An image of the host.
pub(crate) struct Here {
    digest: Option<String>,
}

/// The image as the host has it; None when it has none of this name.
pub(crate) async fn here(client: &Client, image: &str) -> Result<Option<Here>, RuntimeError> {
    match client.ask(|docker| async move { docker.inspect_image(image).await }).await? {
        Ok(found) => {
            let by_registry = found.repo_digests.unwrap_or_default();
            let (name, _) = split(image);
            let of = |digest: &String| Some((digest.split_once('@')?.0 == name, digest.split_once('@')?.1.to_owned()));
            // The same image can have a digest for each repository it is known in; the one that was asked for counts.
            let digest = by_registry.iter().filter_map(of).max_by_key(|(asked, _)| *asked).map(|(_, digest)| digest);
            Ok(Some(Here { digest: digest.or(found.id) }))
        }
        Err(error) if status(&error) == Some(404) => Ok(None),
        // The engine found the reference itself unreadable: no registry can have it.
        Err(error) if status(&error) == Some(400) => {
            Err(client.error(RuntimeErrorKind::Start(StartFailure::ImageNotFound), &format!("image '{image}'"), &error))
        }
        Err(error) => Err(client.error(RuntimeErrorKind::Other, &format!("image '{image}'"), &error)),
    }
}

async fn fetch(client: &Arc<Client>, pulls: &Pulls, wanted: Wanted, patience: Duration) -> Result<(), Refused> {
    // Whoever has another login has not shown that he may have the image.
    let key = format!("{} {:?} {}", wanted.image, credentials(wanted.login.as_ref()), patience.as_secs());
    let client = Arc::clone(client);
    pulls.join(key, move |slot| async move { pull(&client, &wanted, patience, slot).await }).await
}

/// `patience` is for the first sign of life of the registry; after that the pull may take as long as it makes progress.
async fn pull(client: &Client, wanted: &Wanted, patience: Duration, mut slot: Slot) -> Result<(), Refused> {
    let unreached = |error| Refused { error, by_registry: false };
    let (name, tag) = split(&wanted.image);
    let options = CreateImageOptions { from_image: Some(name), tag: Some(tag), ..CreateImageOptions::default() };
    let docker = client.docker().await.map_err(unreached)?;
    let mut progress = docker.create_image(Some(options), None, credentials(wanted.login.as_ref())).boxed();
    let (mut patience, mut last) = (patience, Instant::now());
    loop {
        let look = if slot.is_held() { HOLD } else { PING };
        match timeout(look.min(patience), progress.next()).await {
            // Somebody else may make more of its place.
            Err(_) if slot.is_held() && last.elapsed() < patience => slot.give_back(),
            Ok(Some(Ok(_))) => (patience, last) = (STALL, Instant::now()),
            Ok(Some(Err(error))) => return Err(refused(client, wanted, &error)),
            Ok(None) => return Ok(()),
            Err(_) if last.elapsed() >= patience => {
                let message = format!("image '{}': no answer from its registry for {} seconds", wanted.image, patience.as_secs());
                return Err(unreached(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message)));
            }
            // Is it the registry that is slow, or does the engine hang?
            Err(_) => {
                let alive = client.ask(|docker| async move { docker.ping().await }).await.map_err(unreached)?;
                alive.map_err(|error| unreached(client.unavailable(&error)))?;
            }
        }
    }
}

fn refused(client: &Client, wanted: &Wanted, error: &Error) -> Refused {
    let (answer, image) = (answer(error), &wanted.image);
    let doing = match answer {
        Answer::Denied => registry::denied(image, wanted.login.as_ref()),
        _ => format!("image '{image}'"),
    };
    let cause = if answer == Answer::Absent { StartFailure::ImageNotFound } else { StartFailure::ImagePull };
    let by_registry = answer != Answer::Unreached;
    Refused { error: client.error(RuntimeErrorKind::Start(cause), &doing, error), by_registry }
}

/// What became of the question to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// There is no such image.
    Absent,
    /// Not for this login, or not without one.
    Denied,
    /// It did not come to an answer.
    Unreached,
}

/// Engines pass on what a registry said in words. The public registry says "denied" of what is not there too, and says so.
fn answer(error: &Error) -> Answer {
    let message = told(error).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["no such host", "connection refused", "i/o timeout", "toomanyrequests"]) {
        Answer::Unreached
    } else if says(&["does not exist", "manifest unknown", "name unknown", "invalid reference format"]) {
        Answer::Absent
    } else if says(&["unauthorized", "no basic auth credentials", "authentication required", "access denied", "access forbidden"])
    {
        Answer::Denied
    } else if status(error) == Some(404) || says(&["not found"]) {
        Answer::Absent
    } else {
        Answer::Unreached
    }
}

/// A login, as the engine wants it told.
fn credentials(login: Option<&Login>) -> Option<DockerCredentials> {
    let login = login?;
    let serveraddress = Some(login.server.clone());
    Some(match &login.secret {
        LoginSecret::Token(token) => {
            DockerCredentials { identitytoken: Some(token.clone()), serveraddress, ..DockerCredentials::default() }
        }
        LoginSecret::Password { username, password } => DockerCredentials {
            username: Some(username.clone()),
            password: Some(password.clone()),
            serveraddress,
            ..DockerCredentials::default()
        },
    })
}

/// The registry an image's name says: its first part when that has a dot or a colon or is `localhost`, as every client has it.
pub(crate) fn registry_of(image: &str) -> &str {
    let first = image.split_once('/').map(|(first, _)| first);
    first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or(PUBLIC)
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
    fn the_registry_is_the_first_part_of_a_name_that_looks_like_a_host() {
        let cases = [
            ("busybox", "docker.io"),
            ("team/app:1", "docker.io"),
            ("registry.lan/app", "registry.lan"),
            ("localhost/app", "localhost"),
            ("registry:5000/team/app:1", "registry:5000"),
        ];
        for (image, expected) in cases {
            assert_eq!(registry_of(image), expected, "{image}");
        }
    }

    #[test]
    fn a_token_is_told_as_one() {
        let of = |secret| credentials(Some(&Login { server: "r".to_owned(), secret })).expect("a login");
        let token = of(LoginSecret::Token("t".to_owned()));
        assert_eq!((token.identitytoken.as_deref(), token.username), (Some("t"), None));
        let account = of(LoginSecret::Password { username: "ann".to_owned(), password: "p".to_owned() });
        assert_eq!((account.username.as_deref(), account.serveraddress.as_deref()), (Some("ann"), Some("r")));
        assert!(credentials(None).is_none());
    }

    #[test]
    fn answers_of_registries_are_told_apart() {
        let answered = |status_code, message: &str| Error::DockerResponseServerError { status_code, message: message.to_owned() };
        let cases = [
            (
                answered(404, "pull access denied for app, repository does not exist or may require 'docker login': denied"),
                Answer::Absent,
            ),
            (answered(404, "manifest for app:9 not found: manifest unknown: manifest unknown"), Answer::Absent),
            (Error::DockerStreamError { error: "manifest unknown".to_owned() }, Answer::Absent),
            (answered(500, "Get \"http://registry:5000/v2/app/manifests/1\": no basic auth credentials"), Answer::Denied),
            (answered(500, "Get \"https://registry/v2/\": unauthorized: authentication required"), Answer::Denied),
            (answered(500, "Get \"https://registry/v2/\": dial tcp: lookup registry: no such host"), Answer::Unreached),
            (answered(500, "Get \"http://localhost:1/v2/\": connection refused"), Answer::Unreached),
            (answered(500, "toomanyrequests: You have reached your pull rate limit"), Answer::Unreached),
            (answered(500, "received unexpected HTTP status: 503 Service Unavailable"), Answer::Unreached),
        ];
        for (error, expected) in cases {
            assert_eq!(answer(&error), expected, "{error}");
        }
    }
}
