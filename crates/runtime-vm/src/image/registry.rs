//! Images straight from a registry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use ring_runtime::registry::{Login, LoginSecret, Refused, denied};
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::StartFailure;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::layer::Layer;

/// A registry that does not take a connection by then is out of reach.
const CONNECT: Duration = Duration::from_secs(10);

/// A download that makes no progress for so long is given up.
const STALL: Duration = Duration::from_mins(1);

/// No image has a longer configuration, bytes.
const LONGEST_CONFIG: i64 = 8 << 20;

/// Layers fetched at a time.
const AT_ONCE: usize = 3;

/// One image of a registry, as one account sees it.
pub(super) struct Remote {
    image: String,
    client: Client,
    reference: Reference,
    login: Option<Login>,
    auth: RegistryAuth,
}

/// What a registry says of an image.
pub(super) struct Described {
    /// Digest of what the name leads to.
    pub(super) digest: String,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<OciDescriptor>,
}

impl Remote {
    /// `plain` are registries, as `host:port`, that are spoken to without TLS; those on loopback always are.
    ///
    /// [`StartFailure::ImagePull`] for a login that this client has no way to use, and on a host without certificates: the client
    /// wants them whatever it asks.
    pub(super) fn new(image: &str, reference: Reference, login: Option<Login>, plain: &[String]) -> Result<Self, RuntimeError> {
        let auth = match &login {
            None => RegistryAuth::Anonymous,
            Some(Login { secret: LoginSecret::Password { username, password }, .. }) => {
                RegistryAuth::Basic(username.clone(), password.clone())
            }
            Some(Login { secret: LoginSecret::Token(_), server }) => {
                let instead = "which micro-VMs cannot use: give an account and a password";
                let message = format!("image '{image}': use_host_auth: there is an identity token for '{server}', {instead}");
                return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message));
            }
        };
        let mut plain = plain.to_vec();
        if is_loopback(reference.registry()) {
            plain.push(reference.registry().to_owned());
        }
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            connect_timeout: Some(CONNECT),
            read_timeout: Some(STALL),
            user_agent: concat!("ring/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| {
            let told = whole(&error);
            let message = format!(
                "image '{image}': this host cannot ask a registry: {told}; install the certificates of the public authorities \
                 (Debian package ca-certificates)"
            );
            RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message)
        })?;
        Ok(Self { image: image.to_owned(), client, reference, login, auth })
    }

    /// Asks what the name leads to on this platform; `patience` is for the whole answer.
    pub(super) async fn describe(&self, patience: Duration) -> Result<Described, Refused> {
        let asking = async {
            let asked = self.client.pull_image_manifest_and_list_digest(&self.reference, &self.auth).await;
            let (manifest, own, list) = asked.map_err(|error| self.refused(&error))?;
            if manifest.config.size > LONGEST_CONFIG {
                return Err(self.broken("its configuration is too long"));
            }
            let config = self.blob(&manifest.config).await?;
            Ok(Described { digest: list.unwrap_or(own), config, layers: manifest.layers })
        };
        timeout(patience, asking).await.unwrap_or_else(|_| {
            let message = format!("image '{}': no answer from its registry for {} seconds", self.image, patience.as_secs());
            Err(Refused {
                error: RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message),
                by_registry: false,
            })
        })
    }

    async fn blob(&self, wanted: &OciDescriptor) -> Result<Vec<u8>, Refused> {
        let mut stream = self.client.pull_blob_stream(&self.reference, wanted).await.map_err(|error| self.refused(&error))?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| self.interrupted(&error))?);
            if bytes.len() as u64 > wanted.size.unsigned_abs() {
                return Err(self.broken("it is longer than its manifest says"));
            }
        }
        Ok(bytes)
    }

    /// Fetches all layers into files of a directory.
    pub(super) async fn fetch(&self, layers: &[OciDescriptor], dir: &Path) -> Result<Vec<Layer>, Refused> {
        let mut fetching = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let path = dir.join(format!("layer-{number}"));
            fetching.push(self.layer(layer, path));
        }
        let fetched: Vec<_> = futures::stream::iter(fetching).buffered(AT_ONCE).collect().await;
        fetched.into_iter().collect()
    }

    async fn layer(&self, wanted: &OciDescriptor, path: PathBuf) -> Result<Layer, Refused> {
        let mut stream = self.client.pull_blob_stream(&self.reference, wanted).await.map_err(|error| self.refused(&error))?;
        let mut file = File::create_new(&path).await.map_err(|error| self.interrupted(&error))?;
        let mut left = wanted.size.unsigned_abs();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.interrupted(&error))?;
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| self.broken("a layer is longer than its manifest says"))?;
            file.write_all(&piece).await.map_err(|error| self.interrupted(&error))?;
        }
        file.flush().await.map_err(|error| self.interrupted(&error))?;
        Layer::whole(&path).map_err(|error| self.interrupted(&error))
    }

    fn interrupted(&self, error: &std::io::Error) -> Refused {
        let message = format!("image '{}': {error}", self.image);
        Refused { error: RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message), by_registry: false }
    }

    fn broken(&self, why: &str) -> Refused {
        let message = format!("image '{}': {why}", self.image);
        Refused { error: RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImagePull), message), by_registry: true }
    }

    fn refused(&self, error: &OciDistributionError) -> Refused {
        let (image, answer) = (&self.image, answer(error));
        let registry = self.reference.registry();
        let message = match answer {
            Answer::Absent => format!("image '{image}': registry '{registry}' has no such image"),
            Answer::Denied => denied(image, self.login.as_ref()),
            Answer::Other | Answer::Unreached => format!("image '{image}': {}", whole(error)),
        };
        let cause = if answer == Answer::Absent { StartFailure::ImageNotFound } else { StartFailure::ImagePull };
        let by_registry = answer != Answer::Unreached;
        Refused { error: RuntimeError::new(RuntimeErrorKind::Start(cause), message), by_registry }
    }
}

/// An error with its causes: the first one alone often says no more than that something went wrong.
fn whole(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(next) = cause {
        let told = next.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = next.source();
    }
    text
}

/// Is it on this host? Then nobody is on the way who could listen.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What became of the question to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// There is no such image.
    Absent,
    /// Not for this login, or not without one.
    Denied,
    /// It answered with something else.
    Other,
    /// It did not come to an answer.
    Unreached,
}

fn answer(error: &OciDistributionError) -> Answer {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => Answer::Absent,
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => Answer::Denied,
        OciDistributionError::ServerError { code: 404, .. } => Answer::Absent,
        OciDistributionError::ServerError { code: 401 | 403, .. } => Answer::Denied,
        OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) | OciDistributionError::ServerError { .. } => {
            Answer::Unreached
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let codes: Vec<&OciErrorCode> = envelope.errors.iter().map(|error| &error.code).collect();
            let has = |wanted: &[OciErrorCode]| codes.iter().any(|code| wanted.contains(code));
            if has(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NameInvalid, OciErrorCode::NotFound])
            {
                Answer::Absent
            } else if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                Answer::Denied
            } else if has(&[OciErrorCode::Toomanyrequests]) {
                Answer::Unreached
            } else {
                Answer::Other
            }
        }
        _ => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use oci_client::errors::OciEnvelope;

    use super::*;

    #[test]
    fn answers_of_registries_are_told_apart() {
        let said = |code: &str| OciDistributionError::RegistryError {
            envelope: serde_json::from_str::<OciEnvelope>(&format!(r#"{{"errors": [{{"code": "{code}", "message": ""}}]}}"#))
                .unwrap(),
            url: String::new(),
        };
        let status = |code| OciDistributionError::ServerError { code, url: String::new(), message: String::new() };
        let cases = [
            (said("MANIFEST_UNKNOWN"), Answer::Absent),
            (said("NAME_UNKNOWN"), Answer::Absent),
            (said("UNAUTHORIZED"), Answer::Denied),
            (said("DENIED"), Answer::Denied),
            (said("TOOMANYREQUESTS"), Answer::Unreached),
            (said("UNSUPPORTED"), Answer::Other),
            (status(404), Answer::Absent),
            (status(403), Answer::Denied),
            (status(503), Answer::Unreached),
        ];
        for (error, expected) in cases {
            assert_eq!(answer(&error), expected, "{error}");
        }
    }

    #[test]
    fn only_loopback_is_trusted_without_tls() {
        for (registry, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("registry.lan:5000", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }
}
