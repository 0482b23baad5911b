//! One request, over as many control nodes and attempts as it takes.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use super::Client;
use super::error::{ClientError, Failure};
use crate::IDEMPOTENCY_KEY;
use crate::errors::ErrorCode;
use crate::problem::{self, Problem};
use crate::tls;

/// A request, ready to be sent again.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Path and query, from the root.
    pub(super) path: &'a str,
    body: Option<Vec<u8>>,
    key: Option<String>,
}

impl<'a> Request<'a> {
    pub(super) fn new(method: Method, path: &'a str) -> Self {
        let key = (method != Method::GET).then(|| Uuid::new_v4().to_string());
        Self { method, path, body: None, key }
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        self.body = Some(serde_json::to_vec(body).map_err(|error| ClientError::Setup(error.to_string()))?);
        Ok(self)
    }
}

/// How one attempt ended without a result.
pub(super) enum Miss {
    /// Nobody there, or the answer was lost.
    Unreachable(Failure),
    /// It cannot serve now; perhaps another can, perhaps it can later.
    Unavailable(Box<Problem>, Option<Duration>),
    /// It cannot be trusted; perhaps another can.
    Untrusted(ClientError),
    /// The answer is an error that does not go away.
    Final(ClientError),
}

/// First pause between two rounds over all nodes; doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Client {
    /// Sends a request until it has an answer, and reads it.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, ClientError> {
        self.until_answered(|index| self.attempt(&request, index)).await
    }

    /// Goes over the nodes, again and again, until one attempt has a result or patience is over.
    pub(super) async fn until_answered<T, F: Future<Output = Result<T, Miss>>>(
        &self,
        attempt: impl Fn(usize) -> F,
    ) -> Result<T, ClientError> {
        let start = Instant::now();
        let mut pause = PAUSE;
        loop {
            let (error, wait) = match self.round(&attempt).await {
                Ok(result) => return result,
                Err(missed) => missed,
            };
            let patience = match error {
                ClientError::Unreachable(_) => self.patience.unreachable,
                _ => self.patience.unavailable,
            };
            let wait = wait.unwrap_or(pause);
            if start.elapsed() + wait > patience {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt at each node. `Err` means that nobody served; an answered `Unavailable` says more than silence does.
    async fn round<T, F: Future<Output = Result<T, Miss>>>(
        &self,
        attempt: impl Fn(usize) -> F,
    ) -> Result<Result<T, ClientError>, (ClientError, Option<Duration>)> {
        let (mut failures, mut untrusted, mut unavailable) = (Vec::new(), None, None);
        let order: Vec<usize> = self.hosts.in_order().map(|(index, _)| index).collect();
        for index in order {
            match attempt(index).await {
                Ok(result) => {
                    self.hosts.prefer(index);
                    return Ok(Ok(result));
                }
                Err(Miss::Final(error)) => return Ok(Err(error)),
                Err(Miss::Untrusted(error)) => untrusted = Some(error),
                Err(Miss::Unreachable(failure)) => failures.push(failure),
                // Who asks too much does not ask the next one.
                Err(Miss::Unavailable(problem, wait)) if problem.status == 429 => {
                    return Err((ClientError::Problem(problem), wait));
                }
                Err(Miss::Unavailable(problem, wait)) => unavailable = Some((ClientError::Problem(problem), wait)),
            }
        }
        match (unavailable, untrusted) {
            (Some(unavailable), _) => Err(unavailable),
            // It will be no other one in a moment.
            (None, Some(error)) => Ok(Err(error)),
            (None, None) => Err((ClientError::Unreachable(failures), None)),
        }
    }

    /// As [`Self::call`], with the headers of the reply.
    pub(super) async fn call_with_headers<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
    ) -> Result<(T, header::HeaderMap), ClientError> {
        self.until_answered(|index| self.attempt_with_headers(&request, index)).await
    }

    async fn attempt<T: DeserializeOwned>(&self, request: &Request<'_>, index: usize) -> Result<T, Miss> {
        self.attempt_with_headers(request, index).await.map(|(object, _)| object)
    }

    async fn attempt_with_headers<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
        index: usize,
    ) -> Result<(T, header::HeaderMap), Miss> {
        let (host, url) = self.address(index, request.path)?;
        let sent = self.builder(request, url).timeout(self.patience.attempt).send().await;
        let response = sent.map_err(|error| unreachable(&host, &error))?;
        let mut response = accepted(&host, response).await?;
        let headers = std::mem::take(response.headers_mut());
        let bytes = response.bytes().await.map_err(|error| unreachable(&host, &error))?;
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes)
            .map(|object| (object, headers))
            .map_err(|error| Miss::Final(ClientError::Unexpected { host, reason: format!("{}: {error}", request.path) }))
    }

    /// Opens a stream at the first node that serves; `last` is the id of the last event seen.
    pub(super) async fn open(&self, path: &str, last: Option<&str>) -> Result<Response, ClientError> {
        let request = Request::new(Method::GET, path);
        self.until_answered(|index| self.open_at(&request, index, last)).await
    }

    async fn open_at(&self, request: &Request<'_>, index: usize, last: Option<&str>) -> Result<Response, Miss> {
        let (host, url) = self.address(index, request.path)?;
        let mut builder = self.builder(request, url).header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            builder = builder.header("last-event-id", last);
        }
        let sent = tokio::time::timeout(self.patience.attempt, builder.send()).await;
        let response = match sent {
            Ok(response) => response.map_err(|error| unreachable(&host, &error))?,
            Err(_) => return Err(Miss::Unreachable(Failure { host, reason: "no answer in time".to_owned() })),
        };
        accepted(&host, response).await
    }

    pub(super) fn address(&self, index: usize, path: &str) -> Result<(String, Url), Miss> {
        let found = self.hosts.in_order().find(|(i, _)| *i == index).map(|(_, url)| url);
        let url = found.and_then(|base| Some((short(base), base.join(path).ok()?)));
        url.ok_or_else(|| Miss::Final(ClientError::Setup(format!("'{path}' is not a path"))))
    }

    fn builder(&self, request: &Request<'_>, url: Url) -> reqwest::RequestBuilder {
        self.builder_of(&self.http, request, url)
    }

    /// A request with what every request carries.
    pub(super) fn builder_of(&self, http: &reqwest::Client, request: &Request<'_>, url: Url) -> reqwest::RequestBuilder {
        let mut builder = http.request(request.method.clone(), url);
        if let Some(token) = &self.token {
            builder = builder.bearer_auth(token);
        }
        if let Some(key) = &request.key {
            builder = builder.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(body) = &request.body {
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        builder
    }
}

fn short(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

pub(super) fn unreachable(host: &str, error: &reqwest::Error) -> Miss {
    if let Some(failure) = tls::failure(error) {
        return Miss::Untrusted(ClientError::Tls { host: host.to_owned(), failure });
    }
    let reason = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        // The last cause is what people know: "Connection refused"; what is above it repeats the address.
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        cause.to_string()
    };
    Miss::Unreachable(Failure { host: host.to_owned(), reason })
}

/// Lets a good answer through and makes an error of any other.
pub(super) async fn accepted(host: &str, response: Response) -> Result<Response, Miss> {
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let wait = retry_after(&response);
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(problem::MEDIA_TYPE.as_bytes()));
    let body = response.bytes().await.unwrap_or_default();
    let parsed = if is_problem { serde_json::from_slice::<Problem>(&body).ok() } else { None };
    let later = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let mut problem = match parsed {
        Some(problem) => problem,
        None if later => Problem::new(ErrorCode::Foreign, format!("{host} answered {status}")),
        None => {
            let reason = format!("{status} without a description: is this the REST port of ring?");
            return Err(Miss::Final(ClientError::Unexpected { host: host.to_owned(), reason }));
        }
    };
    problem.status = status.as_u16();
    let problem = Box::new(problem);
    Err(if later { Miss::Unavailable(problem, wait) } else { Miss::Final(ClientError::Problem(problem)) })
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
