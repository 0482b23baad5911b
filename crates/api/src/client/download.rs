//! Bytes that come as a file.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;

use super::Client;
use super::error::ClientError;

/// A file under way.
#[derive(Debug)]
pub struct Download {
    response: Response,
    host: String,
    idle: Duration,
}

impl Download {
    /// The next piece; None at the end.
    ///
    /// # Errors
    /// [`ClientError::Unexpected`] when the connection breaks, or nothing comes for long: what came so far is not the file.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let broken = |reason: String| ClientError::Unexpected { host: self.host.clone(), reason };
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(broken(format!("the stream broke off: {error}"))),
            Err(_) => Err(broken("the stream broke off: nothing came".to_owned())),
        }
    }
}

impl Client {
    /// A snapshot of the cluster's state, as a file.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn snapshot(&self) -> Result<Download, ClientError> {
        let response = self.open("/cluster/snapshot", None).await?;
        let host = response.url().host_str().unwrap_or_default().to_owned();
        Ok(Download { response, host, idle: self.patience.idle })
    }
}
