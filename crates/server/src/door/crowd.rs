//! Threads of their own for connections beyond the first few.
//!
//! A request of a client that is alone passes from task to task on one thread, which is the quickest. Many clients would keep that
//! thread from what else it does: the log, heartbeats, agents. So whoever comes when there are a few connections already is
//! served by other threads.

use std::future::Future;
use std::sync::OnceLock;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

/// Connections the threads of the node serve themselves.
const FEW: usize = 16;

/// The threads, as many again as the node has, which are there once they are needed.
#[derive(Default)]
pub(super) struct Crowd {
    runtime: OnceLock<Option<Runtime>>,
}

impl Crowd {
    /// Serves a connection beside those that are `open`, to which it is added.
    pub(super) fn spawn<F, S>(&self, tcp: TcpStream, open: &TaskTracker, serve: S)
    where
        S: FnOnce(TcpStream) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(threads) = (open.len() >= FEW).then(|| self.threads()).flatten() else {
            open.spawn(serve(tcp));
            return;
        };
        // A socket is awaited where it is served: it changes hands.
        let _there = threads.enter();
        match tcp.into_std().and_then(TcpStream::from_std) {
            Ok(tcp) => drop(open.spawn_on(serve(tcp), threads)),
            Err(error) => tracing::warn!("a connection could not be served: {error}"),
        }
    }

    /// None where there can be no more threads.
    fn threads(&self) -> Option<&Handle> {
        let runtime = self.runtime.get_or_init(|| {
            let threads = Handle::current().metrics().num_workers();
            let built = Builder::new_multi_thread().worker_threads(threads).thread_name("ring-api").enable_all().build();
            built.inspect_err(|error| tracing::warn!("no threads for many connections: {error}")).ok()
        });
        runtime.as_ref().map(Runtime::handle)
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

    /// Serves a connection beside so many others, and says on which thread.
    async fn thread(crowd: &Crowd, others: usize) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let open = TaskTracker::new();
        let _others: Vec<_> = (0..others).map(|_| open.token()).collect();
        crowd.spawn(server, &open, |mut tcp| async move {
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
        assert_eq!(thread(&crowd, FEW).await, "ring-api");
    }

    #[tokio::test]
    async fn what_is_served_ends_with_it() {
        let (crowd, open) = (Crowd::default(), TaskTracker::new());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let others: Vec<_> = (0..FEW).map(|_| open.token()).collect();
        crowd.spawn(server, &open, |tcp| async move {
            let _held = tcp;
            std::future::pending::<()>().await;
        });
        drop((crowd, others));
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
        open.close();
        open.wait().await;
    }
}
