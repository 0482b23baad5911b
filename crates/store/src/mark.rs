//! How far the database was once on disk, in a small file beside it.
//!
//! A log of writes that ends early looks the same whether a power cut tore off what was never synced, or something took away what
//! was. The first is usual; after the second this member would forget entries it has acknowledged, and votes. So after each sync
//! the number of the last write is put down here, without a sync of its own: whatever of this file survives was true.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::identity::disk;

/// Name of the file in the data directory.
pub(crate) const FILE: &str = "synced";
/// A number and its CRC-32.
const LENGTH: usize = 12;

/// The file.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    path: PathBuf,
}

impl Mark {
    /// Opens the file of a data directory, making it when there is none.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        Ok(Self { file: file.map_err(|e| disk("open", &path, &e))?, path })
    }

    /// What it says. A file that was never whole, or is damaged itself, says nothing.
    pub(crate) fn read(&self) -> Result<Option<u64>, StoreError> {
        let mut bytes = [0; LENGTH];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(parse(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(disk("read", &self.path, &e)),
        }
    }

    /// Puts down that everything up to `sequence` is on disk.
    pub(crate) fn put(&self, sequence: u64) -> Result<(), StoreError> {
        self.file.write_all_at(&bytes(sequence), 0).map_err(|e| disk("write", &self.path, &e))
    }
}

fn bytes(sequence: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (number, crc) = bytes.split_at_mut(8);
    number.copy_from_slice(&sequence.to_le_bytes());
    crc.copy_from_slice(&crc32fast::hash(number).to_le_bytes());
    bytes
}

fn parse(found: &[u8; LENGTH]) -> Option<u64> {
    let sequence = u64::from_le_bytes(*found.first_chunk()?);
    (bytes(sequence) == *found).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_the_last_number_or_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mark = Mark::open(root.path()).unwrap();
        assert_eq!(mark.read().unwrap(), None);
        for sequence in [7, u64::MAX, 8] {
            mark.put(sequence).unwrap();
        }
        assert_eq!(Mark::open(root.path()).unwrap().read().unwrap(), Some(8));
        for bit in 0..LENGTH * 8 {
            let mut bad = bytes(8);
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad), None, "bit {bit}");
        }
    }
}
