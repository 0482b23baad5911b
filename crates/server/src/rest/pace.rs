//! How fast the body of a request comes: one that trickles in is ended, one that is large and comes on is waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use ring_api::errors::ErrorCode;
use tokio::time::Instant;

use super::CallerLimits;
use super::error::{ApiError, Result};

/// The time of one request. Copies are the same.
#[derive(Clone)]
pub(super) struct Pace {
    limits: CallerLimits,
    reading: Arc<Mutex<Reading>>,
}

#[derive(Clone, Copy, Default)]
struct Reading {
    /// Since when the body is being read.
    since: Option<Instant>,
    /// How long that took, once it is there.
    took: Duration,
}

/// What a body came to.
enum Came {
    Bytes(std::result::Result<Bytes, axum::Error>),
    Late(&'static str),
}

impl Pace {
    /// Of a request that has just come.
    pub(super) fn new(limits: CallerLimits) -> Self {
        Self { limits, reading: Arc::default() }
    }

    /// Returns when the request has taken so long, the time in which its body came aside.
    pub(super) async fn over(&self, time: Duration) {
        let start = Instant::now();
        loop {
            let end = start + time + self.spent();
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    fn spent(&self) -> Duration {
        let reading = *self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.took + reading.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// When it does not come in time.
    pub(super) async fn read<T, F>(&self, request: Request, read: impl FnOnce(Request) -> F) -> Result<T>
    where
        F: Future<Output = T>,
    {
        self.set(|reading| reading.since = Some(Instant::now()));
        let late = Arc::new(Mutex::new(None));
        let result = read(request.map(|body| timed(body, self.limits, late.clone()))).await;
        self.set(|reading| {
            reading.took += reading.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        });
        let why = late.lock().unwrap_or_else(PoisonError::into_inner).take();
        why.map_or(Ok(result), |why: &str| Err(ApiError::new(ErrorCode::RequestSlow, why)))
    }

    fn set(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.reading.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A body that ends in an error when it comes too slowly; `late` has the reason then.
fn timed(body: Body, limits: CallerLimits, late: Arc<Mutex<Option<&'static str>>>) -> Body {
    if body.size_hint().exact() == Some(0) {
        return body;
    }
    let end = Instant::now() + limits.body;
    Body::from_stream(stream::unfold(Some(body.into_data_stream()), move |data| {
        let late = late.clone();
        async move {
            let mut data = data?;
            match next(&mut data, limits.body_silence, end).await? {
                Came::Bytes(bytes) => Some((bytes, Some(data))),
                Came::Late(why) => {
                    *late.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                    Some((Err(axum::Error::new(why)), None))
                }
            }
        }
    }))
}

async fn next(data: &mut BodyDataStream, silence: Duration, end: Instant) -> Option<Came> {
    tokio::select! {
        bytes = data.next() => bytes.map(Came::Bytes),
        () = tokio::time::sleep(silence) => Some(Came::Late("the next bytes of the body did not come in time")),
        () = tokio::time::sleep_until(end) => Some(Came::Late("the whole of the body did not come in time")),
    }
}
