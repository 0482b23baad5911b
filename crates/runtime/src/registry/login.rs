//! How to log in to the registry of an image: with what the claim brought, or as the host's own client does.
//!
//! Of the host's client its configuration is read: `auths` (base64 or plain, and identity tokens), `credHelpers` and
//! `credsStore`, whose programs (`docker-credential-NAME`) have to be in the agent's PATH.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use ring_types::StartFailure;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::error::{RuntimeError, RuntimeErrorKind};
use crate::workload::Workload;

/// A credential helper that has not answered by then waits for a person.
const HELPER: Duration = Duration::from_secs(20);

/// The public registry, under which an image without a registry is found.
pub const PUBLIC: &str = "docker.io";

/// The name under which clients keep its login.
const PUBLIC_LOGIN: &str = "https://index.docker.io/v1/";

/// Whose logins are used with `use_host_auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostClient {
    /// Docker's.
    Docker,
    /// Podman's, and Docker's where it has none.
    Podman,
}

/// How to log in to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Which registry.
    pub server: String,
    /// By what.
    pub secret: LoginSecret,
}

/// By what one logs in.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginSecret {
    /// An account and its password.
    Password {
        /// The account.
        username: String,
        /// The password.
        password: String,
    },
    /// What a registry gave in the place of a password.
    Token(String),
}

impl Login {
    /// Who logs in, for people.
    pub fn account(&self) -> String {
        format!("{:?}", self.secret)
    }
}

/// Without what is secret.
impl fmt::Debug for LoginSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "'{username}'"),
            Self::Token(_) => f.write_str("its token"),
        }
    }
}

/// What to log in with at `registry`; None: without. `file` is the configuration of the host's client, where that is not in its
/// usual place.
///
/// # Errors
/// [`StartFailure::ImagePull`] when the host's client is to be asked and has no login; says what to do.
pub async fn login(
    workload: &Workload,
    registry: &str,
    client: HostClient,
    file: Option<&Path>,
) -> Result<Option<Login>, RuntimeError> {
    if let Some(login) = &workload.registry {
        return Ok(Some(Login {
            server: login.server.clone().unwrap_or_else(|| registry.to_owned()),
            secret: LoginSecret::Password { username: login.username.clone(), password: login.password.clone() },
        }));
    }
    if !workload.spec.config.use_host_auth {
        return Ok(None);
    }
    let path = file.map_or_else(|| usual(client), |path| Some(path.to_owned()));
    of_host(registry.to_owned(), path).await.map(Some).map_err(|why| {
        let message = format!("image '{}': use_host_auth: {why}", workload.spec.image);
        RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message)
    })
}

/// Where the client keeps its logins, of this agent's user.
fn usual(client: HostClient) -> Option<PathBuf> {
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
    match client {
        HostClient::Docker => docker,
        HostClient::Podman => podman.into_iter().flatten().find(|path| path.exists()).or(docker),
    }
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
        Ok(DockerCredential::IdentityToken(token)) => Ok(Login { server: registry, secret: LoginSecret::Token(token) }),
        Ok(DockerCredential::UsernamePassword(username, password)) => {
            Ok(Login { server: registry, secret: LoginSecret::Password { username, password } })
        }
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
    if registry == PUBLIC {
        return asked(PUBLIC_LOGIN).or_else(|_| asked(registry));
    }
    asked(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(registry: &str, config: &str) -> Result<LoginSecret, String> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        let found = of_host(registry.to_owned(), Some(path)).await?;
        assert_eq!(found.server, registry);
        Ok(found.secret)
    }

    #[tokio::test]
    async fn what_the_hosts_client_keeps_is_read() {
        let pair = |username: &str, password: &str| {
            Ok(LoginSecret::Password { username: username.to_owned(), password: password.to_owned() })
        };
        // base64 of "ann:s:e?cret"
        let basic = r#"{"auths": {"registry:5000": {"auth": "YW5uOnM6ZT9jcmV0"}}}"#;
        assert_eq!(asked("registry:5000", basic).await, pair("ann", "s:e?cret"));
        let public = r#"{"auths": {"https://index.docker.io/v1/": {"username": "bob", "password": "pw"}}}"#;
        assert_eq!(asked("docker.io", public).await, pair("bob", "pw"));
        let token = r#"{"auths": {"registry:5000": {"identitytoken": "t0k"}}}"#;
        assert_eq!(asked("registry:5000", token).await, Ok(LoginSecret::Token("t0k".to_owned())));
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

    #[test]
    fn a_login_does_not_show_its_secret() {
        let secret = LoginSecret::Password { username: "ann".to_owned(), password: "s3cret".to_owned() };
        let shown = format!("{:?}", Login { server: "r".to_owned(), secret });
        assert!(shown.contains("ann") && !shown.contains("s3cret"), "{shown}");
    }
}
