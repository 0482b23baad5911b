//! Terminals of commands, and where the input of commands goes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ring_guest::TerminalSize;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, OFlags, Uid, fchown, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::users::Ids;

/// What a terminal in its usual mode takes for the end of the input.
const END: &[u8] = b"\x04";

/// Between two looks at whether a command that does not read is still there.
const LOOK: Duration = Duration::from_millis(200);

/// Makes a terminal; gives the side that people are on, and the command's.
pub(super) fn open(size: TerminalSize, ids: Option<&Ids>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    resize(&master, size)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    if let Some(ids) = ids {
        // Its group stays the one of all terminals.
        fchown(&slave, Some(Uid::from_raw(ids.uid)), None::<Gid>)?;
    }
    Ok((master, slave))
}

/// Tells a terminal its size, and with that the command.
pub(super) fn resize(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Where the input of a command goes.
pub(super) enum Keys {
    /// Nowhere, or nowhere any more.
    None,
    /// A pipe.
    Pipe(OwnedFd),
    /// A terminal.
    Terminal(OwnedFd),
}

impl Keys {
    /// Lets whoever writes wait in its own way.
    pub(super) fn prepare(&self) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Pipe(fd) | Self::Terminal(fd) => Ok(fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?),
        }
    }

    /// What a command that reads no more, or is `over`, is given is lost.
    pub(super) fn press(&mut self, bytes: &[u8], over: impl Fn() -> bool) {
        let pressed = match self {
            Self::None => Ok(()),
            Self::Pipe(fd) | Self::Terminal(fd) => write_all(fd, bytes, over),
        };
        if pressed.is_err() {
            *self = Self::None;
        }
    }

    /// A pipe is closed; at a terminal the key for the end is pressed, as it stays.
    pub(super) fn close(&mut self, over: impl Fn() -> bool) {
        if matches!(self, Self::Terminal(_)) {
            self.press(END, over);
        } else {
            *self = Self::None;
        }
    }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8], over: impl Fn() -> bool) -> io::Result<()> {
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if over() => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(Errno::AGAIN) => {
                // An error shows again in the next attempt to write.
                let _ = poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&limit));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
