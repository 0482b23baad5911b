//! Giving and taking back, under the lock of the state.

use std::collections::BTreeSet;
use std::io;

use ring_types::{InstanceId, Name, Port};

use super::forwarding;
use super::host::{Host, Used};
use super::range::{self, Addresses};
use super::record::{Record, Settled};
use super::resolver;
use super::rules::{Filter, Rules};
use super::{Attached, Network, PacketFilter, State, mac};

impl Network {
    pub(super) async fn attach_locked(
        &self,
        state: &mut State,
        instance: InstanceId,
        namespace: &Name,
        ports: &[Port],
    ) -> io::Result<Attached> {
        let host = Host::open()?;
        let known = state.records.get(&instance).cloned();
        let used = host.used().await?;
        self.settle(state, &host, &used).await?;
        let record = match known {
            Some(record) => Record { ports: ports.to_vec(), ..record },
            None => self.place(state, &host, &used, namespace, ports).await?,
        };
        self.files.keep(instance, &record)?;
        state.records.insert(instance, record.clone());
        let (name, addresses) = (self.tap(&record), state.addresses(&record)?);
        let there = host.interface(&name).await?;
        let whole = there.is_some_and(|tap| used.contains(&on(tap.index, addresses)));
        if !whole {
            // Half made by an agent that was killed, or left of an instance whose place this was.
            host.remove(&name).await?;
            host.make_tap(&name, addresses.host, record.mtu).await.map_err(|error| named(&format!("tap {name}"), &error))?;
        }
        self.enforce(state).await?;
        Ok(self.attached(instance, &record, addresses))
    }

    pub(super) async fn adopt_locked(&self, state: &mut State, record: &Record, instance: InstanceId) -> io::Result<Attached> {
        let (name, addresses) = (self.tap(record), state.addresses(record)?);
        if Host::open()?.interface(&name).await?.is_none() {
            return Err(io::Error::other(format!("its tap {name} is gone")));
        }
        if state.settled.as_ref().is_some_and(|settled| settled.switched_on.is_some()) && !forwarding::is_on()? {
            forwarding::switch(true)?;
        }
        self.enforce(state).await?;
        Ok(self.attached(instance, record, addresses))
    }

    pub(super) async fn detach_locked(&self, state: &mut State, instance: InstanceId) -> io::Result<()> {
        let Some(record) = state.records.get(&instance) else { return Ok(()) };
        Host::open()?.remove(&self.tap(record)).await?;
        self.files.forget(instance)?;
        state.records.remove(&instance);
        if state.records.is_empty() {
            return self.leave(state).await;
        }
        // Rules that are as they have to be are looked after when somebody comes, not when somebody goes.
        if self.rules(state) == state.applied { Ok(()) } else { self.enforce(state).await }
    }

    /// Taps of ours that no record speaks of. With nobody there, everything else goes as well.
    pub(super) async fn clean_locked(&self, state: &mut State) -> io::Result<usize> {
        let host = Host::open()?;
        let known: BTreeSet<String> = state.records.values().map(|record| self.tap(record)).collect();
        let mut gone = 0;
        for tap in host.interfaces().await?.into_iter().filter(|one| self.is_ours(&one.name) && !known.contains(&one.name)) {
            host.remove(&tap.name).await?;
            gone += 1;
        }
        if state.records.is_empty() {
            self.leave(state).await?;
        }
        Ok(gone)
    }

    fn is_ours(&self, name: &str) -> bool {
        name.strip_prefix(&self.config.prefix).is_some_and(|rest| rest.starts_with('-'))
    }

    fn attached(&self, instance: InstanceId, record: &Record, addresses: Addresses) -> Attached {
        let mut found = resolver::of_the_host();
        if let Some(servers) = &self.config.dns {
            found.servers.clone_from(servers);
        }
        Attached {
            tap: self.tap(record),
            mac: mac(instance),
            guest: addresses.guest,
            gateway: addresses.host.addr(),
            dns: found.servers,
            search: found.search,
            mtu: record.mtu,
        }
    }

    /// Chooses the range with the first guest, and makes the host forward.
    async fn settle(&self, state: &mut State, host: &Host, used: &[Used]) -> io::Result<()> {
        let ours = self.interfaces(host).await?;
        if state.records.is_empty() || state.settled.is_none() {
            let kept = state.settled.as_ref().and_then(|settled| settled.switched_on.clone());
            let range = self.choose(used, &ours)?;
            let switched_on = match kept {
                Some(kept) => Some(kept),
                None if forwarding::is_on()? => None,
                None => Some(forwarding::interfaces(host, &self.config.prefix).await?),
            };
            let settled = Settled { range, switched_on };
            // Written down before it is done: what is done is taken back for certain.
            self.files.settle(Some(&settled))?;
            state.settled = Some(settled);
        }
        let Some(settled) = &state.settled else { return Ok(()) };
        host.reserve(settled.range).await?;
        if settled.switched_on.is_some() {
            // What must not be forwarded is dropped before anything is.
            self.enforce(state).await?;
            forwarding::switch(true)?;
        }
        Ok(())
    }

    async fn interfaces(&self, host: &Host) -> io::Result<BTreeSet<u32>> {
        let all = host.interfaces().await?;
        Ok(all.into_iter().filter(|one| self.is_ours(&one.name)).map(|one| one.index).collect())
    }

    fn choose(&self, used: &[Used], ours: &BTreeSet<u32>) -> io::Result<ipnet::Ipv4Net> {
        if let Some(range) = self.config.range {
            let range = range.trunc();
            return range::conflict(range, used, ours).map_or(Ok(range), |in_the_way| {
                let message = format!(
                    "the range {range} of the configuration overlaps {}, which this host has an address or a route in: configure another",
                    in_the_way.network
                );
                Err(io::Error::other(message))
            });
        }
        let candidates = range::CANDIDATES.iter().filter_map(|range| range.parse().ok());
        let mut free = candidates.filter(|range| range::conflict(*range, used, ours).is_none());
        free.next().ok_or_else(|| {
            let message = "this host has addresses or routes in every range that would be taken by itself: configure one";
            io::Error::other(message)
        })
    }

    /// A place for a new instance.
    async fn place(&self, state: &mut State, host: &Host, used: &[Used], namespace: &Name, ports: &[Port]) -> io::Result<Record> {
        let Some(settled) = &state.settled else { return Err(io::Error::other("there is no range")) };
        let (range, ours) = (settled.range, self.interfaces(host).await?);
        let taken: BTreeSet<u32> = state.records.values().map(|record| record.slot).collect();
        // What the host came to use since the range was chosen is left alone; a route that covers all of it says nothing of a part.
        let inside: Vec<Used> = used.iter().filter(|one| one.network != range && range.contains(&one.network)).cloned().collect();
        let free = |one: Addresses| range::conflict(one.guest.trunc(), &inside, &ours).is_none();
        let slot = range::free(range, &taken, state.last, free)
            .ok_or_else(|| io::Error::other(format!("the range {range} is full: {} instances have an address", taken.len())))?;
        state.last = slot;
        let number = state.number(namespace)?;
        let mtu = host.mtu_of_the_way_out().await?;
        Ok(Record { namespace: namespace.to_string(), number, slot, ports: ports.to_vec(), mtu })
    }

    fn rules(&self, state: &State) -> Option<Rules> {
        let settled = state.settled.as_ref()?;
        Some(Rules {
            prefix: self.config.prefix.clone(),
            range: settled.range,
            namespaces: state.records.values().map(|record| record.number).collect(),
            guarded: settled.switched_on.clone().unwrap_or_default(),
        })
    }

    fn filter(&self) -> io::Result<Filter> {
        let wanted = self.config.filter;
        let mut all = Filter::all().into_iter().filter(|filter| wanted.is_none_or(|wanted| filter.kind() == wanted));
        all.next().ok_or_else(|| {
            let which = wanted.map_or("neither iptables nor nft", |wanted| match wanted {
                PacketFilter::Iptables => "no iptables",
                PacketFilter::Nft => "no nft",
            });
            io::Error::other(format!("this host has {which}, which makes the way out of a micro-VM: install it"))
        })
    }

    /// Makes the packet filter what it has to be.
    async fn enforce(&self, state: &mut State) -> io::Result<()> {
        let Some(rules) = self.rules(state) else { return Ok(()) };
        let filter = self.filter()?;
        if state.applied.as_ref() == Some(&rules) && filter.in_place(&rules).await? {
            return Ok(());
        }
        state.applied = None;
        filter.apply(&rules).await?;
        state.applied = Some(rules);
        Ok(())
    }

    /// The last is gone: the host is as it was.
    async fn leave(&self, state: &mut State) -> io::Result<()> {
        let Some(rules) = self.rules(state) else { return Ok(()) };
        let host = Host::open()?;
        let Some(settled) = state.settled.clone() else { return Ok(()) };
        host.release(settled.range).await?;
        state.applied = None;
        if let Some(before) = &settled.switched_on {
            let now = forwarding::interfaces(&host, &self.config.prefix).await?;
            if !now.is_subset(before) {
                tracing::warn!("forwarding stays on: interfaces that may need it came after micro-VMs switched it on");
                return self.enforce(state).await;
            }
            forwarding::switch(false)?;
        }
        for filter in Filter::all() {
            filter.remove(&rules).await?;
        }
        self.files.settle(None)?;
        state.settled = None;
        Ok(())
    }
}

impl State {
    /// The number of a namespace on this host: its own while it has instances, else one that nobody has.
    fn number(&self, namespace: &Name) -> io::Result<u16> {
        let mut records = self.records.values();
        if let Some(record) = records.find(|record| record.namespace == namespace.as_str()) {
            return Ok(record.number);
        }
        let taken: BTreeSet<u16> = self.records.values().map(|record| record.number).collect();
        (1..=u16::MAX).find(|number| !taken.contains(number)).ok_or_else(|| io::Error::other("too many namespaces"))
    }

    pub(super) fn addresses(&self, record: &Record) -> io::Result<Addresses> {
        let addresses = self.settled.as_ref().and_then(|settled| range::addresses(settled.range, record.slot));
        addresses.ok_or_else(|| io::Error::other("its address is in no range that is in use"))
    }
}

/// What the host's networks look like when a tap is as it has to be.
fn on(index: u32, addresses: Addresses) -> Used {
    Used { network: addresses.host.trunc(), interface: Some(index), unreachable: false }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => " (the agent needs CAP_NET_ADMIN and /dev/net/tun)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{what}: {error}{hint}"))
}
