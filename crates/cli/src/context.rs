//! What a command works with: the configuration, and the client of the chosen cluster.

use std::path::PathBuf;

use ring_api::client::{BY_HOST, Client, Hosts, Patience, Trust};

use crate::args::Globals;
use crate::config::{ApiSection, ConfigFile, Credentials, Paths};
use crate::error::CliError;

/// The chosen cluster and how to speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Name of the context.
    pub(crate) context: String,
    /// Control nodes, comma separated.
    pub(crate) hosts: String,
    /// How they are spoken to.
    pub(crate) api: ApiSection,
}

impl Target {
    /// A client of it.
    pub(crate) fn client(&self, token: Option<String>) -> Result<Client, CliError> {
        let trust = self.api.trust()?;
        let hosts = self.parsed()?;
        let plain = hosts.urls().iter().find(|url| url.scheme() == "http");
        if let (Some(pinned), Some(plain)) = (self.api.pinned_by(), plain) {
            let host = plain.as_str().trim_end_matches('/').to_owned();
            return Err(CliError::PlainThoughPinned { host, pinned });
        }
        Ok(Client::trusting(hosts, token, Patience::default(), trust)?)
    }

    /// Its control nodes.
    pub(crate) fn parsed(&self) -> Result<Hosts, CliError> {
        let scheme = if self.api.pinned_by().is_some() { "https" } else { &self.api.scheme };
        Ok(Hosts::parse(&self.hosts, scheme, self.api.port)?)
    }
}

impl ApiSection {
    /// What says whom to trust; None: the system does.
    fn pinned_by(&self) -> Option<&'static str> {
        self.ca_fingerprint.as_ref().map(|_| "a CA fingerprint").or(self.ca_file.as_ref().map(|_| "a CA file"))
    }

    fn trust(&self) -> Result<Trust, CliError> {
        if let Some(list) = &self.ca_fingerprint {
            return Trust::pinned(list).map_err(|error| CliError::Usage(error.to_string()));
        }
        let Some(path) = &self.ca_file else { return Ok(Trust::System) };
        let pem = std::fs::read(path).map_err(|source| CliError::Read { path: path.clone(), source })?;
        Trust::authorities(&pem).map_err(|error| CliError::Config { path: path.clone(), message: error.to_string() })
    }
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) paths: Paths,
    pub(crate) file: ConfigFile,
    pub(crate) globals: Globals,
}

/// The context where none is configured.
const DEFAULT: &str = "default";

impl Context {
    pub(crate) fn load(globals: Globals) -> Result<Self, CliError> {
        let paths = Paths::resolve(globals.config.clone(), None)?;
        let file = ConfigFile::load(&paths.config_file)?;
        Ok(Self { paths, file, globals })
    }

    /// The cluster a command is for: `RING_HOST` wins over the context's host, `RING_CA_FINGERPRINT` and `RING_CA_FILE` over whom
    /// the context trusts.
    pub(crate) fn target(&self) -> Result<Target, CliError> {
        match self.globals.context.as_deref() {
            Some(name) if !self.file.contexts.contains_key(name) => Err(self.file.no_context(name)),
            _ => self.target_or_new(),
        }
    }

    /// The same; the context that is named need not be there yet.
    pub(crate) fn target_or_new(&self) -> Result<Target, CliError> {
        let chosen = self.globals.context.as_deref();
        let found = self.file.context(chosen);
        let (context, section) = found.map_or((chosen.unwrap_or(DEFAULT), None), |(name, section)| (name, Some(section)));
        let from_env = variable("RING_HOST");
        let from_file = section.map(|section| section.host.clone()).filter(|host| !host.is_empty());
        let mut api = section.map(|section| section.api.clone()).unwrap_or_default();
        if from_env.is_some() && api.scheme == "http" {
            // That is said of the context's own hosts.
            BY_HOST.clone_into(&mut api.scheme);
        }
        match pins()? {
            (None, None) => {}
            pins => (api.ca_fingerprint, api.ca_file) = pins,
        }
        let hosts = from_env.or(from_file).unwrap_or_else(|| "127.0.0.1".to_owned());
        Ok(Target { context: context.to_owned(), hosts, api })
    }

    /// The token in use: `RING_TOKEN`, else the one that `ring login` kept for the context.
    pub(crate) fn token(&self, target: &Target) -> Result<Option<String>, CliError> {
        if let Some(token) = variable("RING_TOKEN") {
            return Ok(Some(token));
        }
        let kept = Credentials::load(&self.paths.credentials())?;
        Ok(kept.get(&target.context).map(|credential| credential.token.clone()))
    }

    /// A client with the token in use.
    ///
    /// # Errors
    /// [`CliError::NotLoggedIn`] when there is none.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let target = self.target()?;
        let token = self.token(&target)?.ok_or_else(|| CliError::NotLoggedIn(target.hosts.clone()))?;
        target.client(Some(token))
    }
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Fingerprint and file of the authority, as the environment has them.
pub(crate) fn pins() -> Result<(Option<String>, Option<PathBuf>), CliError> {
    match (variable("RING_CA_FINGERPRINT"), variable("RING_CA_FILE")) {
        (Some(_), Some(_)) => Err(CliError::Usage("set one of RING_CA_FINGERPRINT and RING_CA_FILE, not both".to_owned())),
        (list, file) => Ok((list, file.map(Into::into))),
    }
}
