//! Collects everything that ends: what was started here, and what lost its parent.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, wait, waitid};

use super::guest::Guest;

/// Who waits for whom.
#[derive(Default)]
pub(super) struct Reaper {
    watched: Mutex<HashMap<i32, Sender<WaitStatus>>>,
    spawned: Condvar,
}

/// A process that was started here.
pub(super) struct Spawned {
    /// Its pipes. Its end is not to be waited for with it.
    pub(super) child: Child,
    /// Gives how it ended.
    pub(super) end: Receiver<WaitStatus>,
}

impl Spawned {
    pub(super) fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Reaper {
    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Sender<WaitStatus>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process whose end will be told. Nothing is collected meanwhile, so that none ends unseen, and the library can
    /// collect a child that did not come to be.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Spawned> {
        let mut watched = self.lock();
        let child = command.spawn()?;
        let (sender, end) = channel();
        watched.insert(child.id() as i32, sender);
        self.spawned.notify_all();
        Ok(Spawned { child, end })
    }

    /// Sends a signal to a process started here, unless it has been collected: then the number may be another's.
    pub(super) fn signal(&self, pid: i32, signal: Signal) {
        let watched = self.lock();
        if let Some(pid) = Pid::from_raw(pid).filter(|_| watched.contains_key(&pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    fn run(&self) {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => self.collect(),
                Err(Errno::CHILD) => self.wait_for_children(),
                Err(_) => {}
            }
        }
    }

    fn collect(&self) {
        let mut watched = self.lock();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(waiting) = watched.remove(&pid.as_raw_pid()) {
                let _ = waiting.send(status);
            }
        }
    }

    /// Whoever has no children gets some only by starting them.
    fn wait_for_children(&self) {
        let mut watched = self.lock();
        while watched.is_empty() {
            watched = self.spawned.wait(watched).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts the thread that collects.
pub(super) fn start(guest: &Arc<Guest>) -> io::Result<()> {
    let guest = Arc::clone(guest);
    std::thread::Builder::new().name("reaper".to_owned()).spawn(move || guest.reaper.run())?;
    Ok(())
}
