//! `ring secret rotate-key`

use clap::Args;
use ring_api::model::KeyRotation;

use super::poll::poll;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Reply;
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
    let done = poll(
        args.timeout,
        async || client.key_rotation().await,
        |now, board| {
            if now.done {
                return Ok(Some(now));
            }
            if now.left > 0 && now.left == now.unreadable.len() as u64 {
                return Err(stuck(&now));
            }
            board.show("rotation", format!("data key {}: {} to go", now.key, values(now.left)));
            Ok(None)
        },
    );
    if let Some(rotation) = done.await? {
        return Ok(told(&rotation));
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
