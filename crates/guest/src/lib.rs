//! What a micro-VM's init and the driver on its host say to each other.
//!
//! The guest dials the host; there is one connection at a time. Both sides send frames: four bytes with the length of what
//! follows, the least significant first, and that much of postcard: one [`ToHost`] or one [`ToGuest`].
//!
//! On every connection the guest begins with [`Hello`] and the host answers with [`Welcome`]; nothing else is sent before. Then the
//! guest repeats what it has not had an acknowledgement of: that the workload runs, its output from where the host has it, its end.
//!
//! What the host may rely on:
//! - A workload is executed once. A second [`Start`], on this connection or a later one, changes nothing and is answered with what is.
//! - The bytes of the output come in order and without a gap, each with its place in the whole. What is not acknowledged is kept, up
//!   to [`RING`] bytes; then the workload waits. The end comes after all of the output.
//! - The end is repeated on every connection until [`ToGuest::ExitAck`]; then the guest powers off.
//! - A command run by [`Exec`] ends with the connection it was asked for on, and with the workload.

mod codec;
mod to_guest;
mod to_host;

pub use codec::{Decoder, FrameError, encode, read_frame, write_frame};
pub use to_guest::{Address, Exec, File, Mount, Network, Start, TerminalSize, Tmpfs, ToGuest, Welcome};
pub use to_host::{End, Failed, Hello, Measured, Source, State, Step, ToHost};

/// Version of everything but [`Hello`], whose form never changes.
pub const VERSION: u32 = 1;

/// Port of the host that a guest dials.
pub const PORT: u32 = 1024;

/// No frame is longer, without the four bytes of its length. A [`Start`] carries an environment and files.
pub const LONGEST: usize = 16 << 20;

/// Most bytes of output, or of a command's input or output, in one frame.
pub const CHUNK: usize = 32 << 10;

/// Most bytes of output a guest keeps without an acknowledgement.
pub const RING: usize = 1 << 20;

/// Most bytes of a command's output, and of its input, on the way without a [`ToGuest::ExecTaken`] or [`ToHost::ExecTaken`].
pub const WINDOW: usize = 256 << 10;

/// At least so often a guest sends [`ToHost::Heartbeat`] on a connection.
pub const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(5);

/// Commands that can be under way in one guest at a time; one more is refused.
pub const EXECS: usize = 64;
