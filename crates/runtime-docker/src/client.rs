//! The connection to the engine: made when first needed, made anew when it broke, with a limit on every question.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use tokio::time::timeout;

use crate::config::DockerConfig;

/// An engine that has not answered a plain question by then hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Limit of the library for the begin of any answer; the real limits are set where each question is asked.
const LONGEST: Duration = Duration::from_hours(1);

/// The header with the login for a registry.
const LOGIN: &str = "X-Registry-Auth";

/// An engine that may come and go.
pub(crate) struct Client {
    config: DockerConfig,
    connected: Mutex<Option<Docker>>,
}

impl Client {
    pub(crate) fn new(config: DockerConfig) -> Self {
        Self { config, connected: Mutex::default() }
    }

    /// The engine, with the version of the API that both speak.
    pub(crate) async fn docker(&self) -> Result<Docker, RuntimeError> {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match connected {
            Some(docker) => Ok(docker),
            None => self.connect().await,
        }
    }

    /// Asks for the version anew: the engine may have been replaced by another release.
    pub(crate) async fn connect(&self) -> Result<Docker, RuntimeError> {
        self.forget();
        let docker = self.open().map_err(|error| self.unavailable(&error))?;
        let negotiated = timeout(PATIENCE / 2, docker.negotiate_version()).await;
        let docker = negotiated.map_err(|_| self.hangs())?.map_err(|error| self.unavailable(&error))?;
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = Some(docker.clone());
        Ok(docker)
    }

    /// Asks one plain question: an engine that does not answer it in time is not usable now.
    pub(crate) async fn ask<T, Answer>(&self, question: impl FnOnce(Docker) -> Answer) -> Result<Result<T, Error>, RuntimeError>
    where
        Answer: Future<Output = Result<T, Error>>,
    {
        self.ask_within(PATIENCE, question).await
    }

    /// The same for a question whose answer takes longer by its nature.
    pub(crate) async fn ask_within<T, Answer>(
        &self,
        patience: Duration,
        question: impl FnOnce(Docker) -> Answer,
    ) -> Result<Result<T, Error>, RuntimeError>
    where
        Answer: Future<Output = Result<T, Error>>,
    {
        let docker = self.docker().await?;
        let answer = timeout(patience, question(docker)).await.map_err(|_| self.hangs())?;
        match answer {
            Err(error) if is_broken(&error) => Err(self.unavailable(&error)),
            answer => Ok(answer),
        }
    }

    /// What to tell about an error that breaks the connection or says nothing else of use.
    pub(crate) fn unavailable(&self, error: &Error) -> RuntimeError {
        self.forget();
        let message = format!("{} does not answer at {}: {}", self.name(), self.config.address(), told(error));
        RuntimeError::new(RuntimeErrorKind::Unavailable, message)
    }

    /// An error of the engine with a message of its own.
    pub(crate) fn error(&self, kind: RuntimeErrorKind, doing: &str, error: &Error) -> RuntimeError {
        if is_broken(error) {
            return self.unavailable(error);
        }
        RuntimeError::new(kind, format!("{doing}: {}", told(error)))
    }

    /// What to tell about an engine that gives no answer.
    pub(crate) fn hangs(&self) -> RuntimeError {
        self.forget();
        let message = format!("{} at {} does not answer in time", self.name(), self.config.address());
        RuntimeError::new(RuntimeErrorKind::Unavailable, message)
    }

    fn name(&self) -> &'static str {
        self.config.engine.kind().as_str()
    }

    fn forget(&self) {
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn open(&self) -> Result<Docker, Error> {
        Ok(self.reach()?.with_request_modifier(|mut request| {
            if let Some(header) = request.headers_mut().get_mut(LOGIN) {
                let written = url_safe(header.as_bytes());
                if let Ok(value) = written.as_slice().try_into() {
                    *header = value;
                }
                header.set_sensitive(true);
            }
            request
        }))
    }

    fn reach(&self) -> Result<Docker, Error> {
        let address = self.config.address();
        let seconds = LONGEST.as_secs();
        if address.starts_with("unix://") {
            return Docker::connect_with_unix(&address, seconds, API_DEFAULT_VERSION);
        }
        if address.starts_with("tcp://") || address.starts_with("http://") {
            return Docker::connect_with_http(&address, seconds, API_DEFAULT_VERSION);
        }
        Err(Error::UnsupportedURISchemeError { uri: address })
    }
}

/// Engines read a login in the alphabet for URLs, and take what is written otherwise for no login at all; the library writes the
/// standard one, where a `?`, `>` or `~` in a password makes a difference.
fn url_safe(base64: &[u8]) -> Vec<u8> {
    let letter = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    base64.iter().map(letter).collect()
}

/// The status an engine answered with.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// What an engine said, without the library's words around it.
pub(crate) fn told(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    }
}

/// Did the engine answer at all? Everything but its own refusals says that the connection or the engine is broken.
fn is_broken(error: &Error) -> bool {
    !matches!(
        error,
        Error::DockerResponseServerError { .. }
            | Error::DockerStreamError { .. }
            | Error::DockerContainerWaitError { .. }
            | Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
            | Error::URLEncodedError { .. }
            | Error::URLParseError { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_written_in_the_alphabet_for_urls() {
        assert_eq!(url_safe(b"e+J/=="), b"e-J_==");
    }
}
