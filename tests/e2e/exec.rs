//! `ring deployment exec` into containers of other hosts: on a terminal, with much input, and as hosts drop out.

use std::fs::File;
use std::process::Command;

use ring_testkit::lab::Lab;
use ring_testkit::terminal::Terminal;
use ring_testkit::work::{IN_TIME, Runtime, on, worker};
use ring_testkit::{Cluster, RingCli, wait};

use crate::three::{self, container};

fn exec(cli: &RingCli, name: &str, options: &[&str], command: &[&str]) -> Command {
    let deployment = format!("test/{name}");
    cli.command(["deployment", "exec", &deployment].iter().chain(options).chain(&["--"]).chain(command))
}

/// A container on each of two hosts.
fn start(name: &str) -> Option<(Lab, Cluster, [String; 2])> {
    let (lab, cluster) = three::with_docker(name)?;
    let ids = ["a1", "a2"].map(|host| {
        let one = on(worker(&format!("w-{host}"), Runtime::Docker, "trap 'exit 0' TERM; while :; do sleep 1; done"), host);
        cluster.apply_one(one).unwrap()
    });
    for id in &ids {
        cluster.wait_status(id, "running").unwrap();
    }
    Some((lab, cluster, ids))
}

/// Programs in a container, by their command lines.
fn programs(lab: &Lab, host: &str, id: &str) -> String {
    lab.docker(host).ok(["top", &container(lab, host, id), "-eo", "pid,args"]).unwrap()
}

#[test]
fn a_shell_in_a_container_of_another_host_is_used_from_a_terminal() {
    let Some((lab, cluster, ids)) = start("exec") else { return };
    for control in 0..3 {
        for (host, id) in ["a1", "a2"].iter().zip(&ids) {
            let shell = exec(&cluster.cli_to(control), &format!("w-{host}"), &["-it"], &["sh"]);
            let mut terminal = Terminal::spawn(&shell, (33, 111)).unwrap();
            let before = terminal.modes().unwrap();
            let name = container(&lab, host, id)[..12].to_owned();
            terminal.type_in("echo in-$(hostname)-$TERM\n").unwrap();
            terminal.wait_shown(&format!("in-{name}-xterm"), IN_TIME).unwrap();
            for (rows, columns) in [(33, 111), (44, 122)] {
                terminal.resize(rows, columns).unwrap();
                wait::until(IN_TIME, "its size", || {
                    terminal.type_in("stty size\n").unwrap();
                    terminal.shown().contains(&format!("{rows} {columns}"))
                })
                .unwrap();
            }
            terminal.type_in("sh -c 'echo asleep-$((40 + 2)); exec sleep 1000'\n").unwrap();
            terminal.wait_shown("asleep-42", IN_TIME).unwrap();
            terminal.type_in("\x03").unwrap();
            terminal.type_in("\nexit 7\n").unwrap();
            assert_eq!(terminal.wait_exit(IN_TIME).unwrap().code(), Some(7), "{}", terminal.shown());
            assert_eq!(terminal.modes().unwrap().local_modes, before.local_modes, "the terminal is as it was");
        }
    }
}

#[test]
fn megabytes_codes_and_ends_are_right_in_a_container() {
    let Some((lab, cluster, ids)) = start("exec-much") else { return };
    let dir = lab.dir().join("exec");
    std::fs::create_dir_all(&dir).unwrap();
    let lines: String = (1..=600_000).map(|n: u32| n.to_string() + "\n").collect();
    let (given, returned) = (dir.join("given"), dir.join("returned"));
    std::fs::write(&given, &lines).unwrap();
    for control in 0..3 {
        let cli = cluster.cli_to(control);
        let mut echo = exec(&cli, "w-a1", &["-i"], &["sh", "-c", "cat; exit 5"]);
        echo.stdin(File::open(&given).unwrap()).stdout(File::create(&returned).unwrap());
        assert_eq!(echo.status().unwrap().code(), Some(5), "c{control}");
        assert!(std::fs::read_to_string(&returned).unwrap() == lines, "input did not come back whole through c{control}");
        let code = |script: &str| cli.run(["deployment", "exec", "test/w-a1", "--", "sh", "-c", script]).unwrap().code;
        assert_eq!((code("exit 0"), code("exit 3"), code("kill -KILL $$")), (Some(0), Some(3), Some(137)));
    }
    let log = dir.join("client");
    let args = ["deployment", "exec", "test/w-a2", "--", "sh", "-c", "trap '' HUP TERM; echo up; sleep 4321; sleep 4322"];
    let client = cluster.cli().spawn("ring", &log, args).unwrap();
    client.wait_log("up", IN_TIME).unwrap();
    assert!(programs(&lab, "a2", &ids[1]).contains("sleep 4321"));
    client.kill9().unwrap();
    wait::until(IN_TIME, "the end of the command", || !programs(&lab, "a2", &ids[1]).contains("sleep 432")).unwrap();
    // A host that drops out: who listens is told, and not left waiting.
    let client =
        cluster.cli().spawn("ring", &log, ["deployment", "exec", "test/w-a2", "--", "sh", "-c", "echo up; sleep 4323"]).unwrap();
    client.wait_log("up", IN_TIME).unwrap();
    lab.isolate("a2").unwrap();
    let code = client.wait_exit(IN_TIME).unwrap().code();
    assert!(code == Some(3) && client.log().unwrap().contains("error: "), "{code:?}: {}", client.log().unwrap());
    wait::until(IN_TIME, "the end of what nobody hears", || !programs(&lab, "a2", &ids[1]).contains("sleep 4323")).unwrap();
    lab.heal().unwrap();
}
