//! One attempt to deliver: one signed POST.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use ring_api::tls::{self, System, TlsFailure, Verifier};
use ring_controller::{Attempt, Deliver, NotTaken};
use ring_types::Span;
use rustls::ClientConfig;

use super::WebhookOptions;
use super::names::{self, Guarded, Names};
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
        Self::over(Arc::new(names::System), secret, options)
    }

    pub(super) fn over(names: Arc<dyn Names>, secret: SecretKey, options: WebhookOptions) -> Self {
        let guarded = Arc::new(Guarded { names, allow_local: options.allow_local });
        let client = Client::builder()
            .dns_resolver(guarded)
            // A proxy would dial in our place, past the guard.
            .no_proxy()
            .tls_backend_preconfigured(tls(&options))
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
            _ if let Some(failure) = tls::failure(error) => untrusted(&failure),
            _ if error.is_timeout() => format!("no answer within {} s", self.options.timeout.as_secs_f32()),
            _ if error.is_connect() => format!("no connection: {}", explained(error)),
            _ => explained(error),
        }
    }
}

#[async_trait]
impl Deliver for HttpDeliverer {
    async fn deliver(&self, attempt: Attempt) -> Result<(), NotTaken> {
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
            _ if status.is_redirection() => Err(format!("answered {status}: redirects are not followed").into()),
            _ => Err(NotTaken { why: format!("answered {status}"), after: asked(&response) }),
        }
    }
}

/// How long a receiver that is overburdened asks to be left alone: seconds, or until a time.
fn asked(response: &Response) -> Option<Span> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    retry_after(text, SystemTime::now())
}

fn retry_after(text: &str, now: SystemTime) -> Option<Span> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Span(seconds.saturating_mul(1000)));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let left = until.duration_since(now).unwrap_or_default();
    Some(Span(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
}

/// Certificates of receivers are good when this host's own programs would take them, or one of the authorities of the
/// configuration signed them.
fn tls(options: &WebhookOptions) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let system = System::new(&options.authorities, &provider);
    if !system.believes_somebody() {
        tracing::warn!("this host trusts no certificate authority: webhooks over https cannot be reached");
    }
    ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("the provider has the default versions"))
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(system, &provider)))
        .with_no_client_auth()
}

/// Why a receiver is not believed, for who looks after it and who looks after the control nodes.
fn untrusted(failure: &TlsFailure) -> String {
    match failure {
        TlsFailure::Unknown(fingerprint) => format!(
            "its certificate is of no authority this control node trusts (its fingerprint is {fingerprint}); \
             `[server.webhooks] ca_file` adds one"
        ),
        TlsFailure::Expired => "its certificate has expired".to_owned(),
        TlsFailure::NotYet => "its certificate is not valid yet".to_owned(),
        other => other.to_string(),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, wanted) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), wanted.map(Span), "{text}");
        }
    }
}
