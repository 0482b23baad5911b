//! Threads of their own for connections beyond the first few.
//!
//! A request of a client that is alone passes from task to task on one thread, which is the quickest. Many clients would keep that
//! thread from what else it does: the log, heartbeats, agents. So whoever comes when there are a few connections already is
//! served by other threads.

use std::future::Future;
use std::num::NonZero;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

/// Connections the threads of the node serve themselves.
const FEW: usize = 16;
/// Most threads for the others.
const MOST: usize = 8;

/// The threads, which are there once they are needed.
#[derive(Default)]
pub(super) struct Crowd {
    runtime: OnceLock<Option<Runtime>>,
}

impl Crowd {
    /// Serves a connection, of which there are `others`, and follows it with `open`.
    pub(super) fn spawn<F, S>(&self, others: usize, tcp: TcpStream, open: &TaskTracker, serve: S)
    where
        S: FnOnce(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(threads) = (others >= FEW).then(|| self.threads()).flatten() else {
            open.spawn(serve(tcp));
            return;
        };
        // A socket is awaited where it is served: it changes hands.
        let Ok(tcp) = tcp.into_std() else { return };
        let moved = async move {
            match TcpStream::from_std(tcp) {
                Ok(tcp) => serve(tcp).await,
                Err(error) => tracing::warn!("a connection could not be served: {error}"),
            }
        };
        open.spawn_on(moved, &threads);
    }

    /// None on a machine with one processor, and where there can be no more threads.
    fn threads(&self) -> Option<Handle> {
        let runtime = self.runtime.get_or_init(|| {
            let threads = available_parallelism().map_or(1, NonZero::get) / 2;
            let mut builder = Builder::new_multi_thread();
            let built =
                (threads > 0).then(|| builder.worker_threads(threads.min(MOST)).thread_name("ring-api").enable_all().build());
            built?.inspect_err(|error| tracing::warn!("no threads for many connections: {error}")).ok()
        });
        runtime.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Crowd {
    /// Waits for nothing: whoever drops it is asynchronous.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// Serves a connection as one of so many more, and says on which thread.
    async fn thread(crowd: &Crowd, others: usize) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        crowd.spawn(others, server, &TaskTracker::new(), |mut tcp| async move {
            // What came over the socket shows that it is awaited where it is served.
            let mut byte = [0];
            tcp.read_exact(&mut byte).await.unwrap();
            tcp.write_all(&byte).await.unwrap();
            tell.send(std::thread::current().name().unwrap_or_default().to_owned()).unwrap();
        });
        client.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
        told.recv().await.unwrap()
    }

    #[tokio::test]
    async fn the_first_connections_stay_and_others_have_threads_of_their_own() {
        let crowd = Crowd::default();
        let own = std::thread::current().name().unwrap_or_default().to_owned();
        assert_eq!(thread(&crowd, 0).await, own);
        assert_eq!(thread(&crowd, FEW - 1).await, own);
        let alone = available_parallelism().map_or(1, NonZero::get) == 1;
        assert_eq!(thread(&crowd, FEW).await, if alone { own.as_str() } else { "ring-api" });
    }

    #[tokio::test]
    async fn what_is_served_ends_with_it() {
        let (crowd, open) = (Crowd::default(), TaskTracker::new());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        crowd.spawn(FEW, server, &open, |tcp| async move {
            let _held = tcp;
            std::future::pending::<()>().await;
        });
        if crowd.threads().is_none() {
            return;
        }
        drop(crowd);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
        open.close();
        open.wait().await;
    }
}
