//! One attempt to deliver: one signed POST.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use ring_controller::{Attempt, Deliver};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::WebhookOptions;
use super::names::{Guarded, Names, System};
use super::payload::payload;
use super::secret::{open, signature};
use super::target::checked;
use crate::pki::SecretKey;

/// So much of an answer is read, so that its connection can be used again; nothing of it is kept.
const MAX_ANSWER: usize = 4 << 10;

/// Longest account of why an attempt failed, characters.
const MAX_ERROR: usize = 300;

/// Sends deliveries.
pub(crate) struct HttpDeliverer {
    client: Result<Client, String>,
    secret: SecretKey,
    options: WebhookOptions,
}

impl HttpDeliverer {
    pub(crate) fn new(secret: SecretKey, options: WebhookOptions) -> Self {
        Self::over(Arc::new(System), secret, options)
    }

    pub(super) fn over(names: Arc<dyn Names>, secret: SecretKey, options: WebhookOptions) -> Self {
        let guarded = Arc::new(Guarded { names, allow_local: options.allow_local });
        let client = Client::builder()
            .dns_resolver(guarded)
            // A proxy would dial in our place, past the guard.
            .no_proxy()
            .tls_backend_preconfigured(tls())
            .redirect(Policy::none())
            .timeout(options.timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("ring/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { client: client.map_err(|error| explained(&error)), secret, options }
    }

    async fn send(&self, attempt: &Attempt) -> Result<Response, String> {
        let client = self.client.as_ref().map_err(|why| format!("this control node cannot send: {why}"))?;
        // Made when the rules were others, perhaps, or through another control node.
        let url = checked(&attempt.webhook.url, self.options.allow_local)?;
        let payload = payload(attempt);
        let body = serde_json::to_vec(&payload).map_err(|error| format!("the event cannot be written: {error}"))?;
        let secret = open(&self.secret, &attempt.state, &attempt.webhook).map_err(|error| format!("its secret: {error}"))?;
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("X-Ring-Event", &payload.kind)
            .header("X-Ring-Delivery", payload.delivery.to_string())
            .header("X-Ring-Signature", signature(&secret, &body))
            .body(body);
        request.send().await.map_err(|error| self.why(&error))
    }

    fn why(&self, error: &reqwest::Error) -> String {
        match error {
            _ if error.is_timeout() => format!("no answer within {} s", self.options.timeout.as_secs_f32()),
            _ if error.is_connect() => format!("no connection: {}", explained(error)),
            _ => explained(error),
        }
    }
}

#[async_trait]
impl Deliver for HttpDeliverer {
    async fn deliver(&self, attempt: Attempt) -> Result<(), String> {
        let sent = self.send(&attempt).await;
        let mut response = sent.map_err(|why| why.chars().take(MAX_ERROR).collect::<String>())?;
        let status = response.status();
        let mut read = 0;
        while read < MAX_ANSWER {
            match response.chunk().await {
                Ok(Some(chunk)) => read += chunk.len(),
                Ok(None) | Err(_) => break,
            }
        }
        match status {
            _ if status.is_success() => Ok(()),
            _ if status.is_redirection() => Err(format!("answered {status}: redirects are not followed")),
            _ => Err(format!("answered {status}")),
        }
    }
}

/// Certificates of receivers are good when this host's own programs would take them.
fn tls() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Verifier::new(provider.clone()).map(Arc::new);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("the provider has the default versions"));
    match roots {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "this host trusts no certificate authority: webhooks over https cannot be reached");
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    }
}

/// What was at the bottom of an error: the layers above say only that there is one.
fn explained(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
