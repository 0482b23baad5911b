//! Networks of micro-VMs: taps, addresses, the way out, and published ports.
//!
//! There is no bridge: each guest has a tap and, on it, a network of four addresses, and the host is its gateway. What goes from
//! one guest to another passes the host's packet filter as a routed packet. That was chosen over a bridge for each namespace
//! because
//!
//! - a guest is a kernel of its own that may send any frame: without a shared link there is nobody whose address it could take
//!   or whose broadcasts it could hear, and what it calls itself is checked against the route back to its tap;
//! - one set of rules in one place says who reaches whom, in the same words for iptables and nftables, and does not depend on
//!   whether bridged packets pass iptables on this host;
//! - nothing has to be waited for (a bridge learns and listens first), and nothing but a tap is left when an agent is killed.
//!
//! # Who reaches whom
//!
//! | | engines of containers, as ring uses them | here |
//! |---|---|---|
//! | instances of a namespace on one host | reach each other, by the deployment's name | reach each other, by address only |
//! | instances of two namespaces | do not reach each other | do not reach each other |
//! | the host's own services | reachable, as the host's rules have it | the same |
//! | published ports of another namespace | not reachable, as engines isolate their networks | reachable at the host's address, as for anybody |
//! | from outside | published ports only | published ports only; they come from the gateway's address |
//! | IPv6 | none by default | none |
//!
//! # What is where
//!
//! A tap is called `rvm-<namespace>-<place>`, both numbers of this host, in hexadecimal. The record of an instance is a file (see
//! [`record`]): the agent may be killed at any time, and what it finds again is what it gave out. Taps stay when the VMM is killed;
//! [`Network::clean`] takes away those that nobody has.

mod attach;
mod forwarding;
mod host;
mod ports;
mod range;
mod record;
mod resolver;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::{InstanceId, Name, Port, StartFailure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use host::Host;
pub use ports::PortCounters;
use ports::Published;
use record::{Files, Record, Settled};
use rules::Rules;

/// A port that was given back can be held a moment longer, by a process that was just forked and has not executed its program yet.
const LET_GO: Duration = Duration::from_millis(500);

/// A program that changes the packet filter of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketFilter {
    /// `iptables` and `iptables-restore`.
    Iptables,
    /// `nft`.
    Nft,
}

/// What the network needs to know.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Directory of the records, of nothing else. Made when it is not there.
    pub dir: PathBuf,
    /// Where guests get their addresses from: a private network, from /8 to /30. None: the first of a few that the host has no
    /// other use for.
    pub range: Option<Ipv4Net>,
    /// Beginning of the names of taps, 1 to 4 lower-case letters and digits: what begins with it and a dash is ours. Names the
    /// rules of the packet filter, too. Two agents of one host need two.
    pub prefix: String,
    /// Name servers of guests. None: those of the host.
    pub dns: Option<Vec<Ipv4Addr>>,
    /// By what the packet filter is changed. None: `iptables` where there is one, else `nft`.
    pub filter: Option<PacketFilter>,
    /// How long a client of a published udp port is remembered without a datagram in either direction.
    pub udp_idle: Duration,
}

impl NetworkConfig {
    /// The usual network, with its records in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, range: None, prefix: "rvm".to_owned(), dns: None, filter: None, udp_idle: Duration::from_secs(90) }
    }
}

/// What an instance was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Name of its tap.
    pub tap: String,
    /// Address of its network card, which is always the same for an instance: `02:` and five more bytes.
    pub mac: String,
    /// Its address, with the size of its network.
    pub guest: Ipv4Net,
    /// The host's address on the tap.
    pub gateway: Ipv4Addr,
    /// Name servers; may be none.
    pub dns: Vec<Ipv4Addr>,
    /// Domains that names are completed with.
    pub search: Vec<String>,
    /// Largest packet, bytes.
    pub mtu: u32,
}

/// Bytes that went over the tap of an instance since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received by the guest.
    pub received: u64,
    /// Sent by the guest.
    pub sent: u64,
}

/// The network of micro-VMs of a host. One at a time may be open on a directory.
pub struct Network {
    config: NetworkConfig,
    files: Files,
    state: Mutex<State>,
    published: Mutex<HashMap<InstanceId, Published>>,
}

/// What is changed under one lock: taps, records and rules belong together.
struct State {
    settled: Option<Settled>,
    records: BTreeMap<InstanceId, Record>,
    /// The place given out last.
    last: u32,
    /// What the packet filter was told, by this agent.
    applied: Option<Rules>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Network {
    /// Reads what an earlier agent gave out. Changes nothing on the host.
    ///
    /// [`RuntimeErrorKind::Other`] for a configuration that cannot be used, and when the records cannot be read.
    pub fn new(config: NetworkConfig) -> Result<Self, RuntimeError> {
        let prefix = &config.prefix;
        let plain = prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !plain || !(1..=4).contains(&prefix.len()) {
            return Err(other(format!(
                "network of micro-VMs: the prefix '{prefix}' is not 1 to 4 lower-case letters and digits"
            )));
        }
        if let Some(range) = config.range.filter(|range| !range::usable(range.trunc())) {
            return Err(other(format!("network of micro-VMs: the range {range} is not a private network from /8 to /30")));
        }
        let files = Files::new(&config.dir);
        let (settled, records) = files.open().map_err(|error| other(format!("network of micro-VMs: {error}")))?;
        let last = records.values().map(|record| record.slot).max().unwrap_or(0);
        let state = Mutex::new(State { settled, records, last, applied: None });
        Ok(Self { config, files, state, published: Mutex::default() })
    }

    /// Gives an instance a tap, addresses and the way out, and writes down which ports are published for it. The same again for
    /// one that has them.
    ///
    /// [`StartFailure::Network`] with what was in the way; then nothing is left of it.
    pub async fn attach(&self, instance: InstanceId, namespace: &Name, ports: &[Port]) -> Result<Attached, RuntimeError> {
        let mut state = self.state.lock().await;
        let fresh = !state.records.contains_key(&instance);
        let attached = self.attach_locked(&mut state, instance, namespace, ports).await;
        if attached.is_err() && fresh {
            // What went wrong is told; what could not be taken back is found again by its name.
            let _ = self.detach_locked(&mut state, instance).await;
        }
        attached.map_err(|error| failed(instance, &error))
    }

    /// Binds the published ports of an instance that was attached, all or none. Nothing happens when they are bound.
    ///
    /// [`StartFailure::Network`] names the port that is taken or cannot be bound.
    pub async fn forward(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let (ports, guest) = {
            let state = self.state.lock().await;
            let record = state.records.get(&instance).ok_or_else(|| not_attached(instance))?;
            let addresses = state.addresses(record).map_err(|error| failed(instance, &error))?;
            (record.ports.clone(), addresses.guest.addr())
        };
        let mut published = self.published.lock().await;
        if let std::collections::hash_map::Entry::Vacant(vacant) = published.entry(instance) {
            let deadline = tokio::time::Instant::now() + LET_GO;
            let bound = loop {
                match Published::bind(&ports, guest, self.config.udp_idle) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse && tokio::time::Instant::now() < deadline => {
                        tokio::time::sleep(LET_GO / 25).await;
                    }
                    bound => break bound,
                }
            };
            vacant.insert(bound.map_err(|error| failed(instance, &error))?);
        }
        Ok(())
    }

    /// Takes up an instance that an earlier run of the agent attached and that still runs: the rules are made again where they
    /// are gone, and its ports are bound.
    ///
    /// [`RuntimeErrorKind::NotFound`] when it was never attached; [`StartFailure::Network`] when its tap is gone, or a port is
    /// taken by now.
    pub async fn adopt(&self, instance: InstanceId) -> Result<Attached, RuntimeError> {
        let attached = {
            let mut state = self.state.lock().await;
            let record = state.records.get(&instance).cloned().ok_or_else(|| not_attached(instance))?;
            self.adopt_locked(&mut state, &record, instance).await.map_err(|error| failed(instance, &error))?
        };
        self.forward(instance).await?;
        Ok(attached)
    }

    /// Takes back everything of an instance: its ports are free, its tap is gone. Nothing there is no fault.
    pub async fn detach(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let published = self.published.lock().await.remove(&instance);
        if let Some(published) = published {
            published.close().await;
        }
        let mut state = self.state.lock().await;
        let detached = self.detach_locked(&mut state, instance).await;
        detached.map_err(|error| other(format!("network of instance {instance} is not gone: {error}")))
    }

    /// The instances that have something of the network, whoever gave it to them.
    pub async fn leftovers(&self) -> Vec<InstanceId> {
        self.state.lock().await.records.keys().copied().collect()
    }

    /// Takes back everything that belongs to none of `living`: instances, and taps of ours without one. Says how much that was.
    pub async fn clean(&self, living: &BTreeSet<InstanceId>) -> Result<usize, RuntimeError> {
        let mut gone = 0;
        for instance in self.leftovers().await.into_iter().filter(|instance| !living.contains(instance)) {
            self.detach(instance).await?;
            gone += 1;
        }
        let mut state = self.state.lock().await;
        let cleaned = self.clean_locked(&mut state).await;
        Ok(gone + cleaned.map_err(|error| other(format!("network of micro-VMs: taps that nobody has: {error}")))?)
    }

    /// What went over the tap of an instance; None when it has none.
    pub async fn traffic(&self, instance: InstanceId) -> Result<Option<Traffic>, RuntimeError> {
        let name = self.state.lock().await.records.get(&instance).map(|record| self.tap(record));
        let Some(name) = name else { return Ok(None) };
        let asked = async { Host::open()?.interface(&name).await };
        let found = asked.await.map_err(|error| other(format!("network of instance {instance}: {error}")))?;
        Ok(found.map(|tap| Traffic { received: tap.bytes.1, sent: tap.bytes.0 }))
    }

    /// What went through the published ports of an instance, in the order of its specification; empty when none are bound.
    pub async fn counters(&self, instance: InstanceId) -> Vec<PortCounters> {
        self.published.lock().await.get(&instance).map(Published::counters).unwrap_or_default()
    }
}

impl Network {
    fn tap(&self, record: &Record) -> String {
        format!("{}-{:04x}-{:04x}", self.config.prefix, record.number, record.slot)
    }
}

/// A network that guests can be given addresses from; None when it is no private IPv4 network from /8 to /30.
pub(crate) fn parse_range(text: &str) -> Option<Ipv4Net> {
    text.parse().ok().map(|range: Ipv4Net| range.trunc()).filter(|range| range::usable(*range))
}

/// Locally administered, not multicast, and a function of the instance.
fn mac(instance: InstanceId) -> String {
    let digest = Sha256::digest(instance.0.as_bytes());
    digest[..5].iter().fold("02".to_owned(), |mac, byte| format!("{mac}:{byte:02x}"))
}

fn other(message: String) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Other, message)
}

fn failed(instance: InstanceId, error: &io::Error) -> RuntimeError {
    let kind = RuntimeErrorKind::Start(StartFailure::Network);
    RuntimeError::new(kind, format!("network of instance {instance}: {error}"))
}

fn not_attached(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} has no network here"))
}
