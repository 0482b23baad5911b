//! What a command works with: the configuration, and the client of the chosen cluster.

use ring_api::client::{Client, Hosts, Patience};

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
        let hosts = Hosts::parse(&self.hosts, &self.api.scheme, self.api.port)?;
        Ok(Client::new(hosts, token, Patience::default())?)
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

    /// The cluster a command is for: `RING_HOST` wins over the context's host.
    pub(crate) fn target(&self) -> Result<Target, CliError> {
        let chosen = self.globals.context.as_deref();
        let found = self.file.context(chosen);
        if let (None, Some(name)) = (&found, chosen) {
            return Err(self.file.no_context(name));
        }
        let (context, section) = found.map_or((DEFAULT, None), |(name, section)| (name, Some(section)));
        let from_env = std::env::var("RING_HOST").ok().filter(|host| !host.is_empty());
        let from_file = section.map(|section| section.host.clone()).filter(|host| !host.is_empty());
        let hosts = from_env.or(from_file).unwrap_or_else(|| "127.0.0.1".to_owned());
        let api = section.map(|section| section.api.clone()).unwrap_or_default();
        Ok(Target { context: context.to_owned(), hosts, api })
    }

    /// The token in use: `RING_TOKEN`, else the one that `ring login` kept for the context.
    pub(crate) fn token(&self, target: &Target) -> Result<Option<String>, CliError> {
        if let Some(token) = std::env::var("RING_TOKEN").ok().filter(|token| !token.is_empty()) {
            return Ok(Some(token));
        }
        let kept = Credentials::load(&self.paths.credentials())?;
        Ok(kept.get(&target.context).map(|credential| credential.token.clone()))
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self) -> Result<Client, CliError> {
        self.target()?.client(None)
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
