//! A guest that a test plays, frame by frame.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ring_guest::{End, Hello, Source, Start, State, ToGuest, ToHost, VERSION, Welcome, read_frame, write_frame};
use ring_types::InstanceId;

use crate::world::{DEADLINE, World};

/// One connection of a guest.
pub(crate) struct Played(UnixStream);

impl Played {
    /// Dials until it is heard, as an init does.
    pub(crate) async fn dial(world: &World, instance: InstanceId) -> Self {
        let path = world.socket(instance, "vsock_1024");
        let begun = std::time::Instant::now();
        loop {
            match connect(&path) {
                Ok(stream) => return Self(stream),
                Err(error) => assert!(begun.elapsed() < DEADLINE, "nobody listens: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Dials, and says who it is; gives what it is answered.
    pub(crate) async fn greet(world: &World, instance: InstanceId, boot: &str, state: State) -> (Self, Welcome) {
        let mut guest = Self::dial(world, instance).await;
        guest.say(&ToHost::Hello(Hello { version: VERSION, boot: boot.to_owned(), state }));
        match guest.hear() {
            Some(ToGuest::Welcome(welcome)) => (guest, welcome),
            other => panic!("it was answered {other:?}"),
        }
    }

    pub(crate) fn say(&mut self, message: &ToHost) {
        write_frame(&mut self.0, message).unwrap();
    }

    /// The next frame; None when the host hung up.
    pub(crate) fn hear(&mut self) -> Option<ToGuest> {
        tokio::task::block_in_place(|| read_frame(&mut self.0)).unwrap_or(None)
    }

    /// The order to start, which has to come next.
    pub(crate) fn order(&mut self) -> Start {
        match self.hear() {
            Some(ToGuest::Start(start)) => *start,
            other => panic!("it was told {other:?}"),
        }
    }

    /// Says that it started.
    pub(crate) fn started(&mut self) {
        self.say(&ToHost::Started { pid: 7, at: now() });
    }

    pub(crate) fn print(&mut self, offset: u64, text: &str) {
        self.say(&ToHost::Output { source: Source::Stdout, offset, bytes: text.as_bytes().to_vec() });
    }

    /// Waits for the acknowledgement of everything before this place.
    pub(crate) fn acknowledged(&mut self, wanted: u64) {
        loop {
            match self.hear() {
                Some(ToGuest::OutputAck { offset }) if offset == wanted => return,
                Some(ToGuest::OutputAck { .. }) => {}
                other => panic!("it was told {other:?}"),
            }
        }
    }

    pub(crate) fn ended(&mut self, code: i32) {
        self.say(&ToHost::Ended(End::Exited { code, at: now() }));
    }

    /// Reads on to the acknowledgement of its end.
    pub(crate) fn released(&mut self) {
        loop {
            match self.hear() {
                Some(ToGuest::ExitAck) => return,
                Some(_) => {}
                None => panic!("the host hung up before it acknowledged the end"),
            }
        }
    }
}

fn connect(path: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
