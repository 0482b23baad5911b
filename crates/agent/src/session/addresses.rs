//! Which control nodes there are, and which to dial next. Learnt from every welcome and kept on disk.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rand::seq::SliceRandom as _;

/// The known control nodes.
#[derive(Debug)]
pub(super) struct Addresses {
    path: PathBuf,
    /// From the configuration: dialled too, whatever was learnt.
    configured: Vec<String>,
    learnt: Vec<String>,
    /// What is still to be dialled in this round.
    round: Vec<String>,
}

impl Addresses {
    /// What is configured, and what was learnt in earlier runs.
    pub(super) fn load(dir: &Path, configured: &[String]) -> Self {
        let path = dir.join("control-nodes.json");
        let learnt = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let mut addresses = Self { path, configured: configured.to_vec(), learnt, round: Vec::new() };
        // The first dial of a run goes where the configuration points first: to the control node on the same host.
        addresses.round = addresses.all();
        addresses.round.reverse();
        addresses
    }

    /// The one to dial next; each once, in random order, before any is dialled again.
    pub(super) fn next(&mut self) -> Option<String> {
        if self.round.is_empty() {
            self.round = self.all();
            self.round.shuffle(&mut rand::rng());
        }
        self.round.pop()
    }

    /// A control node says which there are. The next round begins with them.
    pub(super) fn learn(&mut self, addresses: &[String]) {
        self.round.clear();
        if addresses.is_empty() || self.learnt == addresses {
            return;
        }
        self.learnt = addresses.to_vec();
        if let Err(error) = self.save() {
            tracing::warn!(path = %self.path.display(), %error, "cannot remember the control nodes");
        }
    }

    fn all(&self) -> Vec<String> {
        let mut all = self.configured.clone();
        all.extend(self.learnt.iter().filter(|address| !self.configured.contains(address)).cloned());
        all
    }

    fn save(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&self.learnt)?)?;
        fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_node_is_dialled_before_any_is_dialled_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::load(dir.path(), &texts(&["a:1", "b:1"]));
        assert_eq!(addresses.next().unwrap(), "a:1");
        addresses.learn(&texts(&["b:1", "c:1"]));
        let mut round: Vec<_> = (0..3).map(|_| addresses.next().unwrap()).collect();
        round.sort();
        assert_eq!(round, ["a:1", "b:1", "c:1"]);
    }

    #[test]
    fn what_was_learnt_is_known_in_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        Addresses::load(dir.path(), &texts(&["a:1"])).learn(&texts(&["z:1"]));
        let mut addresses = Addresses::load(dir.path(), &texts(&["a:1"]));
        assert_eq!([addresses.next().unwrap(), addresses.next().unwrap()], ["a:1", "z:1"]);
    }
}
