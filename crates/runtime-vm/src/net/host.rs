//! What the network of the host has, and the taps in it.

use std::io;
use std::net::Ipv4Addr;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use tokio::task::JoinHandle;
use tokio_tun::TunBuilder;

/// Larger frames than these are not usual on any uplink, and guests begin with it.
const MTU: u32 = 1500;

/// The smallest that IPv4 hosts have to take.
const SMALLEST_MTU: u32 = 576;

/// A conversation with the kernel about the network namespace of this thread.
pub(super) struct Host {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A network interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
    /// Bytes the host received from it and sent to it.
    pub(super) bytes: (u64, u64),
}

/// A network somebody on this host uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) network: Ipv4Net,
    /// The interface that leads there, where there is one.
    pub(super) interface: Option<u32>,
    /// It only says that nothing is there.
    pub(super) unreachable: bool,
}

impl Host {
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    pub(super) async fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let links = self.handle.link().get().execute();
        let all: Vec<LinkMessage> = links.try_collect().await.map_err(told)?;
        Ok(all.iter().filter_map(interface).collect())
    }

    pub(super) async fn interface(&self, name: &str) -> io::Result<Option<Interface>> {
        let links = self.handle.link().get().match_name(name).execute();
        match links.try_collect::<Vec<_>>().await {
            Ok(found) => Ok(found.iter().find_map(interface)),
            Err(error) => match told(error) {
                error if is_absent(&error) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Every network that has an address or a route here, but for the default routes.
    pub(super) async fn used(&self) -> io::Result<Vec<Used>> {
        let mut used: Vec<Used> = self.routes().await?.iter().filter_map(route).collect();
        let addresses = self.handle.address().get().execute();
        let all: Vec<_> = addresses.try_collect().await.map_err(told)?;
        used.extend(all.iter().filter(|a| a.header.family == AddressFamily::Inet).filter_map(|message| {
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(std::net::IpAddr::V4(address)) => Some(*address),
                _ => None,
            })?;
            let network = Ipv4Net::new(address, message.header.prefix_len).ok()?.trunc();
            Some(Used { network, interface: Some(message.header.index), unreachable: false })
        }));
        Ok(used)
    }

    async fn routes(&self) -> io::Result<Vec<RouteMessage>> {
        let request = RouteMessageBuilder::<Ipv4Addr>::new().build();
        self.handle.route().get(request).execute().try_collect().await.map_err(told)
    }

    /// The largest packet that the way out takes; what is usual where there is none.
    pub(super) async fn mtu_of_the_way_out(&self) -> io::Result<u32> {
        let routes = self.routes().await?;
        let defaults = routes.iter().filter(|route| route.header.destination_prefix_length == 0);
        let out: Vec<u32> = defaults.filter_map(interface_of).collect();
        let interfaces = self.interfaces().await?;
        let smallest = interfaces.iter().filter(|one| out.contains(&one.index)).map(|one| one.mtu).min();
        Ok(smallest.unwrap_or(MTU).clamp(SMALLEST_MTU, MTU))
    }

    /// Makes a tap that stays when whoever uses it goes, and brings it up with the host's address on it.
    pub(super) async fn make_tap(&self, name: &str, address: Ipv4Net, mtu: u32) -> io::Result<()> {
        // The open file goes with the value; the tap stays.
        drop(TunBuilder::new().name(name).tap().persist().build().map_err(io::Error::other)?);
        // No IPv6 on it: no addresses of the link either, by which the host's services could be reached around every rule.
        set(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
        let tap = self.interface(name).await?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let added = self.handle.address().add(tap.index, address.addr().into(), address.prefix_len()).execute();
        added.await.map_err(told)?;
        let up = LinkUnspec::new_with_index(tap.index).mtu(mtu).up().build();
        self.handle.link().set(up).execute().await.map_err(told)
    }

    /// Takes an interface away. Nothing there is no fault.
    pub(super) async fn remove(&self, name: &str) -> io::Result<()> {
        let Some(found) = self.interface(name).await? else { return Ok(()) };
        match self.handle.link().del(found.index).execute().await.map_err(told) {
            Err(error) if is_absent(&error) => Ok(()),
            other => other,
        }
    }

    /// Says that nothing is in this network but what has a route of its own, so that what is sent to nobody does not leave the
    /// host, and others who look for a free network find this one in use.
    pub(super) async fn reserve(&self, network: Ipv4Net) -> io::Result<()> {
        match self.handle.route().add(unreachable(network)).execute().await.map_err(told) {
            Err(error) if error.raw_os_error() == Some(EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Takes back what [`Self::reserve`] said.
    pub(super) async fn release(&self, network: Ipv4Net) -> io::Result<()> {
        match self.handle.route().del(unreachable(network)).execute().await.map_err(told) {
            Err(error) if error.raw_os_error() == Some(ESRCH) => Ok(()),
            other => other,
        }
    }
}

const ESRCH: i32 = 3;
const EEXIST: i32 = 17;

fn unreachable(network: Ipv4Net) -> RouteMessage {
    let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(network.network(), network.prefix_len());
    route.kind(RouteType::Unreachable).build()
}

/// Writes a setting of this network namespace. One that the kernel does not have is passed over.
pub(super) fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    match std::fs::write(&path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}"))),
    }
}

fn interface(message: &LinkMessage) -> Option<Interface> {
    let mut found = Interface { index: message.header.index, name: String::new(), mtu: MTU, bytes: (0, 0) };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::Stats64(stats) => found.bytes = (stats.rx_bytes, stats.tx_bytes),
            _ => {}
        }
    }
    (!found.name.is_empty()).then_some(found)
}

fn interface_of(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn route(message: &RouteMessage) -> Option<Used> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    let network = Ipv4Net::new(address, message.header.destination_prefix_length).ok()?.trunc();
    let kind = message.header.kind;
    // What the kernel says of broadcasts goes with an address, which is found by itself.
    let counts = network.prefix_len() > 0 && !matches!(kind, RouteType::Broadcast | RouteType::Multicast | RouteType::Local);
    counts.then_some(Used { network, interface: interface_of(message), unreachable: kind == RouteType::Unreachable })
}

fn told(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    const ENODEV: i32 = 19;
    error.raw_os_error() == Some(ENODEV)
}
