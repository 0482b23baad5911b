//! Which addresses a webhook may reach.
//!
//! Whoever may make a webhook can have a control node send a request to any address of its choice. Addresses that mean the
//! control node itself, its link or the services of a cloud for its own machines are never reached, in whatever form they are
//! written. Private networks may be: that is where receivers on one's own premises are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses where clouds tell a machine its own credentials, beside the link-local ones.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Why an address may not be reached; None: it may.
pub(super) fn refused(address: IpAddr, allow_local: bool) -> Option<&'static str> {
    let why = match address {
        IpAddr::V4(address) => refused_v4(address),
        IpAddr::V6(address) => refused_v6(address),
    };
    why.filter(|why| !(allow_local && *why == LOOPBACK))
}

const LOOPBACK: &str = "it is a loopback address";

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let first = address.octets()[0];
    match () {
        () if address.is_loopback() => Some(LOOPBACK),
        () if first == 0 => Some("it is an address of no host"),
        () if address.is_link_local() => Some("it is a link-local address"),
        () if METADATA_V4.contains(&address) => Some("it is an address of cloud metadata"),
        () if address.is_multicast() => Some("it is a multicast address"),
        () if first >= 240 => Some("it is a reserved or broadcast address"),
        () => None,
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    match () {
        () if address.is_loopback() => Some(LOOPBACK),
        () if address.is_unspecified() => Some("it is an address of no host"),
        () if address.is_unicast_link_local() || is_site_local(address) => Some("it is a link-local or site-local address"),
        () if METADATA_V6.contains(&address) => Some("it is an address of cloud metadata"),
        () if address.is_multicast() => Some("it is a multicast address"),
        () if is_tunnel(address) => Some("it is an address of a tunnel, behind which may be any other"),
        () => embedded(address).and_then(|inner| refused_v4(inner).map(|why| if why == LOOPBACK { EMBEDDED } else { why })),
    }
}

/// Not lifted by `allow_local`: nobody who means loopback writes it so.
const EMBEDDED: &str = "it is a loopback address inside an IPv6 address";

/// fec0::/10, given up long ago, and still routed by some.
fn is_site_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfec0
}

/// Teredo, and the translation prefix for local use, whose place of the IPv4 address is not fixed.
fn is_tunnel(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    segments[..2] == [0x2001, 0] || segments[..3] == [0x64, 0xff9b, 1]
}

/// The IPv4 address inside an IPv6 one: mapped, translated, compatible (all in the last 32 bits), 6to4, ISATAP.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let [.., c, d] = segments;
    match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
        | [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(joined(c, d)),
        [0x2002, a, b, ..] => Some(joined(a, b)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, allow_local: bool) -> Option<&'static str> {
        refused(text.parse().unwrap(), allow_local)
    }

    #[test]
    fn addresses_of_the_host_its_link_and_its_cloud_are_refused() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::ffff:0:127.0.0.1",
            "::127.0.0.1",
            "::169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::5efe:127.0.0.1",
            "fd00::200:5efe:169.254.169.254",
        ] {
            assert!(judged(text, false).is_some(), "{text}");
        }
    }

    #[test]
    fn other_addresses_may_be_reached() {
        for text in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "8.8.8.8",
            "2001:4860:4860::8888",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:db8::1",
        ] {
            assert_eq!(judged(text, false), None, "{text}");
        }
    }

    #[test]
    fn only_plain_loopback_can_be_allowed() {
        for text in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert_eq!(judged(text, true), None, "{text}");
        }
        for text in ["::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "fe80::1"] {
            assert!(judged(text, true).is_some(), "{text}");
        }
    }
}
