//! What is made for a guest before it is booted, and taken away after it: its network, the directories it sees, its disks.

use std::net::IpAddr;
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

/// Is it something a guest can be given?
pub(crate) fn check(workload: &Workload) -> Result<(), RuntimeError> {
    if workload.spec.network == NetworkMode::Host {
        let message = "network.mode: a micro-VM cannot have the host's network; leave it out, or use another runtime";
        return Err(RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Network), message));
    }
    Ok(())
}

impl Shared {
    /// Makes what the guest is given. On an error what was made is left for [`Shared::unwire`].
    pub(crate) async fn wire(self: &Arc<Self>, instance: InstanceId, record: &Record) -> Result<(Wiring, Devices), RuntimeError> {
        let (mut wiring, mut devices) = (Wiring::default(), Devices::default());
        let dir = self.dir(instance);
        let shares = shares::start(&self.config.shares, places(&dir), instance, &record.spec).await?;
        wiring.mounts = shares.iter().map(Into::into).collect();
        devices.shares = shares.into_iter().map(|share| (share.tag, share.socket)).collect();
        let mut network_of_seed = None;
        if let Some(network) = &self.network {
            let attached = network.attach(instance, &record.spec.namespace, &record.spec.ports).await?;
            // A port that is taken is known before anything runs.
            network.forward(instance).await?;
            devices.nets.push((attached.tap.clone(), attached.mac.clone()));
            wiring.address = Some(attached.guest.addr().to_string());
            wiring.network = Some(guest_network(&attached));
            wiring.tap = Some(attached.tap.clone());
            network_of_seed = Some(attached);
        }
        match &record.boot {
            Boot::Image(image) => devices.disks.push((image.disk.clone(), true)),
            Boot::Disk(_) => {
                let seed = self.seed(instance, record, &wiring, network_of_seed).await?;
                devices.disks.extend([(dir.disk(), false), (self.seeds.write(seed).await?, true)]);
            }
        }
        Ok((wiring, devices))
    }

    /// What the guest of a disk image is told: all that the guest of an OCI image is told in its order.
    async fn seed(
        self: &Arc<Self>,
        instance: InstanceId,
        record: &Record,
        wiring: &Wiring,
        network: Option<Attached>,
    ) -> Result<Seed, RuntimeError> {
        let kept = self.blocking(move |shared| Ok(shared.vault.get(instance))).await?.ok_or_else(|| {
            let message = "its environment is gone: it is never on disk, and the host was restarted before the start";
            RuntimeError::new(RuntimeErrorKind::Start(StartFailure::Config), message)
        })?;
        let workload = record.workload(instance, kept);
        Ok(Seed {
            instance,
            hostname: order::hostname(instance, record),
            environment: workload.environment,
            files: workload.files,
            mounts: wiring.mounts.clone(),
            network,
        })
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
        if let Some(network) = &self.network {
            network.detach(instance).await?;
        }
        shares::stop(places(&self.dir(instance)), instance).await?;
        self.seeds.remove(instance).await
    }
}

fn places(dir: &InstanceDir) -> Places<'_> {
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
