//! A snapshot of the whole state, as a file.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::rest::App;
use crate::rest::audit;
use crate::rest::auth::Caller;
use crate::rest::error::Result;
use crate::rest::read::View;
use crate::rest::write::Request;

/// Size of a piece, and how many wait for the connection.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;
/// A caller that takes nothing for so long gets no more.
const STALLED: Duration = Duration::from_mins(1);

/// The replicated state of one moment as a file, for `ring cluster snapshot restore`. The cluster works on meanwhile.
///
/// It has everything the cluster remembers: secrets sealed under the secret key, hashes of passwords and tokens, the sealed key of the
/// authority. So it takes the permission to change the cluster. A stream that breaks off has no SHA-256 at its end.
#[utoipa::path(get, path = "/cluster/snapshot", tag = "cluster",
    responses((status = 200, content((Vec<u8> = "application/octet-stream")))))]
pub(in crate::rest) async fn save(
    Shared(app): Shared<App>,
    caller: Caller,
    _current: View,
    request: Request,
) -> Result<Response> {
    let slot = app.caller_limit().streams().take(caller.token.id)?;
    app.record(audit::allowed(&request.1, None, None)).await?;
    let (to, pieces) = mpsc::channel(WAITING);
    let (store, stop) = (app.store.clone(), app.stop.clone());
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { to, gathered: Vec::with_capacity(PIECE), runtime, stop };
        if let Err(error) = store.backup(clock::now(), env!("CARGO_PKG_VERSION"), &mut out) {
            tracing::warn!(%error, "a snapshot was not sent to its end");
            // An error instead of a piece breaks the connection off: what came is not taken for a whole one.
            let _ = out.to.blocking_send(Err(error));
        }
        drop(slot);
    });
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// Gathers what is written into pieces, and waits for the connection with each.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
    runtime: Handle,
    stop: CancellationToken,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.stop.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "this control node is stopping"));
        }
        let piece = Bytes::from(std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE)));
        let sending = tokio::time::timeout(STALLED, self.to.send(Ok(piece)));
        match self.runtime.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the caller hung up")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the caller takes nothing")),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
