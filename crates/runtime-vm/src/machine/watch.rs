//! Waiting for whatever happens to a machine.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ring_guest::ToGuest;
use ring_runtime::{LogSource, RuntimeError, RuntimeErrorKind};
use tokio::time::{Instant, timeout};

use super::{Ask, Ending, Machine, Stage};
use crate::api::VmState;
use crate::console;
use crate::events::Sign;
use crate::link::Heard;
use crate::shares::{self, Served};
use crate::vmm::Afterwards;
use crate::wiring::places;
use ring_runtime_host::notice::Notice;
use ring_runtime_host::proc;

/// A VM that is off takes those that serve it with it, and is noticed to be off by then.
const SETTLED: Duration = Duration::from_secs(1);

/// What happened.
enum Happened {
    Heard(Heard),
    Asked(Ask),
    /// The VMM's files may have changed.
    Noticed,
    VmmGone,
    /// One that serves a directory of the host has ended, with a sentence on it.
    ShareGone(String),
    /// The guest has not come up.
    Late,
}

impl Machine {
    /// Watches until it has ended, however that is.
    pub(super) async fn watch(&mut self) -> Ending {
        let run = self.dir.run();
        let notice = Notice::of([Path::new(&run)]);
        let vmm = proc::gone(self.vmm.process);
        tokio::pin!(vmm);
        let mut served: FuturesUnordered<_> = self.served().await.into_iter().map(Served::gone).collect();
        let deadline = Instant::now() + self.shared.config.patience.guest;
        // What was written before anybody watched makes no notice.
        let mut happened = Happened::Noticed;
        loop {
            let ending = match happened {
                Happened::Heard(heard) => self.hear(heard).await,
                Happened::Asked(ask) => self.answer(ask),
                Happened::Noticed => self.read().await,
                Happened::VmmGone => Some(self.vmm_gone().await),
                Happened::ShareGone(told) => Some(self.share_gone(&told).await),
                Happened::Late => self.late().await,
            };
            if let Some(ending) = ending {
                return ending;
            }
            let waits = self.is_image() && !self.stage.borrow().is_decided();
            happened = tokio::select! {
                heard = heard(self.link.as_mut()) => Happened::Heard(heard),
                Some(ask) = self.asks.recv() => Happened::Asked(ask),
                () = notice.changed() => Happened::Noticed,
                () = &mut vmm => Happened::VmmGone,
                Some(told) = served.next() => Happened::ShareGone(told),
                () = tokio::time::sleep_until(deadline), if waits => Happened::Late,
            };
        }
    }

    fn answer(&mut self, ask: Ask) -> Option<Ending> {
        match (ask, self.link.as_mut()) {
            (Ask::Kill, _) => return Some(Ending::Killed),
            (Ask::Say(message @ (ToGuest::Stop { .. } | ToGuest::Kill)), Some(_)) if !self.known => self.signal = Some(message),
            (Ask::Say(message), Some(link)) => link.say(&message),
            (Ask::Exec(exec, reply), Some(link)) if self.known => {
                let opened = self.execs.open();
                link.say(&ToGuest::Exec { id: opened.id(), exec });
                // One who asked and left has dropped what it was given, which ends the command.
                let _ = reply.send(Ok(opened));
            }
            (Ask::Exec(_, reply), _) => {
                let message = format!("the guest of instance {} is not connected now, try again", self.instance);
                let _ = reply.send(Err(RuntimeError::new(RuntimeErrorKind::Unavailable, message)));
            }
            (Ask::Measure(reply), Some(link)) => {
                self.measuring.push(reply);
                link.say(&ToGuest::Measure);
            }
            (Ask::Measure(_) | Ask::Say(_), None) => {}
        }
        None
    }

    /// Reads what the VMM has written down since the last time.
    pub(super) async fn read(&mut self) -> Option<Ending> {
        self.read_console().await;
        let mut events = self.events.clone();
        let read = self.shared.blocking(move |_| events.read().map(|signs| (signs, events))).await;
        let (signs, events) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(instance = %self.instance, %error, "the events of a VMM cannot be read");
                return None;
            }
        };
        self.events = events;
        let has = |sign| signs.contains(&sign);
        if has(Sign::Panicked) {
            return Some(self.lost("the guest's kernel panicked"));
        }
        if has(Sign::Rebooted) {
            return Some(self.lost("the guest was reset"));
        }
        // The guest of an image that is off has taken its end with it, unless that is on its way to us.
        if has(Sign::Off) && !self.is_image() { self.off(has(Sign::Ending)).await } else { None }
    }

    /// The guest of a disk image is off: by itself, or because its VMM was ended. A VMM that stays tells the one from the other.
    async fn off(&self, ending: bool) -> Option<Ending> {
        if self.vmm.afterwards == Afterwards::End {
            return Some(Ending::Off);
        }
        // Asked when it is about to end it does not answer, and then its end is what is noticed.
        let stays = !ending && matches!(self.api.state().await, Ok(VmState::Created));
        stays.then_some(Ending::Off)
    }

    pub(super) async fn read_console(&mut self) {
        loop {
            let mut console = self.console.clone();
            let read = self.shared.blocking(move |_| console.read().map(|piece| (piece, console))).await;
            let Ok(((offset, piece), console)) = read else { return };
            self.console = console;
            if piece.is_empty() {
                return;
            }
            if !self.is_image() {
                self.book.take(Self::now(), LogSource::Stdout, offset, piece).await;
            }
        }
    }

    async fn vmm_gone(&mut self) -> Ending {
        match self.read().await {
            Some(ending) => ending,
            None => self.lost("the VMM ended"),
        }
    }

    async fn served(&self) -> Vec<Served> {
        let dir = self.dir.clone();
        self.shared.blocking(move |_| Ok(shares::served(places(&dir)))).await.unwrap_or_default()
    }

    /// A guest whose directory nobody serves hangs in the next call that touches it, and nobody can serve it again.
    async fn share_gone(&mut self, told: &str) -> Ending {
        if timeout(SETTLED, proc::gone(self.vmm.process)).await.is_ok() {
            return self.vmm_gone().await;
        }
        match self.read().await {
            Some(ending) => ending,
            None => self.lost(told),
        }
    }

    /// A guest that has not said a word for long: what its console says last is the best there is to tell.
    async fn late(&mut self) -> Option<Ending> {
        let state = self.api.state().await.map_or_else(|error| error.to_string(), |state| format!("its VM is {state:?}"));
        Some(
            self.lost(&format!(
                "the guest has not come up within {} seconds ({state})",
                self.shared.config.patience.guest.as_secs()
            )),
        )
    }

    /// The end of a machine of which nobody says how its workload ended.
    pub(super) fn lost(&self, what: &str) -> Ending {
        let console = console::tail(&self.dir.console()).map(|tail| format!("; its console says last: {tail}"));
        let told = format!("{what}{}", console.unwrap_or_default());
        match *self.stage.borrow() {
            Stage::Booting => Ending::NeverStarted(told),
            _ => Ending::Lost(told),
        }
    }
}

async fn heard(link: Option<&mut crate::link::Link>) -> Heard {
    match link {
        Some(link) => link.heard().await,
        None => std::future::pending().await,
    }
}
