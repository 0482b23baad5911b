//! As much of HTTP as one call needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

/// One call.
pub(crate) struct Call {
    pub(crate) method: String,
    /// What follows `/api/v1/`.
    pub(crate) name: String,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn read(stream: &mut UnixStream) -> io::Result<Self> {
        let mut from = BufReader::new(stream);
        let mut line = String::new();
        from.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut length = 0;
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        let name = path.strip_prefix("/api/v1/").unwrap_or_default().to_owned();
        Ok(Self { method, name, body })
    }
}

/// What is answered.
pub(crate) struct Answer {
    status: &'static str,
    body: String,
}

impl Answer {
    pub(crate) fn done() -> Self {
        Self { status: "204 No Content", body: String::new() }
    }

    pub(crate) fn told(body: &Value) -> Self {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Self { status: "200 OK", body }
    }

    pub(crate) fn refused(why: &str) -> Self {
        Self { status: "500 Internal Server Error", body: json!(["Error from API", why]).to_string() }
    }

    pub(crate) fn unknown() -> Self {
        Self { status: "404 Not Found", body: String::new() }
    }

    pub(crate) fn write(&self, stream: &mut UnixStream) -> io::Result<()> {
        let length =
            if self.status.starts_with("204") { String::new() } else { format!("Content-Length: {}\r\n", self.body.len()) };
        let head = format!("HTTP/1.1 {}\r\nServer: Cloud Hypervisor API\r\nConnection: keep-alive\r\n{length}\r\n", self.status);
        stream.write_all(head.as_bytes())?;
        stream.write_all(self.body.as_bytes())
    }
}
