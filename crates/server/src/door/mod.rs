//! The door of the REST API: who gets a connection, how many, and how patient it is with them.
//!
//! Everything that can be made slow on purpose has a deadline here (the TLS handshake, the head of a request, a client that does
//! not read its answer), and everything that can be made many has a number. What a request may do is no business of the door.

mod connection;
mod crowd;
mod farewell;
mod limits;
mod slots;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::buckets::{Buckets, Rate};
use crate::origin::Origin;
use crate::refusals::{Limit, Refusals};
use crate::rest::Api;
use crate::tls::ApiTls;
use connection::Connections;
use crowd::Crowd;
pub use limits::DoorLimits;
use slots::Slots;

/// After an error of `accept` itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two lines of the log about connections that were turned away.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Connections over the limit that are told so at the same time; more are closed without a word.
const FAREWELLS: usize = 64;

/// A door, open until it is told to stop.
pub(crate) struct Door {
    listener: TcpListener,
    connections: Arc<Connections>,
    slots: Slots,
    crowd: Crowd,
    handshakes: Option<Buckets<Origin>>,
    turned_away: TurnedAway,
    refusals: Arc<Refusals>,
    /// Places for connections that are told why they are closed; None where TLS is spoken.
    farewells: Option<Arc<Semaphore>>,
}

impl Door {
    /// Serves `api` to whom `listener` brings; with `tls` over TLS alone.
    pub(crate) fn new(
        listener: TcpListener,
        api: Api,
        tls: Option<Arc<ApiTls>>,
        limits: DoorLimits,
        refusals: Arc<Refusals>,
    ) -> Self {
        let rate = Rate { per_second: limits.handshakes_per_second, burst: limits.handshakes_per_second.saturating_mul(2) };
        Self {
            listener,
            handshakes: tls.is_some().then(|| Buckets::new(rate)),
            // What TLS is spoken on is closed at once: an answer would cost the handshake that is to be saved.
            farewells: tls.is_none().then(|| Arc::new(Semaphore::new(FAREWELLS))),
            connections: Arc::new(Connections::new(api, tls, limits, refusals.clone())),
            refusals,
            slots: Slots::new(limits.within_files()),
            crowd: Crowd::default(),
            turned_away: TurnedAway::default(),
        }
    }

    /// Accepts until `stop`; then no connection is accepted, and those there are end with the request under way. Dropped, it ends
    /// them all.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let cut = CancellationToken::new();
        let _all = cut.clone().drop_guard();
        let open = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, address)) => self.admit(tcp, address, &open, (&stop, &cut)),
                Err(error) if of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the REST API cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        open.close();
        open.wait().await;
    }

    fn admit(
        &mut self,
        tcp: TcpStream,
        address: SocketAddr,
        open: &TaskTracker,
        (stop, cut): (&CancellationToken, &CancellationToken),
    ) {
        let origin = Origin::of(address.ip());
        if self.handshakes.as_ref().is_some_and(|handshakes| handshakes.take(origin).is_err()) {
            self.refusals.count(Limit::Handshakes);
            return self.turned_away.count(address, "it opens connections too fast");
        }
        match self.slots.take(origin) {
            Ok(slot) => {
                let (connections, stop, cut) = (self.connections.clone(), stop.clone(), cut.clone());
                self.crowd.spawn(tcp, open, move |tcp| async move {
                    tokio::select! {
                        () = connections.serve(tcp, address, slot, &stop) => {}
                        () = cut.cancelled() => {}
                    }
                });
            }
            Err(full) => {
                let why = full.why();
                self.refusals.count(Limit::Connections);
                self.turned_away.count(address, why);
                let place = self.farewells.as_ref().and_then(|places| places.clone().try_acquire_owned().ok());
                if let Some(place) = place {
                    open.spawn(async move {
                        farewell::say(tcp, why).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

/// The client hung up before it was accepted.
fn of_the_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Connections that were turned away, told in the log now and then: a line for each would be a flood of its own.
#[derive(Default)]
struct TurnedAway {
    count: u64,
    told: Option<tokio::time::Instant>,
}

impl TurnedAway {
    fn count(&mut self, address: SocketAddr, why: &str) {
        self.count += 1;
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        tracing::warn!(%address, count = self.count, "turned a connection from {address} away: {why}");
        (self.count, self.told) = (0, Some(tokio::time::Instant::now()));
    }
}
