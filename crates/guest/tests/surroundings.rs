//! What a workload finds: user, files, mounts, names, network.

mod common;

use common::{Guest, MAC, shell, start};
use ring_guest::{Address, File, Mount, Network, Source, Start, Step, Tmpfs};

/// What it printed, when it ended with 0.
fn printed(start: Start, shares: &[(&str, &std::path::Path)]) -> Option<String> {
    let guest = Guest::start(shares)?;
    let mut host = guest.launch(start);
    let code = host.code();
    assert_eq!(code, 0, "{}", host.text(Source::Stderr));
    Some(host.text(Source::Stdout))
}

#[test]
fn a_user_is_looked_up_in_the_image() {
    let cases = [
        ("", "0 0 0 /root"),
        ("ann", "1000 100 100 10 /home/ann"),
        ("1000", "1000 100 100 10 /home/ann"),
        ("ann:wheel", "1000 10 10 /home/ann"),
        ("4000:5000", "4000 5000 5000 /"),
    ];
    for (user, expected) in cases {
        let Some(told) = printed(Start { user: user.to_owned(), ..shell("echo $(id -u) $(id -g) $(id -G) $HOME") }, &[]) else {
            return;
        };
        assert_eq!(told.trim(), expected, "{user:?}");
    }
}

#[test]
fn the_environment_is_what_was_given() {
    let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let start = Start {
        env: env(&[("GREETING", "hello = world"), ("PATH", "/bin"), ("HOME", "/x")]),
        cwd: "/srv/app".to_owned(),
        hostname: "web-1".to_owned(),
        ..shell("env; pwd; hostname; cat /etc/hostname; cat /etc/hosts")
    };
    let Some(told) = printed(start, &[]) else { return };
    let mut lines: Vec<&str> = told.lines().collect();
    lines[..3].sort_unstable();
    // A shell adds a variable or two of its own.
    lines.retain(|line| !line.starts_with("PWD=") && !line.starts_with("SHLVL=") && !line.starts_with("OLDPWD="));
    lines.sort_unstable();
    let mut expected = vec![
        "GREETING=hello = world",
        "HOME=/x",
        "PATH=/bin",
        "/srv/app",
        "web-1",
        "web-1",
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        "127.0.1.1 web-1",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn what_every_program_expects_is_there() {
    let script = "set -e; echo x > /dev/null; head -c 8 /dev/urandom | wc -c; test -d /proc/1; ls -d /sys/class /dev/pts/ptmx \
                  /dev/fd/0; echo shm > /dev/shm/x; cat /dev/shm/x; touch /root-is-writable; echo $$ > /proc/self/oom_score_adj \
                  2>/dev/null || true; stat -c %a /dev/shm";
    let Some(told) = printed(shell(script), &[]) else { return };
    assert_eq!(told, "8\n/dev/fd/0\n/dev/pts/ptmx\n/sys/class\nshm\n1777\n");
}

#[test]
fn files_have_their_modes_and_cannot_be_written() {
    let file = |destination: &str, content: &str, mode, uid| File {
        destination: destination.to_owned(),
        content: content.as_bytes().to_vec(),
        mode,
        uid,
        gid: 7,
    };
    let script = "cd /etc/app; cat conf key; stat -c '%a %u %g' conf key; for f in conf key; do (echo x > $f) 2>/dev/null && echo \
                  written; done; cat locked 2>/dev/null && echo read; ls -A / | grep ring; true";
    let start = Start {
        files: vec![
            file("/etc/app/conf", "port = 1\n", 0o444, 0),
            file("/etc/app/key", "hunter-2\n", 0o400, 1000),
            file("/etc/app/locked", "hunter-3\n", 0o400, 0),
        ],
        user: "ann".to_owned(),
        ..shell(script)
    };
    let Some(told) = printed(start.clone(), &[]) else { return };
    assert_eq!(told, "port = 1\nhunter-2\n444 0 7\n400 1000 7\n");
    // Root reads everything and writes nothing.
    let Some(told) = printed(Start { user: String::new(), ..start }, &[]) else { return };
    assert_eq!(told, "port = 1\nhunter-2\n444 0 7\n400 1000 7\nhunter-3\nread\n");
}

#[test]
fn shares_are_mounted_where_they_belong() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("there"), "before\n").unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let mount = |path: &str, destination: &str, read_only| Mount {
        tag: "data".to_owned(),
        path: path.to_owned(),
        destination: destination.to_owned(),
        read_only,
    };
    let start = Start {
        // Given from below to above.
        mounts: vec![
            mount("there", "/srv/ro/sub/file", true),
            mount("", "/srv/ro", true),
            mount("", "/srv/rw", false),
            mount("sub", "/sub", false),
        ],
        tmpfs: vec![Tmpfs { destination: "/scratch".to_owned(), size: Some(1 << 20), mode: 0o1777 }],
        ..shell(
            "cat /srv/ro/there /srv/ro/sub/file; echo after > /srv/rw/there; cat /srv/ro/there; (echo x > /srv/ro/there) \
             2>/dev/null && echo written; echo new > /sub/new; stat -c %a /scratch; head -c 2000000 /dev/zero > /scratch/x \
             2>/dev/null; stat -c %s /scratch/x",
        )
    };
    std::fs::write(dir.path().join("sub/file"), "").unwrap();
    let Some(told) = printed(start, &[("data", dir.path())]) else { return };
    assert_eq!(told, "before\nbefore\nafter\n1777\n1048576\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("there")).unwrap(), "after\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("sub/new")).unwrap(), "new\n");
}

#[test]
fn the_root_disk_stays_as_it_is() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("echo x > /bin/new; echo y > /etc/passwd; ls /bin/new"));
    assert_eq!(host.code(), 0);
    let root = guest.dir.path().join("root");
    assert!(!root.join("bin/new").exists());
    assert!(std::fs::read_to_string(root.join("etc/passwd")).unwrap().starts_with("root:"));
}

#[test]
fn a_network_is_as_it_was_asked_for() {
    let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
    let make = format!("ip tuntap add t0 mode tap && ip link set t0 address {mac}");
    let Some(guest) = Guest::start_after(&make, &[]) else { return };
    let ip = |text: &str| text.parse().unwrap();
    let start = Start {
        hostname: "web".to_owned(),
        network: Some(Network {
            mac: MAC,
            addresses: vec![Address { address: ip("10.7.0.2"), prefix: 30 }, Address { address: ip("fd07::2"), prefix: 64 }],
            gateways: vec![ip("10.7.0.1"), ip("fd07::1")],
            mtu: Some(1400),
            dns: vec![ip("10.7.0.1")],
            search: vec!["lan".to_owned()],
            hosts: vec![(ip("10.7.0.9"), "db".to_owned())],
        }),
        ..shell("ip addr show t0; ip addr show lo; ip route; ip -6 route; cat /etc/resolv.conf /etc/hosts")
    };
    let mut host = guest.launch(start);
    assert_eq!(host.code(), 0, "{}", host.text(Source::Stderr));
    let told = host.text(Source::Stdout);
    for wanted in [
        "mtu 1400",
        "inet 10.7.0.2/30",
        "inet6 fd07::2/64",
        "inet 127.0.0.1/8",
        "default via 10.7.0.1 dev t0",
        "default via fd07::1 dev t0",
        "search lan\nnameserver 10.7.0.1\n",
        "10.7.0.2 web\nfd07::2 web\n10.7.0.9 db\n",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in\n{told}");
    }
}

fn refused(start: Start) -> Option<(Step, String)> {
    let guest = Guest::start(&[])?;
    let failed = guest.launch(start).failed();
    Some((failed.step, failed.message))
}

#[test]
fn what_cannot_be_made_is_named() {
    let mount = Mount { tag: "none".to_owned(), destination: "/x".to_owned(), ..Mount::default() };
    let outside = Mount { path: "../etc".to_owned(), ..mount.clone() };
    let file = |destination: &str| File { destination: destination.to_owned(), content: Vec::new(), mode: 0o444, uid: 0, gid: 0 };
    let tmpfs = Tmpfs { destination: "relative".to_owned(), size: None, mode: 0o755 };
    let cases = [
        (Start { mounts: vec![mount], ..start(&["true"]) }, Step::Mount, "share 'none' at '/x'"),
        (Start { mounts: vec![outside], ..start(&["true"]) }, Step::Mount, "not a plain one"),
        (Start { tmpfs: vec![tmpfs], ..start(&["true"]) }, Step::Mount, "destination 'relative'"),
        (Start { files: vec![file("/a/../b")], ..start(&["true"]) }, Step::File, "destination '/a/../b'"),
        (Start { files: vec![file("/bin/sh/x")], ..start(&["true"]) }, Step::File, "file '/bin/sh/x'"),
        (Start { user: "eve".to_owned(), ..start(&["true"]) }, Step::User, "user 'eve'"),
        (Start { user: "ann:none".to_owned(), ..start(&["true"]) }, Step::User, "group 'none'"),
        (Start { cwd: "/bin/sh".to_owned(), ..start(&["true"]) }, Step::Mount, "working directory '/bin/sh'"),
        (Start { network: Some(Network::default()), ..start(&["true"]) }, Step::Network, "00:00:00:00:00:01"),
        (start(&[""]), Step::Execute, "no command"),
        (start(&["a\0b"]), Step::Execute, "nul"),
    ];
    for (mut start, step, wanted) in cases {
        if let Some(network) = &mut start.network {
            network.mac[5] = 1;
        }
        let Some((told, message)) = refused(start) else { return };
        assert_eq!(told, step, "{message}");
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn a_guest_without_a_network_has_loopback() {
    let Some(guest) = Guest::start(&[]) else { return };
    let mut host = guest.launch(shell("ip addr show lo | grep -c 'inet 127.0.0.1'"));
    assert_eq!(host.code(), 0);
}
