//! `ring secret rotate-key`

use std::time::Duration;

use clap::Args;
use ring_api::client::Client;
use ring_api::model::KeyRotation;
use tokio::time::{Instant, sleep, timeout};

use super::wait::{LONGEST_PAUSE, OUTAGE, PAUSE};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Board, Reply};
use crate::time::{shown, span, took};

#[derive(Debug, Args)]
pub(crate) struct RotateKey {
    /// Do not wait until every value is sealed with the new key
    #[arg(short, long)]
    detach: bool,
    /// Show how far a rotation is, and start none
    #[arg(long, conflicts_with = "detach")]
    status: bool,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", value_parser = span)]
    timeout: Option<ring_types::Span>,
}

pub(crate) async fn run(context: &Context, args: RotateKey) -> Result<Reply, CliError> {
    let client = context.client()?;
    if args.status {
        return Ok(told(&client.key_rotation().await?));
    }
    let begun = client.rotate_key().await?.object;
    if args.detach {
        return Ok(told(&begun).note("see how far it is: ring secret rotate-key --status"));
    }
    let limit = args.timeout.map_or(Duration::MAX, ring_types::Span::duration);
    let waiting = timeout(limit, settled(&client, begun));
    let done = tokio::select! {
        done = waiting => done,
        _ = tokio::signal::ctrl_c() => return Err(CliError::Interrupted),
    };
    if let Ok(done) = done {
        return done.map(|rotation| told(&rotation));
    }
    let after = args.timeout.map(took).unwrap_or_default();
    Err(CliError::TimedOut(format!("after {after} values are still sealed with an older key; the rotation goes on")))
}

/// One line that says where it stands.
fn told(rotation: &KeyRotation) -> Reply {
    let key = rotation.key;
    let text = match (key, rotation.done) {
        (0, _) => "this cluster has no data key yet: its secret key itself seals values".to_owned(),
        (_, true) => format!("data key {key} seals everything{}", made(rotation)),
        (_, false) => format!("data key {key}: {} still to be sealed with it", values(rotation.left)),
    };
    let broken = rotation.unreadable.iter().map(|what| format!("{what} does not open: give it a new value, or delete it"));
    Reply::line(text).warn(broken)
}

fn made(rotation: &KeyRotation) -> String {
    rotation.created_at.map(|at| format!(" (made {})", shown(at))).unwrap_or_default()
}

fn values(count: u64) -> String {
    if count == 1 { "1 value".to_owned() } else { format!("{count} values") }
}

/// Waits until nothing is sealed with an older key.
async fn settled(client: &Client, begun: KeyRotation) -> Result<KeyRotation, CliError> {
    let (mut board, mut pause, mut last_answer) = (Board::start(), PAUSE, Instant::now());
    let mut now = begun;
    loop {
        if now.done {
            return Ok(now);
        }
        if now.left > 0 && now.left == now.unreadable.len() as u64 {
            return Err(stuck(&now));
        }
        board.show("rotation", format!("data key {}: {} to go", now.key, values(now.left)));
        board.shown();
        sleep(pause).await;
        pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
        match client.key_rotation().await {
            Ok(found) => (now, last_answer) = (found, Instant::now()),
            Err(error) if error.retryable() && last_answer.elapsed() < OUTAGE => board.say(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is left does not open: only a new value helps.
fn stuck(rotation: &KeyRotation) -> CliError {
    CliError::Failed {
        message: format!("{} cannot be sealed with data key {}: the old key is kept", values(rotation.left), rotation.key),
        details: rotation.unreadable.clone(),
        hint: Some("give each a new value (`ring secret create`, `ring apply`) or delete it; the rotation ends by itself".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Screen;

    fn rotation(key: u64, done: bool, left: u64) -> KeyRotation {
        KeyRotation { key, created_at: None, done, left, unreadable: Vec::new() }
    }

    #[test]
    fn a_rotation_is_told_in_one_line() {
        let text = |rotation| told(&rotation).text(Screen::default()).unwrap();
        assert_eq!(text(rotation(0, true, 3)), "this cluster has no data key yet: its secret key itself seals values");
        assert_eq!(text(rotation(2, true, 0)), "data key 2 seals everything");
        assert_eq!(text(rotation(2, false, 1)), "data key 2: 1 value still to be sealed with it");
    }

    #[test]
    fn what_holds_a_rotation_up_is_named() {
        let stuck = stuck(&KeyRotation { unreadable: vec!["secret shop/pass".into()], ..rotation(3, false, 1) });
        assert_eq!(stuck.to_string(), "1 value cannot be sealed with data key 3: the old key is kept");
    }
}
