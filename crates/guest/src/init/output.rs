//! Output of the workload: from its pipes into a ring, and from there to the host.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::time::Duration;

use ring_guest::{CHUNK, RING, Source};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::guest::Guest;

/// After everything that could write has ended, a pipe is at its end at once; this is for what hangs in the kernel.
const DRAIN: Duration = Duration::from_secs(2);

/// What keeping one piece costs beside its bytes.
const PIECE: usize = 64;

/// Output that the host has not acknowledged.
#[derive(Default)]
pub(super) struct Ring {
    pieces: VecDeque<Piece>,
    /// Place after the last byte.
    end: u64,
    held: usize,
    /// Nothing more will come.
    pub(super) closed: bool,
}

struct Piece {
    source: Source,
    offset: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Ring {
    /// Would as much as both pipes give at once fit?
    fn has_room(&self) -> bool {
        self.held + 2 * (CHUNK + PIECE) <= RING
    }

    fn push(&mut self, source: Source, bytes: &[u8]) {
        match self.pieces.back_mut() {
            Some(last) if last.source == source && last.bytes.len() + bytes.len() <= CHUNK => last.bytes.extend_from_slice(bytes),
            _ => {
                self.pieces.push_back(Piece { source, offset: self.end, bytes: bytes.to_vec() });
                self.held += PIECE;
            }
        }
        self.end += bytes.len() as u64;
        self.held += bytes.len();
    }

    /// Forgets what is before this place.
    pub(super) fn acknowledge(&mut self, offset: u64) {
        while let Some(first) = self.pieces.front_mut() {
            if first.end() <= offset {
                self.held -= first.bytes.len() + PIECE;
                self.pieces.pop_front();
                continue;
            }
            let before = offset.saturating_sub(first.offset) as usize;
            first.bytes.drain(..before);
            first.offset += before as u64;
            self.held -= before;
            return;
        }
    }

    /// The bytes from this place on, or from the first that is still known: at most one piece.
    pub(super) fn from(&self, offset: u64) -> Option<(Source, u64, Vec<u8>)> {
        let piece = self.pieces.get(self.pieces.partition_point(|piece| piece.end() <= offset))?;
        let before = offset.saturating_sub(piece.offset);
        Some((piece.source, piece.offset + before, piece.bytes[before as usize..].to_vec()))
    }
}

/// What has been read from one of several files.
pub(super) enum Event {
    /// Bytes of it.
    Bytes(Source, usize),
    /// Nothing was to be had, but something has changed.
    Nothing,
    /// There will be no more from any.
    End,
}

/// Two outputs that are read as they come, until both are at their end or nothing comes any more after the writers ended.
pub(super) struct Outputs {
    open: Vec<(Source, File)>,
    /// At its end when everything that could write has been ended.
    writers: Option<PipeReader>,
}

impl Outputs {
    pub(super) fn new(open: impl IntoIterator<Item = (Source, OwnedFd)>, writers: PipeReader) -> Self {
        Self { open: open.into_iter().map(|(source, fd)| (source, fd.into())).collect(), writers: Some(writers) }
    }

    /// Waits for the next bytes.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Event {
        if self.open.is_empty() {
            return Event::End;
        }
        let Some(ready) = self.poll() else { return Event::End };
        if let Some(index) = ready.iter().take(self.open.len()).position(|ready| *ready) {
            let (source, file) = &mut self.open[index];
            let source = *source;
            match file.read(buffer) {
                Ok(length) if length > 0 => return Event::Bytes(source, length),
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INTR | Errno::AGAIN)) => {}
                // The end, of a terminal told as EIO.
                _ => {
                    self.open.remove(index);
                }
            }
        } else if ready.last() == Some(&true) {
            self.writers = None;
        }
        Event::Nothing
    }

    /// Which can be read, the writers' pipe last. None when nothing came in time.
    fn poll(&self) -> Option<Vec<bool>> {
        let mut fds: Vec<PollFd<'_>> = self.open.iter().map(|(_, file)| PollFd::new(file, PollFlags::IN)).collect();
        fds.extend(self.writers.as_ref().map(|writers| PollFd::new(writers, PollFlags::IN)));
        let limit = Timespec { tv_sec: DRAIN.as_secs() as i64, tv_nsec: 0 };
        let limit = self.writers.is_none().then_some(&limit);
        match poll(&mut fds, limit) {
            Ok(0) => None,
            Ok(_) => Some(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(_) => Some(Vec::new()),
        }
    }
}

/// Fills the ring until everything is in it. While it is full, nothing is read and the workload waits.
pub(super) fn pump(guest: &Guest, mut outputs: Outputs) {
    let mut buffer = vec![0; CHUNK];
    loop {
        guest.wait_for(|inner| inner.output.has_room().then_some(()));
        match outputs.read(&mut buffer) {
            Event::Bytes(source, length) => guest.change(|inner| inner.output.push(source, &buffer[..length])),
            Event::Nothing => {}
            Event::End => return guest.change(|inner| inner.output.closed = true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_gives_what_is_not_acknowledged_in_order() {
        let mut ring = Ring::default();
        ring.push(Source::Stdout, b"one");
        ring.push(Source::Stdout, b"two");
        ring.push(Source::Stderr, b"oh");
        assert_eq!(ring.end, 8);
        assert_eq!(ring.from(0), Some((Source::Stdout, 0, b"onetwo".to_vec())));
        assert_eq!(ring.from(4), Some((Source::Stdout, 4, b"wo".to_vec())));
        assert_eq!(ring.from(6), Some((Source::Stderr, 6, b"oh".to_vec())));
        assert_eq!(ring.from(8), None);
        ring.acknowledge(4);
        assert_eq!(ring.from(0), Some((Source::Stdout, 4, b"wo".to_vec())), "what is forgotten is not given");
        ring.acknowledge(2);
        ring.acknowledge(100);
        assert_eq!((ring.held, ring.end, ring.from(0)), (0, 8, None));
        ring.push(Source::Stdout, b"x");
        assert_eq!(ring.from(8), Some((Source::Stdout, 8, b"x".to_vec())));
    }

    #[test]
    fn a_ring_has_a_limit_for_small_pieces_too() {
        let mut ring = Ring::default();
        let mut pieces = 0;
        while ring.has_room() {
            ring.push(if pieces % 2 == 0 { Source::Stdout } else { Source::Stderr }, b"x");
            pieces += 1;
        }
        assert!(ring.held <= RING && pieces < RING / PIECE, "{pieces} pieces");
    }
}
