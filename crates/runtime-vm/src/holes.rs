//! Files that something only appends to, whose beginning is given back to the file system: they keep their length, places in them
//! stay what they are, and a reader goes on behind the hole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

/// The first place that is no hole, at this one or behind it. None at the end of the file.
///
/// # Errors
/// What the file system says.
pub(crate) fn data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// At most `most` bytes from the first place that is no hole, at this one or behind it, and that place. None at the end of the file.
///
/// # Errors
/// What the file system says.
pub(crate) fn read(file: &File, from: u64, most: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
    loop {
        let Some(at) = data(file, from)? else { return Ok(None) };
        let left = file.metadata()?.len().saturating_sub(at);
        let mut piece = vec![0; usize::try_from(left).unwrap_or(most).min(most)];
        let read = file.read_at(&mut piece, at)?;
        // What is given back is so from the beginning on. So what was read is whole when its first byte is still there.
        if data(file, at)? == Some(at) {
            piece.truncate(read);
            return Ok(Some((at, piece)));
        }
    }
}

/// Gives what is between two places back, which takes whole blocks: a block in part stays.
///
/// # Errors
/// What the file system says: some cannot make holes.
pub(crate) fn give_back(file: &File, from: u64, until: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, until - from)?)
}
