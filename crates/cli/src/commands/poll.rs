//! Waiting for something of the cluster itself, whatever control nodes do meanwhile.

use std::time::Duration;

use ring_api::client::ClientError;
use ring_types::Span;
use tokio::time::{Instant, sleep, timeout};

use super::wait::{LONGEST_PAUSE, OUTAGE, PAUSE};
use crate::error::CliError;
use crate::output::Board;

/// Looks, with growing pauses and through an outage, until `judge` has a result of what was found. None when `limit` is over first.
///
/// # Errors
/// What `judge` says, what the API says, [`CliError::Interrupted`] (Ctrl-C).
pub(super) async fn poll<T, R>(
    limit: Option<Span>,
    mut look: impl AsyncFnMut() -> Result<T, ClientError>,
    mut judge: impl FnMut(T, &mut Board) -> Result<Option<R>, CliError>,
) -> Result<Option<R>, CliError> {
    let mut board = Board::start();
    let looking = async {
        let (mut pause, mut last_answer) = (PAUSE, Instant::now());
        loop {
            match look().await {
                Ok(found) => {
                    last_answer = Instant::now();
                    if let Some(result) = judge(found, &mut board)? {
                        return Ok(result);
                    }
                    board.shown();
                }
                Err(error) if error.retryable() && last_answer.elapsed() < OUTAGE => board.say(error.to_string()),
                Err(error) => return Err(error.into()),
            }
            sleep(pause).await;
            pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
        }
    };
    tokio::select! {
        result = timeout(limit.map_or(Duration::MAX, Span::duration), looking) => result.ok().transpose(),
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    }
}
