//! How to log in to the registry of an image: with what the claim brought, or as the host's own client does.
//!
//! Of the host's client its configuration is read: `auths` (base64 or plain, and identity tokens), `credHelpers` and
//! `credsStore`, whose programs (`docker-credential-NAME`) have to be in the agent's PATH.

use std::env;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::StartFailure;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::Engine;

/// A credential helper that has not answered by then waits for a person.
const HELPER: Duration = Duration::from_secs(20);

/// The public registry, under which an image without a registry is found, and the name clients keep its login under.
const PUBLIC: (&str, &str) = ("docker.io", "https://index.docker.io/v1/");

/// What to log in with; None: without.
pub(crate) async fn login(
    workload: &Workload,
    engine: Engine,
    file: Option<&Path>,
) -> Result<Option<DockerCredentials>, RuntimeError> {
    let registry = registry(&workload.spec.image);
    if let Some(login) = &workload.registry {
        return Ok(Some(DockerCredentials {
            username: Some(login.username.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(login.server.clone().unwrap_or_else(|| registry.to_owned())),
            ..DockerCredentials::default()
        }));
    }
    if !workload.spec.config.use_host_auth {
        return Ok(None);
    }
    let path = file.map_or_else(|| usual(engine), |path| Some(path.to_owned()));
    of_host(registry.to_owned(), path).await.map(Some).map_err(|why| {
        let message = format!("image '{}': use_host_auth: {why}", workload.spec.image);
        RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message)
    })
}

/// The registry an image's name says: its first part when that has a dot or a colon or is `localhost`, as every client has it.
fn registry(image: &str) -> &str {
    let first = image.split_once('/').map(|(first, _)| first);
    first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or(PUBLIC.0)
}

/// Where the engine's client keeps its logins, of this agent's user.
fn usual(engine: Engine) -> Option<PathBuf> {
    let root = || rustix::process::geteuid().is_root().then(|| "/root".into());
    let home = env::var_os("HOME").or_else(root).map(PathBuf::from);
    let docker = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".docker")));
    let docker = docker.map(|dir| dir.join("config.json"));
    let podman = [
        env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from),
        env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("containers/auth.json")),
        Some(PathBuf::from(format!("/run/containers/{}/auth.json", rustix::process::geteuid().as_raw()))),
        home.as_ref().map(|home| home.join(".config/containers/auth.json")),
    ];
    match engine {
        Engine::Docker => docker,
        Engine::Podman => podman.into_iter().flatten().find(|path| path.exists()).or(docker),
    }
}

async fn of_host(registry: String, path: Option<PathBuf>) -> Result<DockerCredentials, String> {
    let path = path.ok_or("this agent has no home directory: set DOCKER_CONFIG")?;
    let name = path.display().to_string();
    let asking = spawn_blocking({
        let registry = registry.clone();
        move || read(&registry, &path)
    });
    let asked = timeout(HELPER, asking).await.map_err(|_| "a credential helper does not answer".to_owned())?;
    match asked.map_err(|error| error.to_string())? {
        Ok(credential) => Ok(credentials(registry, credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => {
            Err(format!("{name} has no login for '{registry}': run 'docker login {registry}' on the host, as the agent's user"))
        }
        Err(CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::ConfigReadError) => {
            Err(format!("{name} is not there or cannot be read: run 'docker login {registry}' on the host, as the agent's user"))
        }
        // What a helper printed on its standard output may be the secret itself.
        Err(CredentialRetrievalError::HelperFailure { helper, stderr, .. }) => Err(format!("{helper} failed: {}", stderr.trim())),
        Err(error) => Err(format!("{name}, login for '{registry}': {error}")),
    }
}

fn read(registry: &str, path: &Path) -> Result<DockerCredential, CredentialRetrievalError> {
    let asked = |name| {
        let file = File::open(path).map_err(|_| CredentialRetrievalError::ConfigNotFound)?;
        get_credential_from_reader(BufReader::new(file), name)
    };
    if registry == PUBLIC.0 {
        return asked(PUBLIC.1).or_else(|_| asked(registry));
    }
    asked(registry)
}

fn credentials(registry: String, credential: DockerCredential) -> DockerCredentials {
    let serveraddress = Some(registry);
    match credential {
        DockerCredential::IdentityToken(token) => {
            DockerCredentials { identitytoken: Some(token), serveraddress, ..DockerCredentials::default() }
        }
        DockerCredential::UsernamePassword(username, password) => DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress,
            ..DockerCredentials::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    async fn asked(registry: &str, config: &str) -> Result<(Option<String>, Option<String>), String> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        let found = of_host(registry.to_owned(), Some(path)).await?;
        Ok((found.username.or(found.identitytoken), found.password))
    }

    #[tokio::test]
    async fn what_the_hosts_client_keeps_is_read() {
        let pair = |user: &str, password: &str| Ok((Some(user.to_owned()), Some(password.to_owned())));
        // base64 of "ann:s:e?cret"
        let basic = r#"{"auths": {"registry:5000": {"auth": "YW5uOnM6ZT9jcmV0"}}}"#;
        assert_eq!(asked("registry:5000", basic).await, pair("ann", "s:e?cret"));
        let public = r#"{"auths": {"https://index.docker.io/v1/": {"username": "bob", "password": "pw"}}}"#;
        assert_eq!(asked("docker.io", public).await, pair("bob", "pw"));
        let token = r#"{"auths": {"registry:5000": {"identitytoken": "t0k"}}}"#;
        assert_eq!(asked("registry:5000", token).await, Ok((Some("t0k".to_owned()), None)));
    }

    #[tokio::test]
    async fn what_is_missing_is_said() {
        let none = asked("registry:5000", r#"{"auths": {}}"#).await.unwrap_err();
        assert!(none.contains("no login for 'registry:5000'"), "{none}");
        let helper = r#"{"credHelpers": {"registry:5000": "there-is-no-such"}}"#;
        assert!(asked("registry:5000", helper).await.unwrap_err().contains("credential helper"));
        let absent = of_host("registry:5000".to_owned(), Some("/no/such/config.json".into())).await.unwrap_err();
        assert!(absent.contains("/no/such/config.json"), "{absent}");
    }
}
