//! A guest that a test plays, frame by frame.

use std::time::Duration;

use ring_guest::{Decoder, End, Hello, Source, Start, State, ToGuest, ToHost, VERSION, Welcome, encode};
use ring_types::InstanceId;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::world::{DEADLINE, World, within};

/// One connection of a guest.
pub(crate) struct Played(UnixStream, Decoder<ToGuest>);

impl Played {
    /// Dials until it is heard, as an init does.
    pub(crate) async fn dial(world: &World, instance: InstanceId) -> Self {
        let path = world.socket(instance, "vsock_1024");
        let begun = std::time::Instant::now();
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return Self(stream, Decoder::default()),
                Err(error) => assert!(begun.elapsed() < DEADLINE, "nobody listens: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Dials, and says who it is; gives what it is answered.
    pub(crate) async fn greet(world: &World, instance: InstanceId, boot: &str, state: State) -> (Self, Welcome) {
        let mut guest = Self::dial(world, instance).await;
        guest.say(&ToHost::Hello(Hello { version: VERSION, boot: boot.to_owned(), state })).await;
        match guest.hear().await {
            Some(ToGuest::Welcome(welcome)) => (guest, welcome),
            other => panic!("it was answered {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, message: &ToHost) {
        self.0.write_all(&encode(message).unwrap()).await.unwrap();
    }

    /// The next frame; None when the host hung up.
    pub(crate) async fn hear(&mut self) -> Option<ToGuest> {
        within(async {
            loop {
                if let Some(message) = self.1.next().unwrap() {
                    return Some(message);
                }
                let mut piece = [0; 4096];
                match self.0.read(&mut piece).await {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => self.1.push(&piece[..read]),
                }
            }
        })
        .await
    }

    /// The order to start, which has to come next.
    pub(crate) async fn order(&mut self) -> Start {
        match self.hear().await {
            Some(ToGuest::Start(start)) => *start,
            other => panic!("it was told {other:?}"),
        }
    }

    /// Says that it started.
    pub(crate) async fn started(&mut self) {
        self.say(&ToHost::Started { pid: 7, at: now() }).await;
    }

    pub(crate) async fn print(&mut self, offset: u64, text: &str) {
        self.say(&ToHost::Output { source: Source::Stdout, offset, bytes: text.as_bytes().to_vec() }).await;
    }

    /// Waits for the acknowledgement of everything before this place.
    pub(crate) async fn acknowledged(&mut self, wanted: u64) {
        loop {
            match self.hear().await {
                Some(ToGuest::OutputAck { offset }) if offset == wanted => return,
                Some(ToGuest::OutputAck { .. }) => {}
                other => panic!("it was told {other:?}"),
            }
        }
    }

    pub(crate) async fn ended(&mut self, code: i32) {
        self.say(&ToHost::Ended(End::Exited { code, at: now() })).await;
    }

    /// Reads on to the acknowledgement of its end.
    pub(crate) async fn released(&mut self) {
        loop {
            match self.hear().await {
                Some(ToGuest::ExitAck) => return,
                Some(_) => {}
                None => panic!("the host hung up before it acknowledged the end"),
            }
        }
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
