//! One workload: how it ends, what it prints, and that it runs once however often the host goes away.

mod common;

use common::{Guest, lasting, shell, start};
use ring_guest::{End, RING, Source, State, Step, ToGuest, ToHost, VERSION, Welcome, write_frame};

#[test]
fn the_code_is_told_and_the_machine_goes_off_when_it_is_safe() {
    for code in [0, 7, 42] {
        let Some(mut guest) = Guest::start(&[]) else { return };
        let mut host = guest.launch(shell(&format!("exit {code}")));
        assert_eq!(host.code(), code);
        // What comes before an end is no acknowledgement of it, nor is an end of the connection.
        host.send(&ToGuest::Measure);
        assert!(matches!(host.receive(), ToHost::Heartbeat(_)));
        assert!(guest.runs());
        host.send(&ToGuest::ExitAck);
        assert!(guest.gone().success());
    }
}

#[test]
fn a_signal_is_told_as_one() {
    for signal in [9, 15, 6] {
        let Some(guest) = Guest::start(&[]) else { return };
        let mut host = guest.launch(shell(&format!("kill -{signal} $$; sleep 60")));
        assert!(matches!(host.ended(), End::Signaled { signal: told, .. } if told == signal));
    }
}

#[test]
fn what_is_no_program_ends_as_in_a_shell() {
    for (program, code) in [("no-such-program", 127), ("/no/such/program", 127), ("/bin/no-program", 126), ("/", 126)] {
        let Some(guest) = Guest::start(&[]) else { return };
        let mut host = guest.launch(start(&[program]));
        host.started();
        assert_eq!(host.code(), code, "{program}");
        let told = host.text(Source::Stderr);
        assert!(told.contains(program) && told.contains("cannot execute"), "{told}");
    }
}

#[test]
fn both_outputs_come_in_their_order() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("echo one; sleep 0.1; echo two >&2; sleep 0.1; printf three; sleep 0.1; printf four >&2"));
    assert_eq!(host.code(), 0);
    let told = [
        (Source::Stdout, b"one\n".to_vec()),
        (Source::Stderr, b"two\n".to_vec()),
        (Source::Stdout, b"three".to_vec()),
        (Source::Stderr, b"four".to_vec()),
    ];
    assert_eq!(host.output, told);
}

#[test]
fn a_host_that_acknowledges_nothing_makes_the_workload_wait_and_nothing_is_lost() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("seq 1 300000; seq 1 1000 >&2"));
    // As much as the guest keeps, less what both pipes could give at once.
    let full = (RING - 4 * ring_guest::CHUNK) as u64;
    while host.end < full {
        match host.receive() {
            ToHost::Output { source, offset, bytes } => host.keep(source, offset, bytes, false),
            ToHost::Started { .. } | ToHost::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // Three times whatever there is: there is no more.
    for _ in 0..3 {
        host.send(&ToGuest::Measure);
        loop {
            match host.receive() {
                ToHost::Output { source, offset, bytes } => host.keep(source, offset, bytes, false),
                ToHost::Heartbeat(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(host.end <= RING as u64, "the guest has given {} bytes that nobody has acknowledged", host.end);
    // The next connection goes on from where it is said to.
    let (given, kept) = (host.end, std::mem::take(&mut host.output));
    drop(host);
    let (mut host, hello) = guest.talk(given);
    assert_eq!(hello.state, State::Started);
    host.output = kept;
    assert_eq!(host.code(), 0);
    let lines: Vec<String> = (1..=300_000).map(|number: u32| number.to_string()).collect();
    let expected = lines.join("\n") + "\n";
    assert!(host.text(Source::Stdout) == expected, "standard output is not what was written");
    assert_eq!(host.text(Source::Stderr).lines().count(), 1000);
}

#[test]
fn what_was_not_acknowledged_is_repeated() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("echo one; echo two; echo three; sleep 60"));
    while host.end < 14 {
        if let ToHost::Output { source, offset, bytes } = host.receive() {
            host.keep(source, offset, bytes, false);
        }
    }
    host.send(&ToGuest::OutputAck { offset: 4 });
    drop(host);
    let (mut host, _) = guest.talk(4);
    host.printed("two\nthree\n");
    assert_eq!(host.text(Source::Stdout), "two\nthree\n");
}

#[test]
fn a_workload_runs_once_whoever_comes_and_goes() {
    let Some(guest) = Guest::start(&[]) else { return };
    let (host, hello) = guest.call();
    assert_eq!(hello.state, State::Waiting);
    drop(host);
    let mut host = guest.launch(shell("trap 'exit 3' TERM; echo ran; while :; do sleep 0.02; done"));
    let pid = host.started();
    host.send(&ToGuest::Start(Box::new(shell("echo ran another"))));
    host.printed("ran\n");
    let at = host.end;
    drop(host);
    let (mut host, again) = guest.talk(at);
    assert_eq!((again.state, &again.boot), (State::Started, &hello.boot));
    assert_eq!(host.started(), pid);
    host.send(&ToGuest::Start(Box::new(shell("echo ran another"))));
    host.send(&ToGuest::Stop { signal: 15 });
    let end = host.ended();
    assert!(matches!(end, End::Exited { code: 3, .. }), "{end:?}");
    drop(host);
    let (mut host, last) = guest.talk(at);
    assert_eq!((last.state, &last.boot), (State::Ended, &hello.boot));
    host.send(&ToGuest::Start(Box::new(shell("echo ran another"))));
    assert_eq!(host.started(), pid);
    assert_eq!(host.ended(), end, "the end is not the same when it is told again");
    assert!(host.text(Source::Stdout).is_empty(), "it ran again");
    host.send(&ToGuest::ExitAck);
    assert!(guest.gone().success());
}

#[test]
fn an_end_that_nobody_heard_is_told_to_whoever_comes() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.02; done"));
    host.printed("ready");
    let at = host.end;
    host.send(&ToGuest::Stop { signal: 15 });
    drop(host);
    // Calls that are not answered do it no harm.
    for _ in 0..3 {
        drop(guest.call());
    }
    let (mut host, _) = guest.talk(at);
    assert_eq!(host.code(), 9);
    assert_eq!(host.text(Source::Stdout), "bye\n");
}

#[test]
fn signals_reach_the_workload_and_kill_ends_everything() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(lasting());
    host.printed("ready");
    host.send(&ToGuest::Stop { signal: 15 });
    assert_eq!(host.code(), 4);

    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("trap '' TERM; setsid sh -c 'sleep 1000' & echo ready; while :; do sleep 0.05; done"));
    host.printed("ready");
    host.send(&ToGuest::Stop { signal: 15 });
    host.send(&ToGuest::Kill);
    assert!(matches!(host.ended(), End::Signaled { signal: 9, .. }));
}

#[test]
fn a_signal_that_comes_with_the_start_is_not_lost() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("sleep 1000"));
    host.send(&ToGuest::Stop { signal: 9 });
    assert!(matches!(host.ended(), End::Signaled { signal: 9, .. }));
}

#[test]
fn what_a_workload_leaves_behind_holds_up_nothing() {
    let Some(guest) = Guest::start(&[]) else { return };
    // It keeps both outputs open, and listens to nobody.
    let mut host = guest.launch(shell("(trap '' TERM HUP; setsid sleep 1000) & echo done; exit 5"));
    assert_eq!(host.code(), 5);
    assert_eq!(host.text(Source::Stdout), "done\n");
}

#[test]
fn a_start_that_cannot_be_is_told_and_is_not_tried_again() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(start(&[]));
    let failed = host.failed();
    assert_eq!(failed.step, Step::Execute);
    assert!(failed.message.contains("no command"), "{}", failed.message);
    drop(host);
    let (mut host, hello) = guest.talk(0);
    assert_eq!(hello.state, State::Failed);
    host.send(&ToGuest::Start(Box::new(shell("echo ran"))));
    assert_eq!(host.failed(), failed);
    host.send(&ToGuest::ExitAck);
    assert!(guest.gone().success());
}

#[test]
fn an_acknowledgement_of_nothing_ends_nothing() {
    let Some(guest) = Guest::start(&[]) else { return };
    let (mut host, _) = guest.talk(0);
    host.send(&ToGuest::ExitAck);
    host.send(&ToGuest::Kill);
    host.send(&ToGuest::Stop { signal: 15 });
    host.send(&ToGuest::Start(Box::new(lasting())));
    host.printed("ready");
    host.send(&ToGuest::ExitAck);
    host.send(&ToGuest::Stop { signal: 15 });
    assert_eq!(host.code(), 4);
}

#[test]
fn a_host_that_is_not_understood_is_called_again() {
    use std::io::Write as _;
    let Some(guest) = Guest::start(&[]) else { return };
    let (mut host, _) = guest.call();
    write_frame(&mut host.stream, &ToGuest::Welcome(Welcome { version: VERSION + 1, offset: 0 })).unwrap();
    let (mut host, _) = guest.call();
    write_frame(&mut host.stream, &ToGuest::Kill).unwrap();
    let mut host = guest.launch(lasting());
    host.printed("ready");
    let at = host.end;
    host.stream.write_all(&[0xff; 64]).unwrap();
    let (mut host, _) = guest.talk(at);
    host.stream.write_all(&[3, 0, 0, 0, 99, 99, 99]).unwrap();
    let (mut host, hello) = guest.talk(at);
    assert_eq!(hello.state, State::Started);
    host.send(&ToGuest::Stop { signal: 15 });
    assert_eq!(host.code(), 4);
}

#[test]
fn figures_are_those_of_what_runs() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("echo ready; while :; do :; done"));
    host.printed("ready");
    let mut measure = || loop {
        host.send(&ToGuest::Measure);
        if let ToHost::Heartbeat(measured) = host.receive() {
            break measured;
        }
    };
    let first = measure();
    assert_eq!(first.threads, 1);
    assert!((1..64 << 20).contains(&first.memory) && first.memory < first.memory_total, "{first:?}");
    let begun = std::time::Instant::now();
    let mut last = first;
    while last.cpu < first.cpu + 200_000 {
        let next = measure();
        assert!(next.cpu >= last.cpu && next.uptime >= last.uptime, "{next:?} comes after {last:?}");
        assert!(begun.elapsed() < common::DEADLINE);
        last = next;
    }
}

#[test]
fn orphans_are_collected() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("for i in $(seq 50); do (true & ) ; done; echo ready; while :; do sleep 0.05; done"));
    host.printed("ready");
    // A shell that looks has a child of its own that has ended now and then; a word that is printed alone is none.
    let script = "while grep -h -s '^State:.*zombie' /proc/[0-9]*/status | grep -q .; do :; done; echo none";
    assert_eq!(host.run(&["sh", "-c", script]), ("none\n".to_owned(), String::new(), 0));
}
