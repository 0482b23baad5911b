//! How long this host has had no contact with a control node, across restarts of the agent.
//!
//! Time is that since the boot of the host, the time it was suspended included: nobody sets it, and a host that wakes up knows how
//! long it slept. What counts as contact is a heartbeat that was answered, from when it was sent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring_types::Span;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What is on disk is at most so much older than what is known: an agent that starts again stops things so much too early.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// Since the boot of this host.
pub(crate) type SinceBoot = Duration;

/// Now, since the boot of this host.
pub(crate) fn since_boot() -> SinceBoot {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// The last contact with a control node.
pub(crate) struct Contact {
    path: PathBuf,
    host_boot: String,
    last: Mutex<Last>,
}

#[derive(Clone, Copy)]
struct Last {
    heard: SinceBoot,
    /// What is on disk.
    kept: Option<SinceBoot>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    host_boot: String,
    heard_ms: u64,
}

impl Contact {
    /// Goes on from what the run before kept in `dir`; without that, or after a boot of the host, from now.
    pub(crate) fn open(dir: &Path, host_boot: &str, now: SinceBoot) -> Self {
        let path = dir.join("contact");
        let kept = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        // What ran before the host went down does not run any more.
        let kept = kept.filter(|kept| kept.host_boot == host_boot).map(|kept| Duration::from_millis(kept.heard_ms));
        let last = Last { heard: kept.map_or(now, |kept| kept.min(now)), kept };
        Self { path, host_boot: host_boot.to_owned(), last: Mutex::new(last) }
    }

    /// A heartbeat that was sent then was answered.
    pub(crate) fn heard(&self, sent: SinceBoot) {
        let mut last = self.lock();
        last.heard = last.heard.max(sent);
    }

    /// How long ago that was.
    pub(crate) fn silence(&self, now: SinceBoot) -> Span {
        let silence = now.saturating_sub(self.lock().heard);
        Span(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX))
    }

    /// Has the last contact on disk, for the next run of the agent. Nothing is synced: what runs does not outlive the host.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let Last { heard, kept } = *self.lock();
        if kept.is_some_and(|kept| heard < kept + KEPT_EVERY) {
            return Ok(());
        }
        let heard_ms = u64::try_from(heard.as_millis()).unwrap_or(u64::MAX);
        let bytes = serde_json::to_vec(&Kept { host_boot: self.host_boot.clone(), heard_ms })?;
        let new = self.path.with_extension("new");
        fs::write(&new, bytes)?;
        fs::rename(&new, &self.path)?;
        self.lock().kept = Some(heard);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> SinceBoot {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_restart_does_not_forget_how_long_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let contact = Contact::open(dir.path(), "boot", at(100));
        assert_eq!(contact.silence(at(107)), Span::seconds(7), "counted from the start when nothing is known");
        contact.heard(at(120));
        contact.heard(at(110));
        assert_eq!(contact.silence(at(125)), Span::seconds(5));
        contact.keep().unwrap();
        assert_eq!(Contact::open(dir.path(), "boot", at(150)).silence(at(151)), Span::seconds(31));
        // Another boot of the host begins at zero, and nothing of before runs.
        assert_eq!(Contact::open(dir.path(), "other", at(10)).silence(at(12)), Span::seconds(2));
        fs::write(dir.path().join("contact"), "torn").unwrap();
        assert_eq!(Contact::open(dir.path(), "boot", at(160)).silence(at(161)), Span::seconds(1));
    }

    #[test]
    fn not_every_heartbeat_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let contact = Contact::open(dir.path(), "boot", at(100));
        contact.keep().unwrap();
        let written = fs::metadata(dir.path().join("contact")).unwrap().modified().unwrap();
        contact.heard(at(100) + Duration::from_millis(999));
        contact.keep().unwrap();
        assert_eq!(fs::metadata(dir.path().join("contact")).unwrap().modified().unwrap(), written);
        contact.heard(at(101));
        contact.keep().unwrap();
        assert_eq!(Contact::open(dir.path(), "boot", at(130)).silence(at(130)), Span::seconds(29));
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = since_boot();
        assert!(before > Duration::ZERO && since_boot() >= before);
    }
}
