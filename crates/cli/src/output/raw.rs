//! Bytes of another program, passed on as they are by a thread of their own: who reads them slowly holds up nothing else.

use std::io::{self, Write};
use std::sync::mpsc as threads;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::print;
use crate::error::CliError;

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Output,
    Error,
}

/// Both outputs of this program. How much waits to be written is bounded by who gives it.
pub(crate) struct Outputs {
    to: threads::Sender<(To, Bytes)>,
}

/// What became of what was given, in order: one word a piece.
pub(crate) type Written = mpsc::UnboundedReceiver<Result<(), CliError>>;

impl Outputs {
    /// Begins to write.
    pub(crate) fn start() -> (Self, Written) {
        let (to, pieces) = threads::channel::<(To, Bytes)>();
        let (done, written) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while let Ok((to, bytes)) = pieces.recv() {
                let result = write(to, &bytes);
                let failed = result.is_err();
                if done.send(result).is_err() || failed {
                    return;
                }
            }
        });
        (Self { to }, written)
    }

    /// For standard output.
    pub(crate) fn output(&self, bytes: Bytes) {
        self.give(To::Output, bytes);
    }

    /// For standard error.
    pub(crate) fn error(&self, bytes: Bytes) {
        self.give(To::Error, bytes);
    }

    fn give(&self, to: To, bytes: Bytes) {
        // After a failure, which was told, nothing is written any more.
        let _ = self.to.send((to, bytes));
    }
}

fn write(to: To, bytes: &[u8]) -> Result<(), CliError> {
    let put = |out: &mut dyn Write| out.write_all(bytes).and_then(|()| out.flush());
    print::written(match to {
        To::Output => put(&mut io::stdout().lock()),
        // A closed standard error is nobody's fault and changes no result.
        To::Error => put(&mut io::stderr().lock()).or(Ok(())),
    })
}
