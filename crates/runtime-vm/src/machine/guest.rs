//! What a guest says, and what it is told.

use ring_guest::{Failed, Hello, Source, State, Step, ToGuest, ToHost, VERSION, Welcome};
use ring_runtime::LogSource;
use ring_types::{StartFailure, Timestamp};

use super::{Ending, Machine, Stage};
use crate::link::Heard;
use crate::order;
use crate::record::{self, Started, Starting};
use ring_runtime_host::proc;

impl Machine {
    pub(super) async fn hear(&mut self, heard: Heard) -> Option<Ending> {
        match heard {
            Heard::Connected | Heard::Lost => {
                self.known = false;
                self.execs.lost();
                self.measuring.clear();
                None
            }
            Heard::Message(ToHost::Hello(hello)) => self.greet(hello).await,
            // Nothing is said before the greeting.
            Heard::Message(_) if !self.known => {
                self.hang_up("it said something before its greeting");
                None
            }
            Heard::Message(message) => self.take(message).await,
        }
    }

    async fn take(&mut self, message: ToHost) -> Option<Ending> {
        if self.execs.take(&message) {
            return None;
        }
        match message {
            ToHost::Started { at, .. } => self.has_started(at).await,
            ToHost::Output { source, offset, bytes } => {
                let source = if source == Source::Stdout { LogSource::Stdout } else { LogSource::Stderr };
                let offset = self.book.take(Self::now(), source, offset, bytes).await;
                self.say(&ToGuest::OutputAck { offset });
            }
            ToHost::Heartbeat(measured) => {
                for asked in self.measuring.drain(..) {
                    // Whoever asked may have left.
                    let _ = asked.send(measured);
                }
            }
            ToHost::Ended(end) => return Some(Ending::Told(end)),
            ToHost::Failed(Failed { step, message }) => return Some(Ending::Failed(cause(step), message)),
            _ => self.hang_up("it said something that has no place here"),
        }
        None
    }

    /// The first word of a guest. The first of all is where its workload is started, once: from the record on, only this very boot
    /// of this guest may be told to, and it does it once however often it is told.
    async fn greet(&mut self, hello: Hello) -> Option<Ending> {
        if hello.version != VERSION {
            self.hang_up(&format!("it speaks version {} of the protocol and this agent version {VERSION}", hello.version));
            return None;
        }
        match &self.starting {
            Some(starting) if starting.guest.as_ref() != Some(&hello.boot) => return Some(self.lost("the guest was reset")),
            Some(_) if self.started.is_some() && hello.state == State::Waiting => {
                return Some(self.lost("the guest does not know that it had started its workload"));
            }
            _ => {}
        }
        let start = if hello.state == State::Waiting {
            match order::start(self.instance, &self.record, &self.vmm.wiring, self.kept().await) {
                Ok(start) => Some(start),
                Err(error) => return Some(Ending::Failed(StartFailure::Config, error.message)),
            }
        } else {
            None
        };
        if self.starting.is_none() {
            self.commit(hello.boot).await?;
        }
        self.known = true;
        self.say(&ToGuest::Welcome(Welcome { version: VERSION, offset: self.book.written() }));
        if let Some(start) = start {
            self.say(&ToGuest::Start(Box::new(start)));
        }
        if let Some(signal) = self.signal.take() {
            self.say(&signal);
        }
        None
    }

    async fn kept(&self) -> Option<crate::vault::Kept> {
        let instance = self.instance;
        self.shared.blocking(move |shared| Ok(shared.vault.get(instance))).await.ok().flatten()
    }

    /// Writes down that this guest is about to be told to start. None when that cannot be done: then it is not told, and dials again.
    async fn commit(&mut self, guest: String) -> Option<()> {
        let starting = Starting { boot: proc::boot_id(), guest: Some(guest), at: ring_runtime::now() };
        let (path, written) = (self.dir.starting(), starting.clone());
        match self.shared.blocking(move |_| record::write_new(&path, &written)).await {
            Ok(true) => {}
            Ok(false) => self.hang_up("its instance was started by somebody else"),
            Err(error) => self.hang_up(&format!("its start cannot be written down: {error}")),
        }
        // Also what somebody else wrote counts from now on.
        let path = self.dir.starting();
        self.starting = self.shared.blocking(move |_| record::read(&path)).await.ok().flatten();
        if self.starting.as_ref() != Some(&starting) {
            return None;
        }
        self.set(Stage::Starting);
        Some(())
    }

    async fn has_started(&mut self, at: u64) {
        if self.started.is_some() {
            return;
        }
        let started = Started { at: self.within(at), address: self.vmm.wiring.address.clone() };
        self.persist(self.dir.started(), started.clone()).await;
        self.started = Some(started);
        self.set(Stage::Running);
    }

    /// A time by the guest's clock, between the order to start and now.
    pub(super) fn within(&self, at: u64) -> Timestamp {
        let now = ring_runtime::now();
        let begun = self.started.as_ref().map(|started| started.at);
        let begun = begun.or_else(|| self.starting.as_ref().map(|starting| starting.at)).unwrap_or(now).min(now);
        Timestamp(i64::try_from(at).unwrap_or(i64::MAX)).clamp(begun, now)
    }

    pub(super) fn say(&mut self, message: &ToGuest) {
        if let Some(link) = &mut self.link {
            link.say(message);
        }
    }

    fn hang_up(&mut self, why: &str) {
        tracing::warn!(instance = %self.instance, "the guest is hung up on: {why}");
        if let Some(link) = &mut self.link {
            link.hang_up();
        }
    }
}

fn cause(step: Step) -> StartFailure {
    match step {
        Step::Root | Step::Mount => StartFailure::FileSystem,
        Step::File => StartFailure::Config,
        Step::Network => StartFailure::Network,
        Step::User | Step::Execute => StartFailure::Create,
    }
}
