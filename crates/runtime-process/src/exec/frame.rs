//! What an agent sends to the parent of a command: one byte that says what, four for the length, and that much.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No frame is longer: an order carries an environment.
const LONGEST: usize = 16 << 20;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The first: what to run.
    Order(Bytes),
    /// Input of the command.
    Input(Bytes),
    /// The end of it.
    Close,
    /// Rows and columns of the terminal.
    Resize(u16, u16),
}

pub(crate) async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let mut bytes = vec![0; 5];
    bytes[0] = match frame {
        Frame::Order(content) => fill(&mut bytes, b'o', content),
        Frame::Input(content) => fill(&mut bytes, b'i', content),
        Frame::Close => b'c',
        Frame::Resize(rows, columns) => fill(&mut bytes, b'r', &[rows.to_be_bytes(), columns.to_be_bytes()].concat()),
    };
    let length = u32::try_from(bytes.len() - 5).map_err(io::Error::other)?;
    bytes[1..5].copy_from_slice(&length.to_be_bytes());
    to.write_all(&bytes).await?;
    to.flush().await
}

fn fill(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) -> u8 {
    bytes.extend_from_slice(content);
    kind
}

/// None at the end, also in the middle of a frame: then whoever wrote it is gone.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 5];
    if !whole(from.read_exact(&mut head).await)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    let mut content = vec![0; length];
    if !whole(from.read_exact(&mut content).await)? {
        return Ok(None);
    }
    frame(head[0], content).map(Some)
}

fn whole(read: io::Result<usize>) -> io::Result<bool> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|_| true),
    }
}

fn frame(kind: u8, content: Vec<u8>) -> io::Result<Frame> {
    match (kind, content.as_slice()) {
        (b'o', _) => Ok(Frame::Order(content.into())),
        (b'i', _) => Ok(Frame::Input(content.into())),
        (b'c', []) => Ok(Frame::Close),
        (b'r', [a, b, c, d]) => Ok(Frame::Resize(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_as_they_went() {
        let all = [Frame::Order("{}".into()), Frame::Input("".into()), Frame::Resize(24, 300), Frame::Close];
        let mut bytes = Vec::new();
        for frame in &all {
            write(&mut bytes, frame).await.unwrap();
        }
        let mut from = bytes.as_slice();
        for frame in all {
            assert_eq!(read(&mut from).await.unwrap(), Some(frame));
        }
        assert_eq!(read(&mut from).await.unwrap(), None);
        assert_eq!(read(&mut &bytes[..3]).await.unwrap(), None);
        assert!(read(&mut &b"x\0\0\0\0"[..]).await.is_err());
        assert!(read(&mut &b"i\xff\0\0\0"[..]).await.is_err());
    }
}
