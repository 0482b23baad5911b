//! Commands that run beside the workload.
//!
//! Each has a session of its own and three threads: one follows it to its end, one reads its output, one gives it its input. When
//! its own process has ended, the rest of its session is ended too.

use std::collections::{HashMap, VecDeque};
use std::io::{self, pipe};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::Builder;

use ring_guest::{CHUNK, EXECS, Exec, Source, TerminalSize, ToHost, WINDOW};
use rustix::process::WaitStatus;

use super::guest::{Guest, Inner, Phase};
use super::output::{Event, Outputs};
use super::proc;
use super::reaper::Spawned;
use super::stage::{Surroundings, command};
use super::terminal::{self, Keys};

/// Of a command whose end is not known: 128 and SIGKILL.
const KILLED: i32 = 137;

/// The commands of one connection, by the host's numbers.
#[derive(Default)]
pub(super) struct Execs(HashMap<u32, State>);

struct State {
    leader: i32,
    /// Bytes of output that may be sent.
    credit: usize,
    input: VecDeque<Vec<u8>>,
    /// The end of the input follows what is in the queue.
    closing: bool,
    terminal: Option<OwnedFd>,
}

impl Execs {
    pub(super) fn leader(&self, id: u32) -> Option<i32> {
        self.0.get(&id).map(|state| state.leader)
    }

    pub(super) fn input(&mut self, id: u32, bytes: Vec<u8>) {
        let state = self.0.get_mut(&id).filter(|state| !state.closing);
        // More than was allowed is lost: it must not grow without end.
        let fits = |state: &&mut State| state.input.iter().map(Vec::len).sum::<usize>() + bytes.len() <= WINDOW + CHUNK;
        if let Some(state) = state.filter(fits) {
            state.input.push_back(bytes);
        }
    }

    pub(super) fn close(&mut self, id: u32) {
        if let Some(state) = self.0.get_mut(&id) {
            state.closing = true;
        }
    }

    pub(super) fn resize(&self, id: u32, size: TerminalSize) {
        if let Some(terminal) = self.0.get(&id).and_then(|state| state.terminal.as_ref()) {
            // The command may have ended.
            let _ = terminal::resize(terminal, size);
        }
    }

    pub(super) fn taken(&mut self, id: u32, bytes: u32) {
        if let Some(state) = self.0.get_mut(&id) {
            state.credit = (state.credit + bytes as usize).min(WINDOW);
        }
    }

    /// Forgets all of them, and says whom to end.
    pub(super) fn take_all(&mut self) -> Vec<i32> {
        self.0.drain().map(|(_, state)| state.leader).collect()
    }
}

/// One command, for its threads.
#[derive(Clone)]
struct Handle {
    guest: Arc<Guest>,
    session: u64,
    id: u32,
}

impl Handle {
    fn tell(&self, message: ToHost) {
        self.guest.tell(self.session, message);
    }

    fn find<'a>(&self, inner: &'a mut Inner) -> Option<&'a mut State> {
        if inner.session.number == self.session { inner.session.execs.0.get_mut(&self.id) } else { None }
    }
}

/// Runs a command, or says why not.
pub(super) fn begin(guest: &Arc<Guest>, session: u64, id: u32, exec: Exec) {
    let handle = Handle { guest: Arc::clone(guest), session, id };
    let refuse = |message: String| handle.tell(ToHost::ExecRefused { id, message });
    let begun = guest.change(|inner| {
        let Phase::Running(surroundings) = &inner.phase else { return Err("the instance does not run".to_owned()) };
        if inner.session.execs.0.contains_key(&id) {
            return Err(format!("command {id} is under way already"));
        }
        if inner.session.execs.0.len() >= EXECS {
            return Err(format!("{EXECS} commands are under way in the instance, and it takes no more"));
        }
        let begun = spawn(guest, surroundings, &exec).map_err(|error| format!("the command was not run: {error}"))?;
        let state = State {
            leader: begun.spawned.pid(),
            credit: WINDOW,
            input: VecDeque::new(),
            closing: false,
            terminal: begun.resized.as_ref().and_then(|terminal| terminal.try_clone().ok()),
        };
        inner.session.execs.0.insert(id, state);
        Ok(begun)
    });
    match begun {
        Ok(begun) => {
            let leader = begun.spawned.pid();
            let own = handle.clone();
            if let Err(error) = Builder::new().name("command".to_owned()).spawn(move || follow(&own, begun)) {
                proc::end_session(leader);
                guest.change(|inner| inner.session.execs.0.remove(&id));
                refuse(format!("no thread for the command: {error}"));
            }
        }
        Err(message) => refuse(message),
    }
}

struct Begun {
    spawned: Spawned,
    outputs: Vec<(Source, OwnedFd)>,
    keys: Keys,
    resized: Option<OwnedFd>,
}

fn spawn(guest: &Guest, surroundings: &Surroundings, exec: &Exec) -> io::Result<Begun> {
    match exec.terminal {
        Some(size) => on_terminal(guest, surroundings, exec, size),
        None => on_pipes(guest, surroundings, exec),
    }
}

fn on_pipes(guest: &Guest, surroundings: &Surroundings, exec: &Exec) -> io::Result<Begun> {
    let mut command = command(&exec.argv, surroundings, false);
    command.stdin(if exec.stdin { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut spawned = guest.reaper.spawn(&mut command)?;
    let (out, err) = (spawned.child.stdout.take().map(OwnedFd::from), spawned.child.stderr.take().map(OwnedFd::from));
    let outputs = [(Source::Stdout, out), (Source::Stderr, err)];
    let keys = spawned.child.stdin.take().map_or(Keys::None, |pipe| Keys::Pipe(pipe.into()));
    Ok(Begun {
        spawned,
        outputs: outputs.into_iter().filter_map(|(source, fd)| Some((source, fd?))).collect(),
        keys,
        resized: None,
    })
}

fn on_terminal(guest: &Guest, surroundings: &Surroundings, exec: &Exec, size: TerminalSize) -> io::Result<Begun> {
    let (master, slave) = terminal::open(size, surroundings.ids.as_ref())?;
    let mut command = command(&exec.argv, surroundings, true);
    if !surroundings.env.iter().any(|(name, _)| name == "TERM") {
        command.env("TERM", "xterm");
    }
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let (keys, resized) = (Keys::Terminal(master.try_clone()?), master.try_clone()?);
    let spawned = guest.reaper.spawn(&mut command)?;
    Ok(Begun { spawned, outputs: vec![(Source::Stdout, master)], keys, resized: Some(resized) })
}

/// To the end of the command, of what it left behind, and of its output.
fn follow(handle: &Handle, begun: Begun) {
    let leader = begun.spawned.pid();
    let helpers = pipe().and_then(|(reader, writers)| {
        begun.keys.prepare()?;
        let (own, outputs) = (handle.clone(), Outputs::new(begun.outputs, reader));
        let reading = Builder::new().name("command output".to_owned()).spawn(move || read(&own, outputs))?;
        let (own, keys) = (handle.clone(), begun.keys);
        let typing = Builder::new().name("command input".to_owned()).spawn(move || press(&own, keys))?;
        Ok((writers, reading, typing))
    });
    if helpers.is_err() {
        proc::kill_session(leader);
    }
    let status = begun.spawned.end.recv().ok();
    proc::end_session(leader);
    if let Ok((writers, reading, typing)) = helpers {
        drop(writers);
        let _ = reading.join();
        handle.guest.change(|inner| handle.find(inner).map(|state| state.closing = true));
        let _ = typing.join();
    }
    handle.guest.change(|inner| {
        if handle.find(inner).is_some() {
            inner.session.execs.0.remove(&handle.id);
            inner.session.outbox.push_back(ToHost::ExecExited { id: handle.id, code: status.map_or(KILLED, code) });
        }
    });
}

fn code(status: WaitStatus) -> i32 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    signal.or_else(|| status.exit_status()).unwrap_or(KILLED)
}

/// Sends output as far as the host takes it, to the end of the command or the connection.
fn read(handle: &Handle, mut outputs: Outputs) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let credit = handle.guest.wait_for(|inner| match handle.find(inner) {
            Some(state) => (state.credit > 0).then_some(state.credit),
            None => Some(0),
        });
        if credit == 0 {
            return;
        }
        match outputs.read(&mut buffer[..credit.min(CHUNK)]) {
            Event::Bytes(source, length) => {
                handle.guest.change(|inner| handle.find(inner).map(|state| state.credit -= length));
                handle.tell(ToHost::ExecOutput { id: handle.id, source, bytes: buffer[..length].to_vec() });
            }
            Event::Nothing => {}
            Event::End => return,
        }
    }
}

/// What is to be done with the input.
enum Turn {
    Press(Vec<u8>),
    Close,
    /// The command or the connection is over.
    Over,
}

fn press(handle: &Handle, mut keys: Keys) {
    let leader_gone = || handle.find(&mut handle.guest.lock()).is_none_or(|state| proc::is_gone(state.leader));
    let mut closed = false;
    loop {
        let turn = handle.guest.wait_for(|inner| match handle.find(inner) {
            None => Some(Turn::Over),
            Some(state) => match state.input.pop_front() {
                Some(bytes) => Some(Turn::Press(bytes)),
                None if closed || state.closing => Some(if closed { Turn::Over } else { Turn::Close }),
                None => None,
            },
        });
        match turn {
            Turn::Press(bytes) => {
                keys.press(&bytes, leader_gone);
                handle.tell(ToHost::ExecTaken { id: handle.id, bytes: bytes.len() as u32 });
            }
            Turn::Close => {
                keys.close(leader_gone);
                closed = true;
            }
            Turn::Over => return,
        }
    }
}
