//! Files on a FAT volume, all in its root: what the library writes of other directories is not what every checker accepts.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

/// The name by which cloud-init finds it.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// Its number; what tells one seed disk from another is in `meta-data`.
const ID: u32 = 0x5249_4e47;

/// Entries of the root directory, beside those of the files.
const ENTRIES: usize = 64;

/// Entries that a file takes with its long name.
const ENTRIES_OF_A_FILE: usize = 4;

/// What the tables, the directories and the ends of clusters take at most, beside a hundredth of the content and a cluster for
/// each file.
const SPARE: u64 = 1 << 20;

/// Largest cluster of a volume of the sizes made here, bytes.
const CLUSTER: u64 = 4096;

/// Writes a volume with these files; the volume appears under its name when it is whole.
pub(super) fn write(path: &Path, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    let half = path.with_extension("half");
    let made = make(&half, files).and_then(|()| fs::rename(&half, path));
    made.inspect_err(|_| drop(fs::remove_file(&half)))
}

fn make(path: &Path, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    let content: u64 = files.iter().map(|(_, content)| content.len() as u64 + CLUSTER).sum();
    let size = (content + content / 100 + SPARE).next_multiple_of(1 << 20);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_len(size)?;
    let entries = (ENTRIES + ENTRIES_OF_A_FILE * files.len()).next_multiple_of(ENTRIES);
    let entries = u16::try_from(entries).map_err(|_| io::Error::other("too many configs and secrets"))?;
    let options = FormatVolumeOptions::new().volume_label(LABEL).volume_id(ID).max_root_dir_entries(entries);
    fatfs::format_volume(&mut file, options)?;
    let volume = FileSystem::new(&mut file, FsOptions::new())?;
    for (name, content) in files {
        let mut file = volume.root_dir().create_file(name)?;
        file.write_all(content)?;
        file.flush()?;
    }
    volume.unmount()
}
