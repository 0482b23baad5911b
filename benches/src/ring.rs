//! Writing to ring through its REST API, as any client does: a config object of its own for each client, replaced each time.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hyper::Method;
use ring_testkit::Cluster;
use serde_json::json;

use crate::connection::Connection;
use crate::load::{VALUE_BYTES, Writer};

/// Lines of a control node's configuration: one token makes all the load here.
pub const NO_LIMITS: &str = "[server.limits]\nrequests_per_second = 0\nanonymous_requests_per_second = 0\n";

/// The namespace everything measured is in.
pub const NAMESPACE: &str = "figures";

/// A config object to write to.
#[derive(Debug, Clone)]
pub struct Object {
    name: String,
    path: String,
}

impl Object {
    /// Makes `count` objects, one for each client.
    pub async fn make(address: SocketAddr, token: &str, count: usize) -> Result<Vec<Self>> {
        let mut connection = Connection::open(address).await?.bearer(token);
        let mut objects = Vec::with_capacity(count);
        for number in 0..count {
            let name = format!("c{number}");
            let body = body(&name, &"0".repeat(VALUE_BYTES));
            let answer = connection.send(Method::POST, "/configs", body).await?.json()?;
            let id = answer["id"].as_str().with_context(|| format!("no id in {answer}"))?;
            objects.push(Self { path: format!("/configs/{id}"), name });
        }
        Ok(objects)
    }
}

/// A client of ring with a connection of its own.
#[derive(Debug)]
pub struct RingWriter {
    address: SocketAddr,
    token: String,
    connection: Option<Connection>,
    object: Object,
}

impl RingWriter {
    /// Connects to `address`.
    pub async fn new(address: SocketAddr, token: &str, object: Object) -> Result<Self> {
        let connection = Connection::open(address).await?.bearer(token);
        Ok(Self { address, token: token.to_owned(), connection: Some(connection), object })
    }

    /// A client for each object; they are spread over `addresses`.
    pub async fn many(addresses: &[SocketAddr], token: &str, objects: &[Object]) -> Result<Vec<Self>> {
        let mut writers = Vec::with_capacity(objects.len());
        for (object, &address) in objects.iter().zip(addresses.iter().cycle()) {
            writers.push(Self::new(address, token, object.clone()).await?);
        }
        Ok(writers)
    }

    async fn connection(&mut self) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?.bearer(&self.token),
        };
        Ok(self.connection.insert(connection))
    }
}

impl Writer for RingWriter {
    async fn write(&mut self, value: &str) -> Result<()> {
        let body = body(&self.object.name, value);
        let path = self.object.path.clone();
        let sent = self.connection().await?.send(Method::PUT, &path, body).await;
        if sent.is_err() {
            self.connection = None;
        }
        sent?.success()
    }
}

fn body(name: &str, value: &str) -> String {
    json!({ "namespace": NAMESPACE, "name": name, "data": { "value": value } }).to_string()
}

/// Addresses of the REST APIs of all control nodes.
pub fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.controls().iter().map(ring_testkit::RingNode::api).collect()
}
