//! Making the namespaces, the switch between them and the line to this machine.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::host::Host;
use super::slot::Slot;
use crate::command::{command, run};

/// The namespace with the bridge.
const SWITCH: &str = "switch";

/// Builds the network of a lab; a failure leaves nothing behind.
pub(super) fn build(slot: &Slot, names: &[String]) -> Result<Vec<Host>> {
    ensure!(names.len() < 250, "a lab has at most 250 hosts");
    let hosts = make_hosts(slot, names)?;
    let built = wire(slot, &hosts);
    if built.is_err() {
        slot.clean()?;
    }
    built.map(|()| hosts)
}

fn make_hosts(slot: &Slot, names: &[String]) -> Result<Vec<Host>> {
    let mut hosts = Vec::new();
    for (name, index) in names.iter().zip(1..) {
        ensure!(name != SWITCH, "'{SWITCH}' is taken");
        ensure!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "unfit host name '{name}'");
        let namespace = slot.namespace(name);
        let dir = slot.dir().join(name);
        fs::create_dir_all(&dir)?;
        hosts.push(Host::new(name, slot.ip(index), &Slot::namespace_file(&namespace), dir));
    }
    Ok(hosts)
}

/// One `ip -batch` per namespace: starting `ip` for each line would take most of a lab's start.
fn wire(slot: &Slot, hosts: &[Host]) -> Result<()> {
    let (switch, uplink) = (slot.namespace(SWITCH), slot.uplink());
    let mut outside = format!("netns add {switch}\n");
    let mut inside = "link add br0 type bridge\nlink set br0 up\n".to_owned();
    writeln!(outside, "link add {uplink} type veth peer name uplink netns {switch}")?;
    writeln!(outside, "address add {}/24 dev {uplink}\nlink set {uplink} up", slot.own_ip())?;
    inside.push_str("link set uplink master br0 up\n");
    for (host, port) in hosts.iter().zip(1..) {
        let namespace = slot.namespace(host.name());
        writeln!(outside, "netns add {namespace}")?;
        writeln!(outside, "link add eth0 netns {namespace} type veth peer name port{port} netns {switch}")?;
        writeln!(inside, "link set port{port} master br0 up")?;
    }
    batch(slot.dir(), None, &outside)?;
    batch(slot.dir(), Some(&switch), &inside)?;
    for host in hosts {
        let lines = format!("link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\n", host.ip());
        batch(slot.dir(), Some(&slot.namespace(host.name())), &lines)?;
    }
    Ok(())
}

fn batch(dir: &Path, namespace: Option<&str>, lines: &str) -> Result<()> {
    let file = dir.join("ip-batch");
    fs::write(&file, lines)?;
    let mut ip = command("ip", namespace.map(|name| ["-n", name]).into_iter().flatten());
    ip.arg("-batch").arg(&file);
    run(ip)?.ok().map(drop)
}
