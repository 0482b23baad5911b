//! The two Docker API calls any client has to make to start a container: the floor of every comparison.

use std::path::Path;

use anyhow::{Context, Result};
use hyper::Method;
use serde_json::json;

use crate::connection::Connection;

/// Creates and starts a container in a network, by a kept connection.
pub async fn create_and_start(
    connection: &mut Connection,
    name: &str,
    (image, command): (&str, &[&str]),
    network: &str,
) -> Result<()> {
    let body = json!({ "Image": image, "Cmd": command, "HostConfig": { "NetworkMode": network } }).to_string();
    let created = connection.send(Method::POST, &format!("/containers/create?name={name}"), body).await?.json()?;
    let id = created["Id"].as_str().context("no id of the container")?;
    connection.send(Method::POST, &format!("/containers/{id}/start"), "").await?.success()
}

/// A connection to the daemon at `socket`.
pub async fn connect(socket: &Path) -> Result<Connection> {
    Connection::open_unix(socket).await
}
