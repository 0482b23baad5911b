//! Server-sent events that go on across control nodes.

use std::collections::VecDeque;
use std::marker::PhantomData;

use reqwest::Response;
use serde::de::DeserializeOwned;

use super::{Client, ClientError};

/// A stream of objects. When its node dies it is taken up at another, after the last object seen.
pub struct Follow<T> {
    client: Client,
    path: String,
    response: Option<Response>,
    parser: Parser,
    last_id: Option<String>,
    /// Something came on the present connection.
    fruitful: bool,
    /// It is not the first connection.
    resumed: bool,
    ended: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Follow<T> {
    pub(super) fn new(client: Client, path: String) -> Self {
        Self {
            client,
            path,
            response: None,
            parser: Parser::default(),
            last_id: None,
            fruitful: false,
            resumed: false,
            ended: false,
            kind: PhantomData,
        }
    }

    /// The next object; None when the stream is at its end.
    ///
    /// # Errors
    /// [`ClientError`] when no node serves it, or it is refused.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(event) = self.parser.take() {
                self.fruitful = true;
                if event.name == "end" {
                    self.ended = true;
                    return Ok(None);
                }
                if event.id.is_some() {
                    self.last_id = event.id;
                }
                return self.object(&event.data).map(Some);
            }
            if self.ended || !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Goes on at another path, after the last object seen.
    pub(super) fn go_on_at(&mut self, path: String) {
        self.path = path;
        self.drop_connection();
    }

    fn object(&self, data: &str) -> Result<T, ClientError> {
        serde_json::from_str(data)
            .map_err(|error| ClientError::Unexpected { host: self.client.hosts.to_string(), reason: error.to_string() })
    }

    /// Reads some more; false at the end of the stream.
    async fn read(&mut self) -> Result<bool, ClientError> {
        if self.response.is_none() {
            self.response = Some(self.client.open(&self.path, self.last_id.as_deref()).await?);
            self.fruitful = false;
            self.parser = Parser::default();
        }
        let Some(response) = &mut self.response else { return Ok(true) };
        match tokio::time::timeout(self.client.patience.idle, response.chunk()).await {
            Ok(Ok(Some(bytes))) => self.parser.push(&bytes),
            // A server that closes in good order, and has nothing more when asked again, is at the end.
            Ok(Ok(None)) if self.resumed && !self.fruitful => self.ended = true,
            Ok(Ok(None)) => self.drop_connection(),
            Ok(Err(_)) | Err(_) => {
                self.client.hosts.next();
                self.drop_connection();
            }
        }
        Ok(!self.ended)
    }

    fn drop_connection(&mut self) {
        self.response = None;
        self.resumed = true;
    }
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    id: Option<String>,
    name: String,
    data: String,
}

/// Bytes to events. Longest line: 1 MiB; a longer one is cut there.
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    id: Option<String>,
    name: String,
    data: Option<String>,
    ready: VecDeque<Event>,
}

const MAX_LINE: usize = 1 << 20;

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.buffer);
                let line = String::from_utf8_lossy(&line);
                self.line(line.strip_suffix('\r').unwrap_or(&line));
            } else if self.buffer.len() < MAX_LINE {
                self.buffer.push(*byte);
            }
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let (id, data) = (self.id.take(), self.data.take());
            if data.is_some() || !name.is_empty() {
                self.ready.push_back(Event { id, name, data: data.unwrap_or_default() });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
    }

    fn take(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_the_bytes_are_cut() {
        let text = ": hello\n\nid: 1\ndata: {\"a\":\ndata: 1}\r\n\r\nevent: end\n\nid: 9\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            text.as_bytes().chunks(size).for_each(|chunk| parser.push(chunk));
            let first = parser.take().unwrap();
            assert_eq!((first.id.as_deref(), first.data.as_str()), (Some("1"), "{\"a\":\n1}"));
            assert_eq!(parser.take().unwrap().name, "end");
            assert_eq!(parser.take(), None);
        }
    }
}
