//! Names of hosts: this one's, its neighbours', and who knows the others.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;

use ring_guest::{Network, Start};

/// Sets the host name, and writes the files programs look into.
pub(super) fn apply(start: &Start) -> Result<(), String> {
    if !start.hostname.is_empty() {
        let set = rustix::system::sethostname(start.hostname.as_bytes());
        set.map_err(|error| format!("host name '{}': {error}", start.hostname))?;
        write("/etc/hostname", &format!("{}\n", start.hostname))?;
    }
    write("/etc/hosts", &hosts(&start.hostname, start.network.as_ref()))?;
    match start.network.as_ref().filter(|network| !network.dns.is_empty()) {
        Some(network) => write("/etc/resolv.conf", &resolver(&network.dns, &network.search)),
        None => Ok(()),
    }
}

fn hosts(own: &str, network: Option<&Network>) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let addresses = network.map(|network| network.addresses.as_slice()).unwrap_or_default();
    let mut line = |address: &IpAddr, name: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{address} {name}");
    };
    if !own.is_empty() {
        for address in addresses {
            line(&address.address, own);
        }
        if addresses.is_empty() {
            line(&IpAddr::from([127, 0, 1, 1]), own);
        }
    }
    for (address, name) in network.map(|network| network.hosts.as_slice()).unwrap_or_default() {
        line(address, name);
    }
    text
}

fn resolver(servers: &[IpAddr], search: &[String]) -> String {
    let mut text = String::new();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

/// An image may have a link there that leads to something that is made by a system that does not run.
fn write(path: &str, text: &str) -> Result<(), String> {
    let written = fs::create_dir_all("/etc").and_then(|()| {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(path)?;
        }
        fs::write(path, text)
    });
    written.map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use ring_guest::Address;

    use super::*;

    #[test]
    fn files_say_what_they_were_told() {
        let address = Address { address: IpAddr::from([10, 0, 0, 2]), prefix: 24 };
        let network = Network {
            addresses: vec![address],
            hosts: vec![(IpAddr::from([10, 0, 0, 3]), "db".to_owned())],
            ..Network::default()
        };
        let localhost = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
        assert_eq!(hosts("web", Some(&network)), format!("{localhost}10.0.0.2 web\n10.0.0.3 db\n"));
        assert_eq!(hosts("web", None), format!("{localhost}127.0.1.1 web\n"));
        assert_eq!(hosts("", None), localhost);
        let servers = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        assert_eq!(resolver(&servers, &["lan".to_owned()]), "search lan\nnameserver 10.0.0.1\nnameserver ::1\n");
    }
}
