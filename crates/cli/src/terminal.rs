//! The terminal this program runs on, while another program elsewhere uses it.

use std::io::{self, IsTerminal, Read};

use bytes::Bytes;
use ring_api::exec::{PIECE, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::error::CliError;

/// Is standard input a terminal?
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Its size; a terminal that does not know it has the usual one.
pub(crate) fn size() -> TerminalSize {
    let known = tcgetwinsize(io::stdin()).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or(TerminalSize::USUAL, |size| TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// Every key goes to the program elsewhere, until this is dropped: then the terminal is as it was.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Begins now.
    ///
    /// # Errors
    /// [`CliError::Input`] when the terminal does not take it.
    pub(crate) fn enter() -> Result<Self, CliError> {
        let failed = |error: rustix::io::Errno| CliError::Input("the terminal", error.into());
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Standard input in pieces, read by a thread of its own, no more than one ahead. The channel closes at its end.
pub(crate) fn pieces() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(1);
    // Not waited for: a read of a terminal ends with the next key, or with this program.
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
