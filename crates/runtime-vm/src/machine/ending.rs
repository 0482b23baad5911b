//! From the end of a workload to nothing being left of its VM.

use std::time::Duration;

use ring_guest::{End, ToGuest, ToHost};
use ring_types::{Outcome, StartFailure, UnknownExit};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Ending, Machine, Stage};
use crate::link::Heard;
use crate::record::Exit;
use crate::vmm;
use ring_runtime_host::proc;

/// A guest whose end is acknowledged powers off by then.
const POWER_OFF: Duration = Duration::from_secs(5);

/// What a guest had sent before its VMM ended is read by then.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// SIGKILL.
const KILL: i32 = 9;

impl Machine {
    pub(super) async fn end(mut self, ending: Ending) {
        let ending = self.last_words(ending).await;
        self.execs.lost();
        let refused = match ending {
            Ending::NeverStarted(why) => Some(self.refused(StartFailure::Create, &why)),
            Ending::Killed if self.starting.is_none() => {
                Some(self.refused(StartFailure::Cancelled, "it was stopped before its guest was told to start"))
            }
            ending => {
                self.write_down(ending).await;
                None
            }
        };
        let (shared, instance) = (self.shared.clone(), self.instance);
        if let Err(error) = shared.sweep(instance).await {
            tracing::warn!(%instance, %error, "something of a VM is left; it goes when the instance is removed");
        }
        shared.release(instance);
        if refused.is_none() {
            // What has ended needs no secrets any more.
            let forgotten = shared.blocking(move |shared| {
                shared.vault.forget(instance);
                Ok(())
            });
            let _ = forgotten.await;
        }
        shared.forget(instance);
        let stage = self.stage.clone();
        // The lock on the log is given back before anybody is told that this is over.
        drop(self);
        stage.send_replace(Stage::Gone(refused));
        shared.changed(instance);
    }

    /// A guest may have said how its workload ended, and have been cut off before that was read.
    async fn last_words(&mut self, ending: Ending) -> Ending {
        if self.link.is_none() || !matches!(ending, Ending::Lost(_) | Ending::Killed) {
            return ending;
        }
        vmm::end(self.vmm.process, &self.api).await;
        let deadline = Instant::now() + LAST_WORDS;
        while self.link.as_ref().is_some_and(crate::link::Link::is_connected) {
            let Some(link) = self.link.as_mut() else { break };
            let Ok(heard) = timeout_at(deadline, link.heard()).await else { break };
            // A guest that was reset says nothing any more about the one before it.
            if matches!(heard, Heard::Connected | Heard::Message(ToHost::Hello(_))) {
                break;
            }
            if let Some(told @ (Ending::Told(_) | Ending::Failed(..))) = self.hear(heard).await {
                return told;
            }
        }
        ending
    }

    /// Puts the end on the disk, and then tells of it, the guest first.
    async fn write_down(&mut self, ending: Ending) {
        self.book.finish(Self::now()).await;
        let killed = self.was_killed().await;
        let told = matches!(ending, Ending::Told(_) | Ending::Failed(..));
        let (outcome, at, detail) = Self::outcome(ending, killed);
        if let Some(detail) = &detail {
            self.book.note(Self::now(), detail.clone()).await;
        }
        let started_at = self.started.as_ref().map(|started| started.at);
        let finished_at = at.map_or_else(ring_runtime::now, |at| self.within(at));
        self.persist(self.dir.exit(), Exit { outcome, started_at, finished_at, detail }).await;
        self.set(Stage::Ended);
        if told {
            self.say(&ToGuest::ExitAck);
            // One that stays is ended by what comes next.
            let _ = timeout(POWER_OFF, proc::gone(self.vmm.process)).await;
        }
    }

    /// Outcome, when by the guest's clock, and what people are told.
    fn outcome(ending: Ending, killed: bool) -> (Outcome, Option<u64>, Option<String>) {
        let lost = Outcome::Unknown(UnknownExit::VmLost);
        let killed_by_us = Outcome::Signal { signal: KILL, oom_killed: false };
        match ending {
            Ending::Told(End::Exited { code, at }) => (Outcome::Code(code), Some(at), None),
            Ending::Told(End::Signaled { signal, at }) => (Outcome::Signal { signal, oom_killed: false }, Some(at), None),
            Ending::Told(End::OutOfMemory { at }) => (Outcome::Signal { signal: KILL, oom_killed: true }, Some(at), None),
            Ending::Told(End::Unknown { at }) => (lost, Some(at), Some("the guest does not know how it ended".to_owned())),
            Ending::Failed(cause, message) => {
                let detail = Some(format!("not started: {message}"));
                (Outcome::NotStarted { cause, message }, None, detail)
            }
            Ending::Killed => (killed_by_us, None, None),
            Ending::Off | Ending::Lost(_) if killed => (killed_by_us, None, None),
            Ending::Off => (Outcome::Code(0), None, None),
            Ending::Lost(why) | Ending::NeverStarted(why) => {
                (lost, None, Some(format!("the micro-VM was lost: {why}; how the workload ended is not known")))
            }
        }
    }

    /// Was the plug pulled by us, perhaps by an agent before this one?
    async fn was_killed(&self) -> bool {
        let path = self.dir.killed();
        self.shared.blocking(move |_| Ok(path.exists())).await.unwrap_or_default()
    }
}
