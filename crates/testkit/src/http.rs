//! A plain HTTP client for tests, `curl` underneath, so that a request can be sent from inside any host of the lab.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::run_within;
use crate::place::Place;

/// One request being put together.
#[derive(Debug, Clone)]
pub struct Request {
    place: Place,
    method: String,
    url: String,
    headers: Vec<String>,
    body: Option<String>,
    timeout: Duration,
    authority: Option<PathBuf>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body as text.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("status {}, no JSON: {}", self.status, self.body))
    }
}

impl Request {
    /// A request with a timeout of 10 seconds, sent from this machine.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            place: Place::Here,
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(10),
            authority: None,
        }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Sends it from elsewhere.
    #[must_use]
    pub fn from(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        let mut request = self.header("Content-Type", "application/json");
        request.body = Some(body.to_string());
        request
    }

    /// Sets a body of any kind.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Trusts whom this authority vouches for, PEM, and nobody else.
    #[must_use]
    pub fn authority(mut self, file: &Path) -> Self {
        self.authority = Some(file.to_owned());
        self
    }

    /// Sets the time after which it is given up.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends it. Every status is an answer; an error means that there was none.
    pub fn send(self) -> Result<Response> {
        let mut curl = self.place.command("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--request", &self.method]);
        curl.args(["--max-time", &self.timeout.as_secs_f64().to_string()]);
        // Status and headers go to stderr, which leaves stdout to the body.
        curl.args(["--write-out", "%{stderr}%{http_code}\n%{header_json}"]);
        if let Some(file) = &self.authority {
            curl.arg("--cacert").arg(file);
        }
        for header in &self.headers {
            curl.args(["--header", header]);
        }
        // A file, because an argument has at most 128 KiB.
        let mut body_file = tempfile::NamedTempFile::new()?;
        if let Some(body) = &self.body {
            body_file.write_all(body.as_bytes())?;
            curl.arg("--data-binary").arg(format!("@{}", body_file.path().display()));
        }
        curl.arg(&self.url);
        let outcome = run_within(curl, self.timeout + Duration::from_secs(5))?;
        if !outcome.success() {
            bail!("{} {}: no answer: {}", self.method, self.url, outcome.stderr.lines().next().unwrap_or_default());
        }
        let (status, headers) = outcome.stderr.split_once('\n').context("curl reported no status")?;
        Ok(Response { status: status.trim().parse()?, headers: parse_headers(headers)?, body: outcome.stdout })
    }
}

/// curl gives each header a list of values; tests want the first.
fn parse_headers(json: &str) -> Result<BTreeMap<String, String>> {
    let lists: BTreeMap<String, Vec<String>> = serde_json::from_str(json)?;
    Ok(lists.into_iter().filter_map(|(name, values)| Some((name, values.into_iter().next()?))).collect())
}
