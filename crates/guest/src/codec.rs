//! Messages as bytes.

use std::io::{self, Read, Write};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::LONGEST;

/// Bytes of a frame's length.
const HEAD: usize = 4;

/// Bytes that are no frame, or a message that fits in none. After an error a connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than [`LONGEST`].
    #[error("a frame of {0} bytes: the limit is {LONGEST}")]
    TooLong(usize),
    /// Its bytes are not the expected message.
    #[error("a frame that is no message: {0}")]
    Malformed(postcard::Error),
    /// The message has bytes after its end.
    #[error("a frame with {0} bytes after its message")]
    Trailing(usize),
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A message as one frame.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; HEAD]).map_err(FrameError::Malformed)?;
    let length = frame.len() - HEAD;
    let head = u32::try_from(length).ok().filter(|_| length <= LONGEST).ok_or(FrameError::TooLong(length))?;
    frame[..HEAD].copy_from_slice(&head.to_le_bytes());
    Ok(frame)
}

/// Messages out of bytes that come in pieces of any size.
#[derive(Debug)]
pub struct Decoder<T> {
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    taken: usize,
    message: PhantomData<fn() -> T>,
}

impl<T> Default for Decoder<T> {
    fn default() -> Self {
        Self { buffer: Vec::new(), taken: 0, message: PhantomData }
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    /// Takes the next bytes. Take out what [`Decoder::next`] has before giving more: so it holds one frame and a piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message; None until the rest of it has come.
    #[expect(clippy::should_implement_trait, reason = "it goes on after a None")]
    pub fn next(&mut self) -> Result<Option<T>, FrameError> {
        let rest = &self.buffer[self.taken..];
        let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = length(*head)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = decode(body)?;
        self.taken += HEAD + length;
        Ok(Some(message))
    }

    /// Is there a piece of a message whose rest has not come? After the end of a connection it never will.
    pub fn is_partial(&self) -> bool {
        self.taken < self.buffer.len()
    }
}

/// Writes one frame.
pub fn write_frame<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&encode(message)?)?;
    to.flush()
}

/// Reads one frame, waiting for it. None at the end of the connection, also in the middle of a frame.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; HEAD];
    if !whole(from.read_exact(&mut head))? {
        return Ok(None);
    }
    let length = length(head)?;
    // Grown by what comes, not by what was promised.
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Ok(None);
    }
    Ok(Some(decode(&body)?))
}

fn length(head: [u8; HEAD]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(head) as usize;
    if length > LONGEST { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(body).map_err(FrameError::Malformed)? {
        (message, []) => Ok(message),
        (_, rest) => Err(FrameError::Trailing(rest.len())),
    }
}

fn whole(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests;
