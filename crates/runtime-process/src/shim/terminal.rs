//! A terminal for a command inside an instance.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fchown, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Sender;

/// What a terminal in its usual mode takes for the end of the input.
const END: &[u8] = b"\x04";

/// As much as a terminal gives at once.
const CHUNK: usize = 4096;

/// The side of a terminal that people are on.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

/// Makes a terminal that controls the session this process leads, and gives it with the side of it that the command is on.
pub(super) fn open((rows, columns): (u16, u16), user: Option<u32>, group: Option<u32>) -> io::Result<(Terminal, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    resize(&master, rows, columns)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    ioctl_tiocsctty(&slave)?;
    if user.is_some() || group.is_some() {
        let (user, group) = (user.map(rustix::fs::Uid::from_raw), group.map(rustix::fs::Gid::from_raw));
        fchown(&slave, user, group)?;
    }
    fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
    Ok((Terminal(Arc::new(watched(master)?)), slave))
}

#[expect(deprecated, reason = "its successor is unsafe and asks for what an OwnedFd promises by its type")]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    Ok(tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}

impl Terminal {
    /// Copies what the command prints to standard output until nobody has the terminal any more.
    pub(super) async fn print(self) {
        let own = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd);
        let Ok(mut out) = own else { return };
        let mut buffer = [0; CHUNK];
        while let Ok(mut ready) = self.0.readable().await {
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {
                Ok(Ok(0)) => return,
                Ok(Ok(read)) => {
                    if out.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
                // EIO: the command's side was closed by the last that had it.
                Ok(Err(_)) => return,
                Err(_would_block) => {}
            }
        }
    }

    async fn press(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                bytes = &bytes[written?..];
            }
        }
        Ok(())
    }
}

/// Where a command's input goes.
pub(super) enum Keys {
    /// Nowhere, or nowhere any more.
    None,
    /// A pipe.
    Pipe(Sender),
    /// A terminal.
    Terminal(Terminal),
}

impl Keys {
    /// What a command that reads no more is given is lost.
    pub(super) async fn press(&mut self, bytes: &[u8]) {
        let pressed = match self {
            Self::None => Ok(()),
            Self::Pipe(pipe) => pipe.write_all(bytes).await,
            Self::Terminal(terminal) => terminal.press(bytes).await,
        };
        if pressed.is_err() {
            *self = Self::None;
        }
    }

    /// A pipe is closed; at a terminal the key for the end is pressed, as it stays.
    pub(super) async fn close(&mut self) {
        if let Self::Terminal(terminal) = self {
            let _ = terminal.press(END).await;
        } else {
            *self = Self::None;
        }
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        if let Self::Terminal(terminal) = self {
            let _ = resize(terminal.0.get_ref(), rows, columns);
        }
    }
}
