//! Between a driver and its engine: everything passes, but the end of an output that is followed.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Ends with the test's runtime.
pub(crate) struct Silent {
    dir: tempfile::TempDir,
    _accepting: JoinHandle<()>,
}

impl Silent {
    /// In front of the engine at `unix://PATH`.
    pub(crate) fn before(host: &str) -> Self {
        let engine = PathBuf::from(host.strip_prefix("unix://").unwrap());
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let engine = engine.clone();
                tokio::spawn(async move { pass(client, &engine).await });
            }
        });
        Self { dir, _accepting: accepting }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("engine.sock").display())
    }
}

/// A connection. What asks for an output to be followed is the last request on it, as its answer has no end here.
async fn pass(client: UnixStream, engine: &Path) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = UnixStream::connect(engine).await?.into_split();
    let (follows, followed) = tokio::sync::watch::channel(false);
    let asking = async move {
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return Ok::<_, io::Error>(());
            }
            if String::from_utf8_lossy(&bytes[..read]).contains("follow=true") {
                follows.send_replace(true);
            }
            to_engine.write_all(&bytes[..read]).await?;
        }
    };
    let answering = async move {
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_engine.read(&mut bytes).await?;
            let end = read == 0 || bytes[..read].ends_with(b"0\r\n\r\n");
            if end && *followed.borrow() {
                let told = read.saturating_sub(5);
                to_client.write_all(&bytes[..told]).await?;
                return std::future::pending::<io::Result<()>>().await;
            }
            if read == 0 {
                return Ok(());
            }
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}
