//! Which generation of its cluster this agent follows: never an earlier one than it has followed before. Control nodes that were
//! left behind when the cluster was begun anew have nothing to say to it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ring_types::ClusterGeneration;

/// The generation that is followed, kept on disk.
#[derive(Debug)]
pub(super) struct Followed {
    path: PathBuf,
    known: ClusterGeneration,
}

impl Followed {
    /// What was followed in earlier runs.
    pub(super) fn load(dir: &Path) -> Self {
        let path = dir.join("cluster-generation");
        let known = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        Self { path, known }
    }

    /// A control node says of which generation it is. Err says why it is not listened to.
    pub(super) fn accept(&mut self, offered: ClusterGeneration) -> Result<(), String> {
        if offered == self.known {
            return Ok(());
        }
        if offered.number() <= self.known.number() {
            return Err(format!(
                "it is of generation {offered} of the cluster, this host follows {}: empty the data directory of that control node",
                self.known
            ));
        }
        tracing::warn!(before = %self.known, now = %offered, "the cluster was begun anew, this host follows its new generation");
        self.known = offered;
        self.save().map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }

    fn save(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{}", self.known)?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_follows_a_later_generation_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let second = ClusterGeneration::FIRST.after(7);
        let mut followed = Followed::load(dir.path());
        followed.accept(ClusterGeneration::FIRST).unwrap();
        followed.accept(second).unwrap();
        let mut followed = Followed::load(dir.path());
        followed.accept(second).unwrap();
        let refused = followed.accept(ClusterGeneration::FIRST).unwrap_err();
        assert!(refused.contains("it is of generation 1 of the cluster, this host follows 2-00000007"), "{refused}");
        followed.accept(ClusterGeneration::FIRST.after(8)).unwrap_err();
        followed.accept(second.after(1)).unwrap();
    }
}
