//! Which name servers a guest is told of.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Looked at in this order. A resolver on the host's loopback is of no use to a guest: then the file with those it asks is.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// As many as resolvers look at.
const MOST: usize = 3;

/// Name servers and the domains names are completed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolver {
    pub(super) servers: Vec<Ipv4Addr>,
    pub(super) search: Vec<String>,
}

/// Those of the host that a guest can reach; none when the host names none.
pub(super) fn of_the_host() -> Resolver {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let mut all = FILES.iter().map(|path| parse(&read(path)));
    all.find(|found| !found.servers.is_empty()).unwrap_or_default()
}

fn parse(text: &str) -> Resolver {
    let mut found = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                if let Some(Ok(IpAddr::V4(server))) = words.next().map(str::parse)
                    && !server.is_loopback()
                    && !server.is_unspecified()
                    && found.servers.len() < MOST
                {
                    found.servers.push(server);
                }
            }
            Some("search" | "domain") => found.search = words.filter(|word| *word != ".").map(str::to_owned).collect(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_guest_cannot_reach_are_left_out() {
        let text =
            "# made by hand\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1 # near\nsearch a.example b.example\n";
        let found = parse(text);
        assert_eq!(found.servers, [Ipv4Addr::new(192, 0, 2, 1)]);
        assert_eq!(found.search, ["a.example", "b.example"]);
        assert_eq!(parse("nameserver 127.0.0.1\nsearch .\n"), Resolver::default());
    }
}
