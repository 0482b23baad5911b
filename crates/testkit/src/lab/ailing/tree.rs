//! Files and directories in memory, each as it is and as it would be after a power loss.
//!
//! Strict as POSIX allows: the content of a file is safe after `fsync` of the file, a name in a directory after `fsync` of the
//! directory, and nothing is safe otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::ops::Range;

use fuser::Errno;
use rand::Rng;

/// Number of the directory everything is in.
pub(super) const ROOT: u64 = 1;

type Names = BTreeMap<OsString, u64>;

/// A file's bytes.
#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Written since the last sync, in this order.
    changed: Vec<Range<usize>>,
    /// The least length since then.
    cut: Option<usize>,
}

#[derive(Debug)]
enum Body {
    File(Content),
    Dir { now: Names, safe: Names },
}

#[derive(Debug)]
struct Node {
    body: Body,
    /// How often it is open.
    open: usize,
}

/// What a power loss took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Bytes of files that were written and not synced.
    pub bytes: usize,
    /// Names that came, went or changed in a directory that was not synced after that.
    pub names: usize,
    /// Files of which a part of what was not synced is there, as disks do it.
    pub torn: usize,
}

/// What a file or directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    File(u64),
    Dir,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Content {
    fn write(&mut self, at: usize, data: &[u8]) {
        let end = at + data.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(data);
        match self.changed.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => self.changed.push(at..end),
        }
    }

    fn set_len(&mut self, len: usize) {
        let before = self.now.len();
        self.now.resize(len, 0);
        if len < before {
            self.cut = Some(self.cut.map_or(len, |cut| cut.min(len)));
        } else {
            self.changed.push(before..len);
        }
    }

    fn sync(&mut self) {
        if let Some(cut) = self.cut.take() {
            self.safe.truncate(cut);
        }
        self.safe.resize(self.now.len(), 0);
        for range in std::mem::take(&mut self.changed) {
            let range = range.start.min(self.now.len())..range.end.min(self.now.len());
            self.safe[range.clone()].copy_from_slice(&self.now[range]);
        }
    }

    fn unsafe_bytes(&self) -> usize {
        self.changed.iter().map(ExactSizeIterator::len).sum::<usize>() + usize::from(self.cut.is_some())
    }

    /// What is there after a power loss: what was synced, and with `torn` some of what was written after that.
    fn after_power_loss(mut self, torn: Option<&mut dyn FnMut(usize) -> usize>, lost: &mut Lost) -> Self {
        lost.bytes += self.unsafe_bytes();
        let some = self.cut.is_none() && !self.changed.is_empty();
        if let Some(choose) = torn.filter(|_| some) {
            let total = self.changed.iter().map(ExactSizeIterator::len).sum();
            let mut kept = choose(total);
            lost.torn += usize::from(kept > 0);
            for range in &self.changed {
                let range = range.start..range.end.min(range.start + kept);
                kept -= range.len();
                if !range.is_empty() {
                    self.safe.resize(self.safe.len().max(range.end), 0);
                    self.safe[range.clone()].copy_from_slice(&self.now[range]);
                }
            }
        }
        Self { now: self.safe.clone(), safe: self.safe, changed: Vec::new(), cut: None }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node { body: Body::Dir { now: Names::new(), safe: Names::new() }, open: 0 };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1 }
    }

    fn node(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    fn names(&mut self, number: u64) -> Result<&mut Names, Errno> {
        match &mut self.node(number)?.body {
            Body::Dir { now, .. } => Ok(now),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn content(&mut self, number: u64) -> Result<&mut Content, Errno> {
        match &mut self.node(number)?.body {
            Body::File(content) => Ok(content),
            Body::Dir { .. } => Err(Errno::EISDIR),
        }
    }

    pub(super) fn is(&mut self, number: u64) -> Result<Is, Errno> {
        Ok(match &self.node(number)?.body {
            Body::File(content) => Is::File(content.now.len() as u64),
            Body::Dir { .. } => Is::Dir,
        })
    }

    pub(super) fn find(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn list(&mut self, number: u64) -> Result<Vec<(OsString, u64)>, Errno> {
        Ok(self.names(number)?.iter().map(|(name, number)| (name.clone(), *number)).collect())
    }

    pub(super) fn make(&mut self, parent: u64, name: &OsStr, directory: bool) -> Result<u64, Errno> {
        let number = self.next;
        let names = self.names(parent)?;
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        names.insert(name.to_owned(), number);
        let body = if directory { Body::Dir { now: Names::new(), safe: Names::new() } } else { Body::File(Content::default()) };
        self.nodes.insert(number, Node { body, open: 0 });
        self.next += 1;
        Ok(number)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.find(parent, name)?;
        if self.names(number).is_ok_and(|names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.names(parent)?.remove(name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let number = self.find(from.0, from.1)?;
        self.names(to.0)?;
        self.names(from.0)?.remove(from.1);
        self.names(to.0)?.insert(to.1.to_owned(), number);
        Ok(())
    }

    pub(super) fn read(&mut self, number: u64, at: u64, size: usize) -> Result<&[u8], Errno> {
        let now = &self.content(number)?.now;
        let at = (at as usize).min(now.len());
        Ok(&now[at..(at + size).min(now.len())])
    }

    pub(super) fn write(&mut self, number: u64, at: u64, data: &[u8]) -> Result<(), Errno> {
        self.content(number)?.write(at as usize, data);
        Ok(())
    }

    pub(super) fn set_len(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        self.content(number)?.set_len(len as usize);
        Ok(())
    }

    /// Makes a file, or the names in a directory, safe.
    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        match &mut self.node(number)?.body {
            Body::File(content) => content.sync(),
            Body::Dir { now, safe } => safe.clone_from(now),
        }
        self.forget_what_is_gone();
        Ok(())
    }

    pub(super) fn open(&mut self, number: u64) -> Result<(), Errno> {
        self.node(number)?.open += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, number: u64) {
        if let Ok(node) = self.node(number) {
            node.open = node.open.saturating_sub(1);
        }
        self.forget_what_is_gone();
    }

    /// A file without a name, now and after a power loss, that nobody has open is gone.
    fn forget_what_is_gone(&mut self) {
        let mut named = BTreeSet::from([ROOT]);
        for node in self.nodes.values() {
            if let Body::Dir { now, safe } = &node.body {
                named.extend(now.values().chain(safe.values()));
            }
        }
        self.nodes.retain(|number, node| node.open > 0 || named.contains(number));
    }

    /// The power is gone and comes back. Everything gets another number: what the kernel still holds of before means nothing.
    pub(super) fn lose_power(&mut self, torn: Option<&mut impl Rng>) -> Lost {
        let mut lost = Lost::default();
        let mut choose = torn.map(|rng| move |total: usize| rng.random_range(0..=total));
        let mut old = std::mem::take(&mut self.nodes);
        let mut renamed = BTreeMap::from([(ROOT, ROOT)]);
        let mut left = vec![ROOT];
        while let Some(number) = left.pop() {
            let Some(node) = old.remove(&number) else { continue };
            let body = match node.body {
                Body::File(content) => {
                    let torn = choose.as_mut().map(|choose| choose as &mut dyn FnMut(usize) -> usize);
                    Body::File(content.after_power_loss(torn, &mut lost))
                }
                Body::Dir { now, safe } => {
                    lost.names += now.iter().filter(|one| safe.get(one.0) != Some(one.1)).count();
                    lost.names += safe.keys().filter(|name| !now.contains_key(*name)).count();
                    let mut fresh = Names::new();
                    for (name, number) in safe {
                        left.push(number);
                        let next = &mut self.next;
                        let renumbered = renamed.entry(number).or_insert_with(|| {
                            *next += 1;
                            *next - 1
                        });
                        fresh.insert(name, *renumbered);
                    }
                    Body::Dir { now: fresh.clone(), safe: fresh }
                }
            };
            self.nodes.insert(renamed[&number], Node { body, open: 0 });
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const NOBODY: Option<&mut StdRng> = None;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn text(tree: &mut Tree, path: &[&str]) -> Result<String, Errno> {
        let number = path.iter().try_fold(ROOT, |parent, part| tree.find(parent, name(part)))?;
        Ok(String::from_utf8_lossy(tree.read(number, 0, 1000)?).into_owned())
    }

    #[test]
    fn what_was_not_synced_is_lost() {
        let mut tree = Tree::new();
        let dir = tree.make(ROOT, name("dir"), true).unwrap();
        let file = tree.make(dir, name("file"), false).unwrap();
        tree.write(file, 0, b"safe").unwrap();
        tree.sync(file).unwrap();
        tree.sync(dir).unwrap();
        tree.sync(ROOT).unwrap();
        tree.write(file, 4, b" and not").unwrap();
        tree.make(dir, name("unnamed"), false).unwrap();
        assert_eq!(text(&mut tree, &["dir", "file"]).unwrap(), "safe and not");
        assert_eq!(tree.lose_power(NOBODY), Lost { bytes: 8, names: 1, torn: 0 });
        assert_eq!(text(&mut tree, &["dir", "file"]).unwrap(), "safe");
        assert!(text(&mut tree, &["dir", "unnamed"]).is_err() && tree.write(file, 0, b"late").is_err());
    }

    #[test]
    fn a_name_is_safe_with_its_directory_only() {
        let mut tree = Tree::new();
        let file = tree.make(ROOT, name("new"), false).unwrap();
        tree.write(file, 0, b"new").unwrap();
        tree.sync(file).unwrap();
        tree.lose_power(NOBODY);
        assert!(text(&mut tree, &["new"]).is_err(), "its content was safe, its name was not");

        let (old, new) = (tree.make(ROOT, name("old"), false).unwrap(), tree.make(ROOT, name("tmp"), false).unwrap());
        tree.write(old, 0, b"old").unwrap();
        tree.write(new, 0, b"new").unwrap();
        for number in [old, new, ROOT] {
            tree.sync(number).unwrap();
        }
        tree.rename((ROOT, name("tmp")), (ROOT, name("old"))).unwrap();
        assert_eq!(text(&mut tree, &["old"]).unwrap(), "new");
        tree.lose_power(NOBODY);
        assert_eq!(text(&mut tree, &["old"]).unwrap(), "old");
        tree.rename((ROOT, name("tmp")), (ROOT, name("old"))).unwrap();
        tree.sync(ROOT).unwrap();
        tree.lose_power(NOBODY);
        assert_eq!((text(&mut tree, &["old"]).unwrap().as_str(), text(&mut tree, &["tmp"]).is_err()), ("new", true));
    }

    #[test]
    fn a_file_that_was_cut_short_is_whole_again_without_a_sync() {
        let mut tree = Tree::new();
        let file = tree.make(ROOT, name("f"), false).unwrap();
        tree.write(file, 0, b"0123456789").unwrap();
        tree.sync(file).unwrap();
        tree.sync(ROOT).unwrap();
        tree.set_len(file, 2).unwrap();
        tree.write(file, 2, b"ab").unwrap();
        tree.set_len(file, 6).unwrap();
        assert_eq!(text(&mut tree, &["f"]).unwrap(), "01ab\0\0");
        tree.lose_power(NOBODY);
        assert_eq!(text(&mut tree, &["f"]).unwrap(), "0123456789");
        let file = tree.find(ROOT, name("f")).unwrap();
        tree.set_len(file, 2).unwrap();
        tree.write(file, 2, b"ab").unwrap();
        tree.sync(file).unwrap();
        tree.lose_power(NOBODY);
        assert_eq!(text(&mut tree, &["f"]).unwrap(), "01ab");
    }

    #[test]
    fn a_torn_write_is_there_in_part() {
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let mut tree = Tree::new();
            let file = tree.make(ROOT, name("f"), false).unwrap();
            tree.sync(ROOT).unwrap();
            tree.write(file, 0, b"abc").unwrap();
            tree.lose_power(Some(&mut StdRng::seed_from_u64(seed)));
            seen.insert(text(&mut tree, &["f"]).unwrap());
        }
        assert_eq!(seen, ["", "a", "ab", "abc"].map(str::to_owned).into());
    }

    #[test]
    fn nothing_is_kept_of_what_is_gone() {
        let mut tree = Tree::new();
        let file = tree.make(ROOT, name("f"), false).unwrap();
        tree.open(file).unwrap();
        tree.remove(ROOT, name("f")).unwrap();
        tree.sync(ROOT).unwrap();
        tree.write(file, 0, b"still open").unwrap();
        tree.close(file);
        assert_eq!(tree.nodes.len(), 1);
    }
}
