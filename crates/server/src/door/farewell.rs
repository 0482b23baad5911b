//! What a connection is told for which there is no place, over plain HTTP.

use std::io;
use std::time::Duration;

use ring_api::errors::ErrorCode;
use ring_api::problem::{MEDIA_TYPE, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// When to come again, seconds: connections end when somebody ends them.
const COME_AGAIN: u64 = 5;
/// Longest time for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says why and closes. Nothing of the request is looked at.
pub(super) async fn say(tcp: TcpStream, why: &str) {
    // Whoever does not listen has not heard it.
    let _ = tokio::time::timeout(PATIENCE, told(tcp, why)).await;
}

async fn told(mut tcp: TcpStream, why: &str) -> io::Result<()> {
    let problem = Problem::new(ErrorCode::ServerBusy, format!("this control node has no place for the connection: {why}"));
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\nretry-after: {COME_AGAIN}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    tcp.write_all(&[head.as_bytes(), &body].concat()).await?;
    tcp.shutdown().await?;
    // Closed with bytes that nobody has read, the connection would be reset, and the answer could be lost with it.
    let mut rest = [0; 4096];
    while tcp.read(&mut rest).await? > 0 {}
    Ok(())
}
