//! Commands beside the workload.

mod common;

use common::{Guest, exec, lasting, on_terminal, shell};
use ring_guest::{CHUNK, EXECS, Exec, Source, TerminalSize, ToGuest, ToHost, WINDOW};

#[test]
fn outputs_and_codes_are_told_apart() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut start = lasting();
    start.env = vec![("GREETING".to_owned(), "hello".to_owned())];
    let mut host = guest.launch(start);
    host.printed("ready");
    let told = host.run(&["sh", "-c", "cat; echo $GREETING; echo oh >&2; exit 7"]);
    assert_eq!(told, ("hello\n".to_owned(), "oh\n".to_owned(), 7));
    assert_eq!(host.run(&["sh", "-c", "kill -KILL $$"]).2, 137);
    for (program, code) in [("no-such-program", 127), ("/no/such/program", 127), ("/", 126)] {
        let (out, err, told) = host.run(&[program]);
        assert_eq!((out.as_str(), told), ("", code), "{program}");
        assert!(err.contains(program), "{err}");
    }
    assert_eq!(host.run(&[]).2, 127);
}

#[test]
fn input_comes_whole_and_ends() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(lasting());
    host.printed("ready");
    host.send(&ToGuest::Exec { id: 7, exec: Exec { stdin: true, ..exec(&["cat"]) } });
    let (long, mut sent, mut window, mut back) = (vec![b'x'; 700_000], 0, WINDOW, Vec::new());
    loop {
        while sent < long.len() && window >= CHUNK {
            let piece = &long[sent..long.len().min(sent + CHUNK)];
            host.send(&ToGuest::ExecInput { id: 7, bytes: piece.to_vec() });
            (sent, window) = (sent + piece.len(), window - piece.len());
            if sent == long.len() {
                host.send(&ToGuest::ExecClose { id: 7 });
                host.send(&ToGuest::ExecClose { id: 7 });
            }
        }
        match host.next() {
            ToHost::ExecTaken { id: 7, bytes } => window += bytes as usize,
            ToHost::ExecOutput { id: 7, source: Source::Stdout, bytes } => {
                host.send(&ToGuest::ExecTaken { id: 7, bytes: bytes.len() as u32 });
                back.extend(bytes);
            }
            ToHost::ExecExited { id: 7, code } => break assert_eq!(code, 0),
            other => panic!("{other:?}"),
        }
    }
    assert!(back == long, "{} bytes came back", back.len());
    assert_eq!(window, WINDOW, "not all of the input was said to be taken");
    // Its number is free, and what comes late is for nobody.
    host.send(&ToGuest::ExecInput { id: 7, bytes: b"late".to_vec() });
    host.send(&ToGuest::ExecKill { id: 7 });
    assert_eq!(host.run(&["true"]).2, 0);
}

#[test]
fn a_command_nobody_reads_waits_and_holds_up_nobody() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("trap 'exit 4' TERM; while :; do echo tick; sleep 0.01; done"));
    host.printed("tick");
    host.send(&ToGuest::Exec { id: 9, exec: exec(&["yes"]) });
    let mut given = 0;
    while given < WINDOW {
        match host.next() {
            ToHost::ExecOutput { id: 9, bytes, .. } => given += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(given, WINDOW);
    let before = host.end;
    // Everything that is said now is not by it.
    assert_eq!(host.run(&["true"]).2, 0);
    while host.end == before {
        match host.receive() {
            ToHost::Output { source, offset, bytes } => host.keep(source, offset, bytes, true),
            ToHost::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    host.send(&ToGuest::ExecTaken { id: 9, bytes: 100 });
    match host.next() {
        ToHost::ExecOutput { id: 9, bytes, .. } => assert_eq!(bytes.len(), 100),
        other => panic!("{other:?}"),
    }
    host.send(&ToGuest::ExecKill { id: 9 });
    host.send(&ToGuest::ExecTaken { id: 9, bytes: WINDOW as u32 });
    assert_eq!(host.finish(9).2, 137);
}

#[test]
fn a_terminal_is_one_and_has_its_size() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut start = lasting();
    start.user = "ann".to_owned();
    let mut host = guest.launch(start);
    host.printed("ready");
    let script = "test -t 0 && test -t 1 && echo terminal $TERM; stty size; echo also >&2; read line; stty size; exit 4";
    host.send(&ToGuest::Exec { id: 2, exec: on_terminal(&["sh", "-c", script], 31, 101) });
    let mut seen = String::new();
    while !seen.contains("also\r\n") {
        match host.next() {
            ToHost::ExecOutput { id: 2, source: Source::Stdout, bytes } => seen.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} after {seen:?}"),
        }
    }
    assert!(seen.contains("terminal xterm\r\n31 101\r\n"), "{seen:?}");
    host.send(&ToGuest::ExecResize { id: 2, size: TerminalSize { rows: 24, columns: 80 } });
    host.send(&ToGuest::ExecInput { id: 2, bytes: b"typed\n".to_vec() });
    let (rest, err, code) = host.finish(2);
    assert!(rest.contains("24 80\r\n"), "{rest:?}");
    assert_eq!((err.as_str(), code), ("", 4));
    // The key for the end of the input is pressed.
    host.send(&ToGuest::Exec { id: 3, exec: on_terminal(&["sh", "-c", "cat; exit 6"], 24, 80) });
    host.send(&ToGuest::ExecInput { id: 3, bytes: b"line\n".to_vec() });
    host.send(&ToGuest::ExecClose { id: 3 });
    let (out, _, code) = host.finish(3);
    assert_eq!((out.contains("line\r\nline\r\n"), code), (true, 6), "{out:?}");
}

/// Prints its number and that of a child, and listens to nobody.
const DEAF: &str = "trap '' HUP TERM INT; sleep 1000 & setsid sleep 1000 & echo $$ $!; while :; do sleep 0.1; done";

/// Ends when none of these processes is there.
fn gone(pids: &str) -> String {
    format!("for pid in {pids}; do while kill -0 $pid 2>/dev/null; do :; done; done")
}

#[test]
fn a_command_that_is_killed_ends_with_what_it_started() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(lasting());
    host.printed("ready");
    for deaf in [exec(&["sh", "-c", DEAF]), on_terminal(&["sh", "-c", DEAF], 24, 80)] {
        host.send(&ToGuest::Exec { id: 5, exec: deaf });
        let pids = match host.next() {
            ToHost::ExecOutput { bytes, .. } => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        host.send(&ToGuest::ExecKill { id: 5 });
        assert_eq!(host.finish(5).2, 137);
        assert_eq!(host.run(&["sh", "-c", &gone(pids.trim())]).2, 0);
    }
}

#[test]
fn a_command_ends_with_its_connection() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(lasting());
    host.printed("ready");
    let at = host.end;
    host.send(&ToGuest::Exec { id: 5, exec: exec(&["sh", "-c", DEAF]) });
    let pids = match host.next() {
        ToHost::ExecOutput { bytes, .. } => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    drop(host);
    let (mut host, _) = guest.talk(at);
    host.started();
    assert_eq!(host.run(&["sh", "-c", &gone(pids.trim())]).2, 0);
}

#[test]
fn a_command_ends_with_the_workload_and_none_is_run_after() {
    let Some(guest) = Guest::start(&[]) else { return };
    let (mut host, _) = guest.talk(0);
    let refused = |host: &mut common::Host| {
        host.send(&ToGuest::Exec { id: 1, exec: exec(&["true"]) });
        match host.next() {
            ToHost::ExecRefused { id: 1, message } => assert!(message.contains("does not run"), "{message}"),
            other => panic!("{other:?}"),
        }
    };
    refused(&mut host);
    host.send(&ToGuest::Start(Box::new(lasting())));
    host.printed("ready");
    host.send(&ToGuest::Exec { id: 5, exec: exec(&["sh", "-c", DEAF]) });
    assert!(matches!(host.next(), ToHost::ExecOutput { id: 5, .. }));
    host.send(&ToGuest::Stop { signal: 15 });
    let (mut told, mut ended) = (false, false);
    while !(told && ended) {
        match host.next() {
            ToHost::ExecExited { id: 5, code: 137 } => told = true,
            ToHost::Ended(_) => ended = true,
            other => panic!("{other:?}"),
        }
    }
    refused(&mut host);
}

#[test]
fn there_is_a_limit_of_commands() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(lasting());
    host.printed("ready");
    for id in 0..EXECS as u32 {
        host.send(&ToGuest::Exec { id, exec: exec(&["sleep", "1000"]) });
    }
    host.send(&ToGuest::Exec { id: 1, exec: exec(&["true"]) });
    host.send(&ToGuest::Exec { id: 1000, exec: exec(&["true"]) });
    match host.next() {
        ToHost::ExecRefused { id: 1, message } => assert!(message.contains("under way already"), "{message}"),
        other => panic!("{other:?}"),
    }
    match host.next() {
        ToHost::ExecRefused { id: 1000, message } => assert!(message.contains("takes no more"), "{message}"),
        other => panic!("{other:?}"),
    }
    host.send(&ToGuest::ExecKill { id: 3 });
    assert_eq!(host.finish(3).2, 137);
    host.send(&ToGuest::Exec { id: 1000, exec: exec(&["true"]) });
    assert_eq!(host.finish(1000).2, 0);
}
