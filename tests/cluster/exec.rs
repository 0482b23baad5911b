//! `ring deployment exec` into real processes, through control nodes that have the session of the agent and such that have not.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use ring_testkit::terminal::Terminal;
use ring_testkit::work::{IN_TIME, Runtime, worker};
use ring_testkit::{Cluster, Outcome, RingCli, sweep, wait};

const W: &str = "test/w";

/// Three control nodes, and a worker that only waits.
fn cluster() -> (Cluster, String) {
    let cluster = Cluster::loopback(3, 1).unwrap();
    let id = cluster.apply_one(worker("w", Runtime::Process, "exec sleep 100000")).unwrap();
    cluster.wait_status(&id, "running").unwrap();
    (cluster, id)
}

fn exec(cli: &RingCli, command: &[&str]) -> Outcome {
    cli.run(["deployment", "exec", W, "--"].iter().chain(command)).unwrap()
}

/// The command line of one that is given what is typed.
fn exec_with(cli: &RingCli, options: &[&str], command: &[&str]) -> Command {
    cli.command(["deployment", "exec", W].iter().chain(options).chain(&["--"]).chain(command))
}

fn alive(pid: i32) -> bool {
    !matches!(sweep::state(pid), None | Some('Z' | 'X'))
}

#[test]
fn outputs_codes_and_megabytes_come_as_they_are_through_every_control_node() {
    let (cluster, id) = cluster();
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (1..=600_000).map(|n: u32| n.to_string() + "\n").collect();
    let given = dir.path().join("given");
    std::fs::write(&given, &lines).unwrap();
    for control in 0..3 {
        let cli = cluster.cli_to(control);
        let both = exec(&cli, &["sh", "-c", "cat; echo out; echo err >&2; exit 3"]);
        assert_eq!((both.code, both.stdout.as_str(), both.stderr.as_str()), (Some(3), "out\n", "err\n"), "c{control}");
        assert_eq!(exec(&cli, &["true"]).code, Some(0));
        assert_eq!(exec(&cli, &["sh", "-c", "kill -KILL $$"]).code, Some(137));
        let absent = exec(&cli, &["no-such-program"]);
        assert!(absent.code == Some(127) && !absent.stderr.contains("error: "), "the command's own words: {}", absent.stderr);
        let much = exec(&cli, &["seq", "1", "600000"]);
        assert!(much.code == Some(0) && much.stdout == lines, "{} bytes came of {}", much.stdout.len(), lines.len());
        let returned = dir.path().join(format!("returned-{control}"));
        let mut echo = exec_with(&cli, &["-i"], &["sh", "-c", "cat; exit 5"]);
        let echo = echo.stdin(File::open(&given).unwrap()).stdout(File::create(&returned).unwrap());
        assert_eq!(echo.status().unwrap().code(), Some(5));
        assert!(std::fs::read_to_string(&returned).unwrap() == lines, "input of {} bytes did not come back", lines.len());
        // One that does not read what it is given ends all the same.
        let mut deaf = exec_with(&cli, &["-i"], &["sh", "-c", "exec <&-; sleep 0.2; exit 6"]);
        assert_eq!(deaf.stdin(File::open(&given).unwrap()).status().unwrap().code(), Some(6));
    }
    let instance = cluster.deployment(&id).unwrap()["instances"][0]["id"].as_str().unwrap().to_owned();
    let named = cluster.cli().run(["deployment", "exec", &id[..13], "-c", &instance, "--", "sh", "-c", "exit 9"]).unwrap();
    assert_eq!(named.code, Some(9), "{}", named.stderr);
}

#[test]
fn one_that_ends_while_it_is_written_to_gives_its_output_and_its_code() {
    let (cluster, _) = cluster();
    let dir = tempfile::tempdir().unwrap();
    let given = dir.path().join("given");
    std::fs::write(&given, "a line that is given\n".repeat(100_000)).unwrap();
    for control in 0..3 {
        let cli = cluster.cli_to(control);
        for size in (1..=20).map(|n: usize| n * 5000) {
            let mut command = exec_with(&cli, &["-i"], &["sh", "-c", &format!("head -c {size}; exit 7")]);
            let ended = command.stdin(File::open(&given).unwrap()).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!((ended.status.code(), ended.stdout.len()), (Some(7), size), "through c{control}: {said}");
        }
    }
}

#[test]
fn what_cannot_be_run_is_said_with_rings_own_codes() {
    let (cluster, id) = cluster();
    let cli = cluster.cli();
    let said = |outcome: Outcome, code: i32, word: &str| {
        assert!(outcome.code == Some(code) && outcome.stderr.contains(word), "{:?}: {}", outcome.code, outcome.stderr);
    };
    said(cli.run(["deployment", "exec", W, "-it", "--", "sh"]).unwrap(), 1, "-t needs a terminal");
    said(cli.run(["deployment", "exec", W]).unwrap(), 1, "CMD");
    said(cli.run(["deployment", "exec", "test/other", "--", "sh"]).unwrap(), 4, "deployment 'test/other' not found");
    said(cli.run(["deployment", "exec", W, "-c", "ffff", "--", "sh"]).unwrap(), 4, "instance 'ffff' not found");
    said(exec(&cli.clone().env("RING_HOST", "http://127.0.0.1:1"), &["sh"]), 3, "cannot reach");
    let reads = cli.ok(["token", "create", "reads", "-s", "deployments:read"]).unwrap();
    said(exec(&cli.clone().env("RING_TOKEN", reads), &["sh"]), 2, "deployments:write");
    cluster.agent(0).stop().unwrap();
    said(exec(cli, &["sh"]), 3, "node 'a1'");
    drop(id);
}

#[test]
fn a_terminal_is_passed_on_with_its_size_and_is_given_back() {
    let (cluster, _) = cluster();
    for control in 0..3 {
        let shell = exec_with(&cluster.cli_to(control), &["-it"], &["sh"]);
        let mut terminal = Terminal::spawn(&shell, (33, 111)).unwrap();
        let before = terminal.modes().unwrap();
        terminal.type_in("stty size; test -t 0 && echo on-a-$TERM\n").unwrap();
        terminal.wait_shown("33 111", IN_TIME).unwrap();
        terminal.wait_shown("on-a-xterm", IN_TIME).unwrap();
        assert!(terminal.modes().unwrap().local_modes != before.local_modes, "keys are still read here");
        terminal.resize(44, 122).unwrap();
        // Asked until it is so: the size takes its own way.
        wait::until(IN_TIME, "the new size", || {
            terminal.type_in("stty size\n").unwrap();
            terminal.shown().contains("44 122")
        })
        .unwrap();
        // Ctrl-C is a key of the shell there, not the end of this program.
        terminal.type_in("sh -c 'echo asleep-$((40 + 2)); exec sleep 1000'\n").unwrap();
        terminal.wait_shown("asleep-42", IN_TIME).unwrap();
        terminal.type_in("\x03").unwrap();
        terminal.type_in("\necho still-$((40 + 2))\n").unwrap();
        terminal.wait_shown("still-42", IN_TIME).unwrap();
        terminal.type_in("exit 7\n").unwrap();
        assert_eq!(terminal.wait_exit(IN_TIME).unwrap().code(), Some(7), "{}", terminal.shown());
        assert_eq!(terminal.modes().unwrap().local_modes, before.local_modes, "the terminal is as it was");
    }
    let mut terminal = Terminal::spawn(&exec_with(cluster.cli(), &["-it"], &["sh"]), (24, 80)).unwrap();
    let before = terminal.modes().unwrap();
    terminal.type_in("echo pid-$$-\n").unwrap();
    let pid = wait::eventually(IN_TIME, "the number of the shell", || Ok(pid_in(&terminal.shown()))).unwrap();
    terminal.signal(rustix::process::Signal::TERM).unwrap();
    assert_eq!(terminal.wait_exit(IN_TIME).unwrap().code(), Some(143));
    assert_eq!(terminal.modes().unwrap().local_modes, before.local_modes, "after a signal too");
    wait::until(IN_TIME, "the end of the shell", || !alive(pid)).unwrap();
}

/// The number in `pid-NUMBER-`, once the shell has written it.
fn pid_in(text: &str) -> Option<i32> {
    text.split("pid-").find_map(|rest| rest.split('-').next()?.parse().ok())
}

#[test]
fn a_command_ends_with_who_listens_to_it() {
    let (cluster, _) = cluster();
    let dir = tempfile::tempdir().unwrap();
    for control in 0..3 {
        let log = dir.path().join(format!("killed-{control}"));
        let args = ["deployment", "exec", W, "--", "sh", "-c", "trap '' HUP TERM; echo pid-$$-; while :; do sleep 0.1; done"];
        let client = cluster.cli_to(control).spawn("ring", &log, args).unwrap();
        let pid = wait::eventually(IN_TIME, "the command", || Ok(pid_in(&client.log()?))).unwrap();
        client.kill9().unwrap();
        wait::until(IN_TIME, "the end of the command", || !alive(pid)).unwrap();
    }
    // And with who reads what it writes: `head` has enough after a line.
    let mut yes = exec_with(cluster.cli(), &[], &["sh", "-c", "echo pid-$$-; exec yes"]).stdout(Stdio::piped()).spawn().unwrap();
    let head = Command::new("head").arg("-n1").stdin(yes.stdout.take().unwrap()).output().unwrap();
    let pid = pid_in(&String::from_utf8_lossy(&head.stdout)).unwrap();
    wait::eventually(IN_TIME, "the client's end", || Ok(yes.try_wait()?)).unwrap();
    wait::until(IN_TIME, "the end of the writer", || !alive(pid)).unwrap();
}

#[test]
fn a_leader_that_dies_is_a_clean_error_to_who_went_through_it() {
    let (cluster, _) = cluster();
    let leader = cluster.leader().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let script = format!("echo pid-$$-; until test -e {}; do sleep 0.1; done; exit 5", go.display());
    let clients: Vec<_> = (0..3)
        .map(|control| {
            let log = dir.path().join(format!("client-{control}"));
            let args = ["deployment", "exec", W, "--", "sh", "-c", &script];
            let client = cluster.cli_to(control).spawn("ring", &log, args).unwrap();
            let pid = wait::eventually(IN_TIME, "the command", || Ok(pid_in(&client.log()?))).unwrap();
            (client, pid)
        })
        .collect();
    cluster.control(leader).kill9().unwrap();
    let (client, pid) = &clients[leader];
    let code = client.wait_exit(Duration::from_secs(20)).unwrap().code();
    let log = client.log().unwrap();
    assert!(code == Some(3) && log.contains("error: lost the connection to http://"), "{code:?}: {log}");
    wait::until(IN_TIME, "the end of its command", || !alive(*pid)).unwrap();
    cluster.leader_after(leader).unwrap();
    std::fs::write(&go, "").unwrap();
    for (control, (client, _)) in clients.iter().enumerate().filter(|(control, _)| *control != leader) {
        // Unless the agent had its session with the leader, they have not noticed.
        let code = client.wait_exit(IN_TIME).unwrap().code();
        let log = client.log().unwrap();
        assert!(code == Some(5) || code == Some(3) && log.contains("error: "), "c{control}: {code:?}: {log}");
    }
    let after = wait::eventually(IN_TIME, "a command after it", || {
        let outcome = cluster.cli().run(["deployment", "exec", W, "--", "sh", "-c", "exit 4"])?;
        Ok((outcome.code == Some(4)).then_some(()))
    });
    after.unwrap();
}
