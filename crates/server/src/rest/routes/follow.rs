//! Streams that go on: server-sent events with an id each, so that a client whose control node dies goes on at another.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::still::Still;

/// Something on an idle stream, so that both ends see when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a source gives.
pub(super) enum Item {
    /// One object.
    Event(Event),
    /// There will be no more: the client need not come back.
    End,
    /// This server cannot go on; another may.
    Stop,
}

impl Item {
    /// One object as JSON.
    pub(super) fn data(id: String, object: &impl Serialize) -> Self {
        Event::default().id(id).json_data(object).map_or(Self::Stop, Self::Event)
    }

    /// One object of another kind: not a place to go on from.
    pub(super) fn named(name: &str, object: &impl Serialize) -> Self {
        Event::default().event(name).json_data(object).map_or(Self::Stop, Self::Event)
    }
}

/// Where objects come from.
pub(super) trait Source: Send + 'static {
    /// The next one.
    fn next(&mut self) -> impl Future<Output = Item> + Send;
}

/// The id a client saw last.
pub(super) fn last_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id").and_then(|id| id.to_str().ok())
}

/// Streams a source until its end, the server's, or that of what let it begin: a client that comes back is told then why it may not.
pub(super) fn respond<S: Source>(source: S, still: Still, stop: CancellationToken) -> Response {
    let stream = futures::stream::unfold(Some((source, Box::pin(still.ends()))), move |following| {
        let stop = stop.clone();
        async move {
            let (mut source, mut ends) = following?;
            let item = tokio::select! {
                biased;
                () = stop.cancelled() => Item::Stop,
                _ = &mut ends => Item::Stop,
                item = source.next() => item,
            };
            match item {
                Item::Event(event) => Some((Ok::<_, Infallible>(event), Some((source, ends)))),
                Item::End => Some((Ok(Event::default().event("end").data("end")), None)),
                Item::Stop => None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
