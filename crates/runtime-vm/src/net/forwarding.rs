//! Whether the host forwards packets at all.
//!
//! A host that did not before is not to become a router because a guest runs on it. The interfaces it had are written down when
//! forwarding is switched on, and nothing is forwarded from one of them to another; see [`super::rules`]. With the last guest it
//! is switched off again, unless something that needs it may have come since: an interface that is not ours.

use std::collections::BTreeSet;
use std::io;

use super::host::{Host, set};

const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Does the host forward?
pub(super) fn is_on() -> io::Result<bool> {
    Ok(std::fs::read_to_string(SETTING)?.trim() != "0")
}

pub(super) fn switch(on: bool) -> io::Result<()> {
    set("ipv4/ip_forward", if on { "1" } else { "0" })
}

/// The names of the interfaces that are not ours.
pub(super) async fn interfaces(host: &Host, taps: &str) -> io::Result<BTreeSet<String>> {
    let all = host.interfaces().await?;
    Ok(all.into_iter().map(|one| one.name).filter(|name| name != "lo" && !name.starts_with(taps)).collect())
}
