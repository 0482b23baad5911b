//! How to log in to the registry of an image: with what the claim brought, or as the host's own client does.

use std::env;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::StartFailure;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A credential helper that has not answered by then waits for a person.
const HELPER: Duration = Duration::from_secs(20);

/// The public registry, and the name clients keep its login under.
const PUBLIC: (&str, &str) = ("docker.io", "https://index.docker.io/v1/");

/// An account and its password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// What to log in with at `registry`; None: without.
pub(super) async fn login(workload: &Workload, registry: &str, file: Option<&Path>) -> Result<Option<Login>, RuntimeError> {
    if let Some(login) = &workload.registry {
        return Ok(Some(Login { username: login.username.clone(), password: login.password.clone() }));
    }
    if !workload.spec.config.use_host_auth {
        return Ok(None);
    }
    let path = file.map_or_else(usual, |path| Some(path.to_owned()));
    of_host(registry.to_owned(), path).await.map(Some).map_err(|why| {
        let message = format!("image '{}': use_host_auth: {why}", workload.spec.image);
        RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message)
    })
}

/// Where Docker's client keeps its logins, of this agent's user.
fn usual() -> Option<PathBuf> {
    let root = || rustix::process::geteuid().is_root().then(|| "/root".into());
    let home = env::var_os("HOME").or_else(root).map(PathBuf::from);
    let dir = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home?.join(".docker")));
    dir.map(|dir| dir.join("config.json"))
}

async fn of_host(registry: String, path: Option<PathBuf>) -> Result<Login, String> {
    let path = path.ok_or("this agent has no home directory: set DOCKER_CONFIG")?;
    let name = path.display().to_string();
    let asking = spawn_blocking({
        let registry = registry.clone();
        move || read(&registry, &path)
    });
    let asked = timeout(HELPER, asking).await.map_err(|_| "a credential helper does not answer".to_owned())?;
    let log_in = format!("run 'docker login {registry}' on the host, as the agent's user");
    match asked.map_err(|error| error.to_string())? {
        Ok(DockerCredential::UsernamePassword(username, password)) => Ok(Login { username, password }),
        Ok(DockerCredential::IdentityToken(_)) => Err(format!(
            "{name} has an identity token for '{registry}', which micro-VMs cannot use: give an account and a password"
        )),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Err(format!("{name} has no login for '{registry}': {log_in}")),
        Err(CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::ConfigReadError) => {
            Err(format!("{name} is not there or cannot be read: {log_in}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(registry: &str, config: &str) -> Result<(String, String), String> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        of_host(registry.to_owned(), Some(path)).await.map(|login| (login.username, login.password))
    }

    #[tokio::test]
    async fn what_the_hosts_client_keeps_is_read() {
        // base64 of "ann:s:e?cret"
        let basic = r#"{"auths": {"registry:5000": {"auth": "YW5uOnM6ZT9jcmV0"}}}"#;
        assert_eq!(asked("registry:5000", basic).await, Ok(("ann".to_owned(), "s:e?cret".to_owned())));
        let public = r#"{"auths": {"https://index.docker.io/v1/": {"username": "bob", "password": "pw"}}}"#;
        assert_eq!(asked("docker.io", public).await, Ok(("bob".to_owned(), "pw".to_owned())));
        let token = r#"{"auths": {"registry:5000": {"identitytoken": "t0k"}}}"#;
        let refused = asked("registry:5000", token).await.unwrap_err();
        assert!(refused.contains("identity token") && !refused.contains("t0k"), "{refused}");
        let none = asked("registry:5000", r#"{"auths": {}}"#).await.unwrap_err();
        assert!(none.contains("no login for 'registry:5000'"), "{none}");
    }
}
