//! Connections to the host, one after another.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use ring_guest::{CHUNK, HEARTBEAT, Hello, ToGuest, ToHost, VERSION, Welcome, read_frame, write_frame};
use rustix::io::Errno;
use rustix::process::Signal;

use super::dial::{dial, hang_up};
use super::guest::{Guest, Inner, Phase};
use super::{exec, proc, say, workload};

/// Between two attempts to reach the host.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A way to the host that is not there by then will not be.
const WAY: Duration = Duration::from_secs(5);

/// Talks to the host, whenever there is one, until it has the workload's end; or until there is no way to it.
pub(super) fn serve(guest: &Arc<Guest>) {
    let (mut pause, begun) = (PAUSE, Instant::now());
    while !guest.lock().acknowledged {
        let talked = dial(&guest.world).and_then(|connection| converse(guest, &connection));
        match talked {
            Ok(()) => pause = PAUSE,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => say(&format!("the host is not understood: {error}")),
            // A host that waits for a word would wait long; a machine that is off is noticed, and its console has the reason.
            Err(error) if has_no_way(&error) && begun.elapsed() > WAY => {
                say(&format!("there is no way to the host, vsock: {error}"));
                return;
            }
            Err(_) => {}
        }
        if !guest.lock().acknowledged {
            sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// The kernel has no vsock, or the machine no device for it.
fn has_no_way(error: &io::Error) -> bool {
    let known = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(known, Some(Errno::AFNOSUPPORT | Errno::NODEV))
}

/// One connection, until its end.
fn converse(guest: &Arc<Guest>, connection: &File) -> io::Result<()> {
    let mut reading = connection;
    let state = guest.lock().phase.state();
    write_frame(&mut reading, &ToHost::Hello(Hello { version: VERSION, boot: guest.boot.clone(), state }))?;
    let welcome = match read_frame(&mut reading)? {
        Some(ToGuest::Welcome(welcome)) if welcome.version == VERSION => welcome,
        Some(ToGuest::Welcome(Welcome { version, .. })) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it speaks version {version}, and this is {VERSION}"),
            ));
        }
        Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin with a welcome")),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    let session = guest.change(|inner| {
        inner.session.number += 1;
        inner.session.outbox.clear();
        inner.output.acknowledge(welcome.offset);
        inner.session.number
    });
    let writer = {
        let (guest, connection) = (Arc::clone(guest), connection.try_clone()?);
        Builder::new().name("writer".to_owned()).spawn(move || write(&guest, session, welcome.offset, &connection))?
    };
    let talked = listen(guest, session, reading);
    hang_up(connection);
    let left = guest.change(|inner| {
        inner.session.number += 1;
        inner.session.execs.take_all()
    });
    left.into_iter().for_each(proc::kill_session);
    let _ = writer.join();
    talked
}

/// Does what the host says until it says no more.
fn listen(guest: &Arc<Guest>, session: u64, mut from: &File) -> io::Result<()> {
    while let Some(message) = read_frame(&mut from)? {
        obey(guest, session, message);
        if guest.lock().acknowledged {
            break;
        }
    }
    Ok(())
}

fn obey(guest: &Arc<Guest>, session: u64, message: ToGuest) {
    match message {
        ToGuest::Welcome(_) => {}
        ToGuest::Start(start) => workload::start(guest, start),
        ToGuest::OutputAck { offset } => guest.change(|inner| inner.output.acknowledge(offset)),
        ToGuest::ExitAck => guest.change(|inner| {
            inner.acknowledged = matches!(inner.phase, Phase::Ended(_) | Phase::Failed(_));
        }),
        ToGuest::Stop { signal } => stop(guest, Signal::from_named_raw(signal).unwrap_or(Signal::TERM)),
        ToGuest::Kill => {
            stop(guest, Signal::KILL);
            if matches!(guest.lock().phase, Phase::Running(_) | Phase::Ending) {
                proc::kill_all();
            }
        }
        ToGuest::Measure => guest.change(|inner| inner.session.measure = true),
        ToGuest::Exec { id, exec } => exec::begin(guest, session, id, exec),
        ToGuest::ExecInput { id, bytes } => guest.change(|inner| inner.session.execs.input(id, bytes)),
        ToGuest::ExecClose { id } => guest.change(|inner| inner.session.execs.close(id)),
        ToGuest::ExecResize { id, size } => guest.lock().session.execs.resize(id, size),
        ToGuest::ExecKill { id } => {
            let leader = guest.lock().session.execs.leader(id);
            if let Some(leader) = leader {
                proc::kill_session(leader);
            }
        }
        ToGuest::ExecTaken { id, bytes } => guest.change(|inner| inner.session.execs.taken(id, bytes)),
    }
}

/// To the workload's own process; kept for it while it is on its way.
fn stop(guest: &Guest, signal: Signal) {
    let mut inner = guest.lock();
    match (&inner.phase, inner.started) {
        (Phase::Starting, _) => inner.early.push(signal),
        (Phase::Running(_), Some((pid, _))) => guest.reaper.signal(pid, signal),
        _ => {}
    }
}

/// What this connection has been told.
struct Told {
    started: bool,
    offset: u64,
    end: bool,
    /// Output had the last turn.
    output: bool,
    /// When the next figures are due.
    figures: Instant,
}

enum Next {
    Message(ToHost),
    Figures,
    /// The connection is over.
    Over,
}

fn write(guest: &Guest, session: u64, offset: u64, mut to: &File) {
    let mut told = Told { started: false, offset, end: false, output: false, figures: Instant::now() + HEARTBEAT };
    loop {
        let until = told.figures.saturating_duration_since(Instant::now());
        // What is due comes before a message there always is.
        let next = if until.is_zero() { None } else { guest.wait_within(until, |inner| next(inner, session, &mut told)) };
        let message = match next.unwrap_or(Next::Figures) {
            Next::Message(message) => message,
            Next::Figures => {
                told.figures = Instant::now() + HEARTBEAT;
                ToHost::Heartbeat(guest.meter.measure())
            }
            Next::Over => return,
        };
        if write_frame(&mut to, &message).is_err() {
            return hang_up(to);
        }
    }
}

/// The next thing to say. Commands and the workload's output take turns.
fn next(inner: &mut Inner, session: u64, told: &mut Told) -> Option<Next> {
    if inner.session.number != session {
        return Some(Next::Over);
    }
    if std::mem::take(&mut inner.session.measure) {
        return Some(Next::Figures);
    }
    if !told.started
        && let Some((pid, at)) = inner.started
    {
        told.started = true;
        return Some(Next::Message(ToHost::Started { pid: pid.unsigned_abs(), at }));
    }
    let message = if told.output {
        inner.session.outbox.pop_front().or_else(|| output(inner, told))
    } else {
        output(inner, told).or_else(|| inner.session.outbox.pop_front())
    };
    told.output = matches!(message, Some(ToHost::Output { .. }));
    message.or_else(|| end(inner, told)).map(Next::Message)
}

fn output(inner: &Inner, told: &mut Told) -> Option<ToHost> {
    let (source, offset, bytes) = inner.output.from(told.offset)?;
    debug_assert!(bytes.len() <= CHUNK);
    told.offset = offset + bytes.len() as u64;
    Some(ToHost::Output { source, offset, bytes })
}

fn end(inner: &Inner, told: &mut Told) -> Option<ToHost> {
    if told.end {
        return None;
    }
    let message = match &inner.phase {
        Phase::Ended(end) => ToHost::Ended(*end),
        Phase::Failed(failed) => ToHost::Failed(failed.clone()),
        _ => return None,
    };
    told.end = true;
    Some(message)
}
