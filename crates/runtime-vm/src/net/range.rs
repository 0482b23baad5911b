//! Which addresses guests get.
//!
//! A guest has a network of its own with four addresses: the network itself, the host's end of the tap, the guest, and the
//! broadcast. Every system understands that without being told of routes on the link.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::host::Used;

/// Bits of a guest's network.
const PREFIX: u8 = 30;

/// Tried in this order when none is configured. What engines take for themselves first is not among the first of these.
pub(super) const CANDIDATES: [&str; 4] = ["10.214.0.0/16", "10.87.0.0/16", "172.26.0.0/16", "192.168.208.0/20"];

/// Most guests of a host, whatever its range has room for: the number is in the name of a tap.
const MOST: u32 = 1 << 16;

/// The addresses of one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// The host's end, with the size of the network.
    pub(super) host: Ipv4Net,
    /// The guest's.
    pub(super) guest: Ipv4Net,
}

/// So many guests fit.
pub(super) fn room(range: Ipv4Net) -> u32 {
    1_u32.checked_shl(u32::from(PREFIX.saturating_sub(range.prefix_len()))).unwrap_or(MOST).min(MOST)
}

/// Is it private, and does at least one guest fit?
pub(super) fn usable(range: Ipv4Net) -> bool {
    let first = range.network();
    range.prefix_len() <= PREFIX && range.prefix_len() >= 8 && first.is_private() && range.broadcast().is_private()
}

/// The addresses of a place in a range.
pub(super) fn addresses(range: Ipv4Net, slot: u32) -> Option<Addresses> {
    let base = u32::from(range.network()).checked_add(slot.checked_mul(4)?)?;
    let net = |host: u32| Ipv4Net::new(Ipv4Addr::from(base + host), PREFIX).ok();
    (slot < room(range)).then_some(Addresses { host: net(1)?, guest: net(2)? })
}

/// What of the host's networks is in the way of a range. `ours` are the interfaces that do not count.
pub(super) fn conflict<'a>(range: Ipv4Net, used: &'a [Used], ours: &BTreeSet<u32>) -> Option<&'a Used> {
    used.iter().find(|one| {
        let own = one.interface.is_some_and(|index| ours.contains(&index)) || one.unreachable && one.network == range;
        !own && overlap(one.network, range)
    })
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// A free place, the first after `after` going round, so that one that was given back is not given out at once.
pub(super) fn free(range: Ipv4Net, taken: &BTreeSet<u32>, after: u32, usable: impl Fn(Addresses) -> bool) -> Option<u32> {
    let room = room(range);
    let fits = |slot: &u32| !taken.contains(slot) && addresses(range, *slot).is_some_and(&usable);
    (1..=room).map(|step| after.wrapping_add(step) % room).find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a network")
    }

    fn used(network: &str, interface: u32) -> Used {
        Used { network: net(network), interface: Some(interface), unreachable: false }
    }

    #[test]
    fn every_candidate_is_usable_and_public_or_tiny_ranges_are_not() {
        for range in CANDIDATES {
            assert!(usable(net(range)), "{range}");
        }
        for range in ["8.8.0.0/16", "10.0.0.0/31", "0.0.0.0/0", "172.16.0.0/11", "127.0.0.0/16"] {
            assert!(!usable(net(range)), "{range}");
        }
    }

    #[test]
    fn places_do_not_overlap_and_end_with_the_range() {
        let range = net("10.1.2.0/28");
        let all: Vec<_> = (0..room(range)).map(|slot| addresses(range, slot).unwrap()).collect();
        assert_eq!(all.len(), 4);
        assert_eq!((all[0].host, all[0].guest), (net("10.1.2.1/30"), net("10.1.2.2/30")));
        assert_eq!((all[3].host, all[3].guest), (net("10.1.2.13/30"), net("10.1.2.14/30")));
        assert_eq!(addresses(range, 4), None);
        assert_eq!(room(net("10.0.0.0/8")), MOST);
    }

    #[test]
    fn places_are_given_out_in_turn_and_never_twice() {
        let range = net("10.1.2.0/28");
        let taken = BTreeSet::from([0, 2]);
        assert_eq!(free(range, &taken, 0, |_| true), Some(1));
        assert_eq!(free(range, &taken, 1, |_| true), Some(3));
        assert_eq!(free(range, &taken, 3, |_| true), Some(1));
        assert_eq!(free(range, &taken, 1, |one| one.guest != net("10.1.2.14/30")), Some(1));
        assert_eq!(free(range, &BTreeSet::from([0, 1, 2, 3]), 0, |_| true), None);
    }

    #[test]
    fn a_network_of_the_host_is_in_the_way_and_our_own_taps_are_not() {
        let range = net("10.214.0.0/16");
        let all = [used("192.0.2.0/24", 2), used("10.214.0.4/30", 7), used("10.0.0.0/8", 9)];
        assert_eq!(conflict(range, &all, &BTreeSet::from([7])), Some(&all[2]));
        assert_eq!(conflict(range, &all[..2], &BTreeSet::from([7])), None);
        assert_eq!(conflict(range, &all[..2], &BTreeSet::new()), Some(&all[1]));
        let reserved = [Used { network: range, interface: None, unreachable: true }];
        assert_eq!(conflict(range, &reserved, &BTreeSet::new()), None);
        assert_eq!(conflict(net("10.214.1.0/24"), &reserved, &BTreeSet::new()), Some(&reserved[0]));
    }
}
