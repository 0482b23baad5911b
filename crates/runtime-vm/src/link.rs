//! The connection to a guest: the driver listens, the guest dials, and dials again when it is not heard.

use std::io;
use std::path::{Path, PathBuf};

use ring_guest::{Decoder, ToGuest, ToHost, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::prepare::remove_file;

/// Messages of a guest that wait to be looked at.
const INCOMING: usize = 64;

/// Messages that wait for a guest. One that lets more of them wait takes nothing any more, and is hung up on.
const OUTGOING: usize = 4096;

/// Read at once, bytes.
const PIECE: usize = 64 * 1024;

/// Where a guest is listened for, and the connection to it when there is one.
pub(crate) struct Link {
    listener: UnixListener,
    connection: Option<Connection>,
}

/// What happened on a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A guest dialled; a connection that was there before is gone.
    Connected,
    /// It said this.
    Message(ToHost),
    /// It hung up, or said what is no message.
    Lost,
}

struct Connection {
    incoming: mpsc::Receiver<ToHost>,
    outgoing: mpsc::Sender<Vec<u8>>,
    /// Reading and writing end with the connection.
    tasks: JoinSet<()>,
}

/// The socket on which the VMM connects for a guest that dials our port.
pub(crate) fn path(vsock: &Path) -> PathBuf {
    let mut path = vsock.as_os_str().to_owned();
    path.push(format!("_{}", ring_guest::PORT));
    path.into()
}

impl Link {
    /// Listens for the guest with this vsock. Whoever listened before is not heard of any more.
    pub(crate) fn listen(vsock: &Path) -> io::Result<Self> {
        let path = path(vsock);
        remove_file(&path)?;
        Ok(Self { listener: UnixListener::bind(path)?, connection: None })
    }

    /// What happens next. Nothing is lost when this is dropped and called again.
    pub(crate) async fn heard(&mut self) -> Heard {
        let Self { listener, connection } = self;
        loop {
            let heard = async {
                match connection {
                    Some(connection) => connection.incoming.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What a connection still has to say comes before a new one takes its place.
                biased;
                message = heard => {
                    if let Some(message) = message {
                        return Heard::Message(message);
                    }
                    *connection = None;
                    return Heard::Lost;
                }
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    *connection = Some(Connection::new(stream));
                    return Heard::Connected;
                },
            }
        }
    }

    /// Says something to the guest; lost when there is no connection. Hangs up when the guest takes nothing.
    pub(crate) fn say(&mut self, message: &ToGuest) {
        let Some(connection) = &self.connection else { return };
        let sent = encode(message).map(|bytes| connection.outgoing.try_send(bytes));
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("a guest is hung up on: what it is told cannot be sent");
            self.hang_up();
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Ends the connection; [`Heard::Lost`] tells of it after what had come already.
    pub(crate) fn hang_up(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.incoming.close();
            connection.tasks.abort_all();
        }
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (heard, incoming) = mpsc::channel(INCOMING);
        let (outgoing, said) = mpsc::channel(OUTGOING);
        let mut tasks = JoinSet::new();
        tasks.spawn(read(reader, heard));
        tasks.spawn(write(writer, said));
        Self { incoming, outgoing, tasks }
    }
}

async fn read(mut from: OwnedReadHalf, heard: mpsc::Sender<ToHost>) {
    let mut decoder = Decoder::default();
    let mut piece = vec![0; PIECE];
    while let Ok(read) = from.read(&mut piece).await {
        if read == 0 {
            return;
        }
        decoder.push(&piece[..read]);
        loop {
            match decoder.next() {
                Ok(Some(message)) => {
                    if heard.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "a guest is hung up on");
                    return;
                }
            }
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut said: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = said.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use ring_guest::{Hello, State, Welcome, read_frame, write_frame};

    use super::*;

    fn hello(boot: &str) -> ToHost {
        ToHost::Hello(Hello { version: 1, boot: boot.to_owned(), state: State::Waiting })
    }

    #[tokio::test]
    async fn the_last_guest_that_dials_is_the_one_that_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let vsock = dir.path().join("vsock");
        let mut link = Link::listen(&vsock).unwrap();
        let dial = || std::os::unix::net::UnixStream::connect(path(&vsock)).unwrap();
        let mut first = dial();
        write_frame(&mut first, &hello("a")).unwrap();
        assert_eq!(link.heard().await, Heard::Connected);
        assert_eq!(link.heard().await, Heard::Message(hello("a")));
        let mut second = dial();
        write_frame(&mut second, &hello("b")).unwrap();
        assert_eq!(link.heard().await, Heard::Connected);
        assert_eq!(link.heard().await, Heard::Message(hello("b")));
        let welcome = ToGuest::Welcome(Welcome { version: 1, offset: 3 });
        link.say(&welcome);
        let told = tokio::task::spawn_blocking(move || (read_frame::<ToGuest>(&mut second), second)).await.unwrap();
        assert_eq!(told.0.unwrap(), Some(welcome));
        drop(told.1);
        assert_eq!(link.heard().await, Heard::Lost);
        assert!(!link.is_connected());
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_connection_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let vsock = dir.path().join("vsock");
        drop(Link::listen(&vsock).unwrap());
        let mut link = Link::listen(&vsock).unwrap();
        let mut bad = std::os::unix::net::UnixStream::connect(path(&vsock)).unwrap();
        io::Write::write_all(&mut bad, &[255; 64]).unwrap();
        assert_eq!(link.heard().await, Heard::Connected);
        assert_eq!(link.heard().await, Heard::Lost);
        let mut good = std::os::unix::net::UnixStream::connect(path(&vsock)).unwrap();
        write_frame(&mut good, &hello("c")).unwrap();
        assert_eq!(link.heard().await, Heard::Connected);
        assert_eq!(link.heard().await, Heard::Message(hello("c")));
    }
}
