//! What is made for a guest before it is booted, and taken away after it: its network, the directories it sees, its disks.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ring_guest::{Address, Network as GuestNetwork};
use ring_runtime::{RuntimeError, RuntimeErrorKind, Workload};
use ring_types::{InstanceId, NetworkMode, StartFailure};

use crate::driver::Shared;
use crate::layout::InstanceDir;
use crate::machine_config::Devices;
use crate::net::Attached;
use crate::order;
use crate::record::{Boot, Record, Wiring};
use crate::seed::Seed;
use crate::shares::{self, Places};

impl Shared {
    /// Is it something a guest can be given here? Makes nothing.
    pub(crate) fn check_wiring(&self, workload: &Workload) -> Result<(), RuntimeError> {
        if workload.spec.network == NetworkMode::Host {
            let message = "network.mode: a micro-VM cannot have the host's network; leave it out, or use another runtime";
            return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Network), message));
        }
        if self.network.is_none() && !workload.spec.ports.is_empty() {
            let key = "server.runtime.cloud_hypervisor.network.enabled";
            let message = format!("ports: the guests of this node have no network; publish nothing, or set {key} on the node");
            return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Network), message));
        }
        let dir = self.dir(workload.instance);
        shares::check(&self.config.shares, places(&dir), workload.instance, &workload.spec)
    }

    /// Makes what the guest is given. On an error what was made is left for [`Shared::unwire`].
    pub(crate) async fn wire(self: &Arc<Self>, instance: InstanceId, record: &Record) -> Result<(Wiring, Devices), RuntimeError> {
        let (mut wiring, mut devices) = (Wiring::default(), Devices::default());
        let dir = self.dir(instance);
        let served = shares::start(&self.config.shares, places(&dir), instance, &record.spec).await?;
        wiring.mounts = served.iter().map(Into::into).collect();
        devices.shares = served.into_iter().map(|share| (share.tag, share.socket)).collect();
        let attached = self.attach(instance, record).await?;
        if let Some(attached) = &attached {
            devices.nets.push((attached.tap.clone(), attached.mac.clone()));
            wiring.address = Some(attached.guest.addr().to_string());
            wiring.network = Some(guest_network(attached));
            wiring.tap = Some(attached.tap.clone());
        }
        match &record.boot {
            Boot::Image(image) => {
                devices.disks.push((image.disk.clone(), true));
                devices.initramfs = self.config.initramfs.clone();
            }
            Boot::Disk(_) => {
                devices.disks.push((dir.disk(), false));
                devices.disks.push((self.seed(instance, record, &wiring, attached).await?, true));
            }
        }
        Ok((wiring, devices))
    }

    async fn attach(&self, instance: InstanceId, record: &Record) -> Result<Option<Attached>, RuntimeError> {
        let Some(network) = &self.network else { return Ok(None) };
        let attached = network.attach(instance, &record.spec.namespace, &record.spec.ports).await?;
        // A port that is taken is known before anything runs.
        network.forward(instance).await?;
        Ok(Some(attached))
    }

    /// What a disk image is told, on a disk of its own.
    async fn seed(
        self: &Arc<Self>,
        instance: InstanceId,
        record: &Record,
        wiring: &Wiring,
        network: Option<Attached>,
    ) -> Result<PathBuf, RuntimeError> {
        let kept = self.blocking(move |shared| Ok(shared.vault.get(instance))).await?.ok_or_else(order::forgotten)?;
        let files = kept.files.into_iter().map(Into::into).collect();
        let (hostname, mounts) = (order::hostname(instance, record), wiring.mounts.clone());
        self.seeds.write(Seed { instance, hostname, environment: kept.environment, files, mounts, network }).await
    }

    /// Takes up again what a guest has that runs. What cannot be taken up is told and changes nothing for the guest.
    pub(crate) async fn rewire(self: &Arc<Self>, instance: InstanceId) {
        if let Some(network) = &self.network
            && let Err(error) = network.adopt(instance).await
        {
            tracing::error!(%instance, %error, "an instance that runs is without its network or its ports");
        }
    }

    /// Takes away everything that was made for a guest. Nothing there is no fault.
    pub(crate) async fn unwire(self: &Arc<Self>, instance: InstanceId) -> Result<(), RuntimeError> {
        shares::stop(places(&self.dir(instance)), instance).await?;
        self.seeds.remove(instance).await?;
        if let Some(network) = &self.network {
            network.detach(instance).await?;
        }
        Ok(())
    }
}

pub(crate) fn places(dir: &InstanceDir) -> Places<'_> {
    Places { instance: dir.path(), sockets: dir.sockets() }
}

fn guest_network(attached: &Attached) -> GuestNetwork {
    let address = Address { address: attached.guest.addr().into(), prefix: attached.guest.prefix_len() };
    GuestNetwork {
        mac: mac(&attached.mac),
        addresses: vec![address],
        gateways: vec![attached.gateway.into()],
        mtu: Some(attached.mtu),
        dns: attached.dns.iter().copied().map(IpAddr::from).collect(),
        search: attached.search.clone(),
        hosts: Vec::new(),
    }
}

fn mac(text: &str) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (byte, part) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(part, 16).unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_six_bytes() {
        assert_eq!(mac("02:00:0a:ff:10:01"), [2, 0, 10, 255, 16, 1]);
    }
}
