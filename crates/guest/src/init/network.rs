//! The network device: found by its hardware address, given its addresses and the way out, and put up.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use ring_guest::{Address, Network};

/// Devices by name.
const DEVICES: &str = "/sys/class/net";

/// A device that has not shown up by then is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Loopback has this number on every Linux.
const LOOPBACK: u32 = 1;

/// Answers of the kernel are short.
const ANSWER: usize = 8192;

/// Puts loopback up, and does what is asked for.
pub(super) fn apply(network: Option<&Network>) -> Result<(), String> {
    let mut kernel = Kernel::open().map_err(|error| format!("netlink: {error}"))?;
    kernel.up(LOOPBACK, None).map_err(|error| format!("loopback: {error}"))?;
    let Some(network) = network else { return Ok(()) };
    let index = device(network.mac).ok_or_else(|| format!("there is no network device {}", written(network.mac)))?;
    kernel.up(index, network.mtu).map_err(|error| format!("network device {}: {error}", written(network.mac)))?;
    for address in &network.addresses {
        let given = kernel.address(index, *address);
        given.map_err(|error| format!("address {}/{}: {error}", address.address, address.prefix))?;
    }
    network
        .gateways
        .iter()
        .try_for_each(|gateway| kernel.default_route(index, *gateway).map_err(|error| format!("gateway {gateway}: {error}")))
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Number of the device with this hardware address.
fn device(mac: [u8; 6]) -> Option<u32> {
    let (wanted, begun) = (written(mac), Instant::now());
    loop {
        let all = fs::read_dir(DEVICES).into_iter().flatten().flatten();
        let read = |path: &Path, name| fs::read_to_string(path.join(name)).unwrap_or_default().trim().to_owned();
        let found = all.map(|entry| entry.path()).find(|path| read(path, "address").eq_ignore_ascii_case(&wanted));
        if let Some(index) = found.and_then(|path| read(&path, "ifindex").parse().ok()) {
            return Some(index);
        }
        if begun.elapsed() > PATIENCE {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Questions to the kernel, one at a time.
struct Kernel(Socket);

impl Kernel {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    fn up(&mut self, index: u32, mtu: Option<u32>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.extend(mtu.map(LinkAttribute::Mtu));
        self.ask(RouteNetlinkMessage::SetLink(message), 0)
    }

    fn address(&mut self, index: u32, given: Address) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(given.address);
        message.header.prefix_len = given.prefix;
        message.header.scope = AddressScope::Universe;
        message.header.index = index;
        if given.address.is_ipv6() {
            // Nobody else has it, and it is wanted at once.
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes = vec![AddressAttribute::Address(given.address), AddressAttribute::Local(given.address)];
        self.ask(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(gateway);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Gateway(RouteAddress::from(gateway)), RouteAttribute::Oif(index)];
        self.ask(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut answer = vec![0; ANSWER];
        let length = self.0.recv(&mut &mut answer[..], 0)?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..length]).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            NetlinkPayload::Error(_) => Ok(()),
            _ => Err(io::Error::other("the kernel answers with something else")),
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
