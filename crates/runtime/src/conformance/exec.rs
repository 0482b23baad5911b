//! Commands run inside an instance.

use futures::StreamExt;
use futures::stream::BoxStream;
use ring_types::{InstanceId, Outcome, Span};

use super::{Make, clear, finish, outcome, running, within};
use crate::{ExecEvent, ExecRequest, ExecSession, Runtime, RuntimeError, RuntimeErrorKind, TerminalSize};

/// Every case, one after another.
pub async fn check(runtime: &dyn Runtime, make: Make<'_>) {
    only_where_something_runs(runtime, make).await;
    let workload = running(runtime, make).await;
    let instance = workload.instance;
    outputs_and_code(runtime, instance).await;
    what_cannot_be_executed(runtime, instance).await;
    input(runtime, instance).await;
    terminal(runtime, instance).await;
    terminal_of_another_size(runtime, instance).await;
    dropping(runtime, instance).await;
    finish(runtime, &workload).await;
    not_longer_than_its_instance(runtime, make).await;
}

/// What came from a command: standard output, standard error, code.
pub async fn whole(session: ExecSession) -> (String, String, i32) {
    let ExecSession { events, input } = session;
    let told = rest(events).await;
    drop(input);
    told
}

/// The same of what is still to come.
async fn rest(mut events: BoxStream<'static, Result<ExecEvent, RuntimeError>>) -> (String, String, i32) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some(event) = events.next().await {
            match event.expect("an event") {
                ExecEvent::Stdout(bytes) => out.extend_from_slice(&bytes),
                ExecEvent::Stderr(bytes) => err.extend_from_slice(&bytes),
                ExecEvent::Exited(code) => {
                    assert!(events.next().await.is_none(), "something came after the end");
                    return code;
                }
            }
        }
        panic!("a command has no end");
    };
    let code = within(reading).await;
    (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned(), code)
}

/// Runs a command to its end, without input.
pub async fn run(runtime: &dyn Runtime, instance: InstanceId, command: &[&str]) -> (String, String, i32) {
    whole(begin(runtime, instance, command, false, None).await).await
}

async fn begin(
    runtime: &dyn Runtime,
    instance: InstanceId,
    command: &[&str],
    stdin: bool,
    terminal: Option<TerminalSize>,
) -> ExecSession {
    let command = command.iter().map(ToString::to_string).collect();
    within(runtime.exec(instance, ExecRequest { command, stdin, terminal })).await.expect("exec")
}

/// Not there, made only, ended: in none of them anything can be run.
pub async fn only_where_something_runs(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = make(&["true"]);
    let request = || ExecRequest { command: vec!["true".to_owned()], ..ExecRequest::default() };
    let refused = async || runtime.exec(workload.instance, request()).await.err().expect("it was run").kind;
    assert_eq!(refused().await, RuntimeErrorKind::NotFound);
    runtime.prepare(&workload).await.expect("prepare");
    assert_eq!(refused().await, RuntimeErrorKind::NotFound);
    runtime.start(workload.instance).await.expect("start");
    assert_eq!(outcome(runtime, workload.instance).await, Outcome::Code(0));
    assert_eq!(refused().await, RuntimeErrorKind::NotFound);
    clear(runtime, workload.instance).await;
}

/// Both outputs told apart, the instance's own environment, an empty input, the code; a signal as 128 and its number.
pub async fn outputs_and_code(runtime: &dyn Runtime, instance: InstanceId) {
    let script = "cat; echo \"$GREETING\"; echo oh >&2; exit 7";
    let (out, err, code) = run(runtime, instance, &["sh", "-c", script]).await;
    assert_eq!((out.as_str(), err.as_str(), code), ("hello\n", "oh\n", 7));
    assert_eq!(run(runtime, instance, &["true"]).await.2, 0);
    assert_eq!(run(runtime, instance, &["sh", "-c", "kill -KILL $$"]).await.2, 137);
    let (out, ..) = run(runtime, instance, &["seq", "1", "200000"]).await;
    assert_eq!(out.lines().count(), 200_000, "output is missing");
}

/// As a shell has it: 127 for what is not there, 126 for what is no program, with a word on standard error.
pub async fn what_cannot_be_executed(runtime: &dyn Runtime, instance: InstanceId) {
    for (program, expected) in [("no-such-program", 127), ("/no/such/program", 127), ("/", 126)] {
        let (out, err, code) = run(runtime, instance, &[program]).await;
        assert_eq!((out.as_str(), code), ("", expected), "{program}: {err}");
        assert!(!err.is_empty(), "nothing says why '{program}' did not run");
    }
}

/// Input arrives whole and ends when it is ended; without input there is none to be given.
pub async fn input(runtime: &dyn Runtime, instance: InstanceId) {
    let mut session = begin(runtime, instance, &["sh", "-c", "read one; echo \"got $one\"; cat"], true, None).await;
    session.input.write("first\n".into()).await.expect("write");
    let mut events = session.events;
    let first = within(events.next()).await.expect("an event").expect("an event");
    assert_eq!(first, ExecEvent::Stdout("got first\n".into()), "a command waits for the end of its input");
    let long = "x".repeat(300_000);
    let writing = async {
        session.input.write(long.clone().into()).await.expect("write much");
        session.input.close().await.expect("close");
        session.input.close().await.expect("close again");
    };
    let reading = rest(events);
    let ((), (out, _, code)) = futures::join!(writing, reading);
    assert!(out == long, "input of {} bytes came back with {}", long.len(), out.len());
    assert_eq!(code, 0);
    assert!(session.input.write("more".into()).await.is_err(), "input was taken after its end");
    let mut without = begin(runtime, instance, &["cat"], false, None).await;
    assert!(without.input.write("x".into()).await.is_err(), "a command without input was given some");
    assert_eq!(whole(without).await.2, 0);
}

/// On a terminal the command has one, of the size that was asked for, and both outputs are one.
pub async fn terminal(runtime: &dyn Runtime, instance: InstanceId) {
    let size = Some(TerminalSize { rows: 31, columns: 101 });
    let script = "test -t 0 && test -t 1 && echo terminal; echo also >&2; read line; echo \"line $line\"; exit 4";
    let mut session = begin(runtime, instance, &["sh", "-c", script], true, size).await;
    session.input.write("typed\n".into()).await.expect("write");
    let (out, err, code) = whole(session).await;
    assert_eq!((err.as_str(), code), ("", 4));
    for wanted in ["terminal\r\n", "also\r\n", "line typed\r\n"] {
        assert!(out.contains(wanted), "{wanted:?} is not in {out:?}");
    }
}

/// The size of a terminal is told at the start and can be changed.
pub async fn terminal_of_another_size(runtime: &dyn Runtime, instance: InstanceId) {
    let size = TerminalSize { rows: 31, columns: 101 };
    let mut session = begin(runtime, instance, &["sh"], true, Some(size)).await;
    let mut seen = String::new();
    for (rows, columns) in [(31, 101), (24, 80)] {
        session.input.resize(TerminalSize { rows, columns }).await.expect("resize");
        let wanted = format!("{rows} {columns}\r\n");
        let asking = async {
            // Asked until it is so: a size is told to a command that may not have begun yet.
            while !seen.contains(&wanted) {
                session.input.write("stty size\n".into()).await.expect("write");
                match session.events.next().await.expect("an event").expect("an event") {
                    ExecEvent::Stdout(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                    other => panic!("unexpected {other:?} after {seen:?}"),
                }
            }
        };
        within(asking).await;
    }
    session.input.write("exit 5\n".into()).await.expect("write");
    assert_eq!(whole(session).await.2, 5);
}

/// A command nobody listens to any more ends, with what it started, and the instance goes on.
pub async fn dropping(runtime: &dyn Runtime, instance: InstanceId) {
    for size in [None, Some(TerminalSize { rows: 24, columns: 80 })] {
        let script = "trap '' HUP TERM INT; sleep 1000 & echo $$ $!; while :; do sleep 0.1; done";
        let mut session = begin(runtime, instance, &["sh", "-c", script], false, size).await;
        let ExecEvent::Stdout(pids) = within(session.events.next()).await.expect("an event").expect("an event") else {
            panic!("it has not printed its numbers");
        };
        drop(session);
        let pids = String::from_utf8_lossy(&pids).trim().to_owned();
        let alive = format!("for pid in {pids}; do kill -0 $pid 2>/dev/null && exit 1; done; exit 0");
        let waiting = async { while run(runtime, instance, &["sh", "-c", &alive]).await.2 != 0 {} };
        within(waiting).await;
    }
    assert_eq!(run(runtime, instance, &["true"]).await.2, 0);
}

/// When the instance ends, what was run in it ends.
pub async fn not_longer_than_its_instance(runtime: &dyn Runtime, make: Make<'_>) {
    let workload = running(runtime, make).await;
    let script = "trap '' TERM HUP; echo up; while :; do sleep 0.1; done";
    let mut session = begin(runtime, workload.instance, &["sh", "-c", script], false, None).await;
    assert!(within(session.events.next()).await.is_some_and(|event| event.is_ok()));
    runtime.stop(workload.instance, Span::seconds(30)).await.expect("stop");
    let ending = async { while session.events.next().await.is_some_and(|event| !matches!(event, Ok(ExecEvent::Exited(_)))) {} };
    within(ending).await;
    clear(runtime, workload.instance).await;
}
