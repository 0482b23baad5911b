//! What both ends of the WebSocket of `GET /deployments/{id}/exec` say to each other.
//!
//! Every message is binary. Its first byte is the channel; the rest are bytes of the command's input or output, or on the channel
//! of control one JSON object. What is sent ahead is bounded in both directions: see [`Control::Taken`].

use bytes::{BufMut, Bytes, BytesMut};
use ring_types::InstanceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// The name of all this, as a WebSocket subprotocol.
pub const PROTOCOL: &str = "ring.exec.v1";

/// Most bytes of input or output in one message.
pub const PIECE: usize = 16 * 1024;

/// Most messages of output a client can ask to be sent ahead.
pub const WINDOW: u32 = 64;

/// Longest message of all.
pub const LONGEST: usize = 64 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Channel 0, from the client: input of the command.
    Stdin(Bytes),
    /// Channel 1, from the server: its output, or that of its terminal.
    Stdout(Bytes),
    /// Channel 2, from the server: its other output.
    Stderr(Bytes),
    /// Channel 3, from both.
    Control(Control),
}

/// A message on the channel of control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// From the server, first: the command has begun.
    Started(Started),
    /// From the client: its terminal has another size.
    Resize(TerminalSize),
    /// From the client, `true`: there is no more input.
    Close(bool),
    /// From the server: so many messages of input were taken by the command, and as many more may be sent. From a client that set
    /// `window`: so many messages of output were taken, and as many more can be sent.
    Taken(u32),
    /// From the server, last: the exit code of the command, 128 plus the signal when one ended it.
    ExitCode(i32),
    /// From the server, last: why there is no exit code.
    Error(Box<Problem>),
}

/// Where a command was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// The instance.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Name of its node.
    pub node: String,
    /// How many other instances of the deployment run, when none was named.
    pub others: u32,
    /// How many messages of input may be sent before the first `taken`.
    pub input_window: u32,
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

impl TerminalSize {
    /// What a terminal that does not say its size is taken to have.
    pub const USUAL: Self = Self { rows: 24, columns: 80 };
}

/// A message that is none of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It has no byte at all.
    #[error("an empty message")]
    Empty,
    /// Its first byte is no channel.
    #[error("a message on channel {0}, which there is not")]
    Channel(u8),
    /// It carries too much.
    #[error("a message of {0} bytes; it can have {PIECE}")]
    Long(usize),
    /// It is not one of the messages of control.
    #[error("a message of control that is not understood: {0}")]
    Control(String),
}

impl Frame {
    /// As it is sent.
    pub fn encode(&self) -> Bytes {
        let (channel, content): (u8, &[u8]) = match self {
            Self::Stdin(bytes) => (0, bytes),
            Self::Stdout(bytes) => (1, bytes),
            Self::Stderr(bytes) => (2, bytes),
            // Numbers and texts can always be written.
            Self::Control(control) => (3, &serde_json::to_vec(control).unwrap_or_default()),
        };
        let mut message = BytesMut::with_capacity(1 + content.len());
        message.put_u8(channel);
        message.put_slice(content);
        message.freeze()
    }

    /// Reads what was sent.
    ///
    /// # Errors
    /// [`FrameError`] for what is not part of this protocol.
    pub fn decode(mut message: Bytes) -> Result<Self, FrameError> {
        if message.is_empty() {
            return Err(FrameError::Empty);
        }
        let content = message.split_off(1);
        match message[0] {
            0..=2 if content.len() > PIECE => Err(FrameError::Long(content.len())),
            0 => Ok(Self::Stdin(content)),
            1 => Ok(Self::Stdout(content)),
            2 => Ok(Self::Stderr(content)),
            3 => serde_json::from_slice(&content).map(Self::Control).map_err(|error| FrameError::Control(error.to_string())),
            other => Err(FrameError::Channel(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::ErrorCode;

    #[test]
    fn messages_come_as_they_went() {
        let instance = InstanceId(uuid::Uuid::from_u128(7));
        let started = Started { instance, node: "a1".to_owned(), others: 2, input_window: 32 };
        let problem = Box::new(Problem::new(ErrorCode::ExecInterrupted, "gone"));
        let controls = [
            Control::Started(started),
            Control::Resize(TerminalSize { rows: 24, columns: 80 }),
            Control::Close(true),
            Control::Taken(3),
            Control::ExitCode(137),
            Control::Error(problem),
        ];
        let frames = [Frame::Stdin("in".into()), Frame::Stdout(Bytes::new()), Frame::Stderr("err".into())];
        for frame in frames.into_iter().chain(controls.map(Frame::Control)) {
            assert_eq!(Frame::decode(frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_reference() {
        assert_eq!(&Frame::Stdin("ls\n".into()).encode()[..], b"\0ls\n");
        assert_eq!(&Frame::Control(Control::ExitCode(3)).encode()[..], b"\x03{\"exit_code\":3}");
        let resize = Frame::Control(Control::Resize(TerminalSize { rows: 24, columns: 80 }));
        assert_eq!(&resize.encode()[..], b"\x03{\"resize\":{\"rows\":24,\"columns\":80}}");
    }

    #[test]
    fn what_is_no_message_is_named() {
        let decode = |bytes: &'static [u8]| Frame::decode(Bytes::from_static(bytes)).unwrap_err();
        assert_eq!(decode(b""), FrameError::Empty);
        assert_eq!(decode(b"\x04x"), FrameError::Channel(4));
        assert!(matches!(decode(b"\x03{\"rezise\":1}"), FrameError::Control(_)));
        let long = [&[0], vec![b'x'; PIECE + 1].as_slice()].concat();
        assert_eq!(Frame::decode(long.into()), Err(FrameError::Long(PIECE + 1)));
    }
}
