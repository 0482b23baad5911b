//! What the VMM is told to make.

use std::path::{Path, PathBuf};

use ring_types::Memory;
use serde_json::{Value, json};

use crate::config::VmConfig;
use crate::layout::InstanceDir;
use crate::record::{Boot, Record};

/// The guest's context id on its vsock. Each VMM has a vsock of its own, so that all guests can have the same.
const CID: u32 = 3;

/// Console on the serial line, which the VMM writes to its standard output. A panic restarts the guest, and the VMM writes that
/// down: without it a guest whose kernel has no pvpanic would hang unseen.
const INIT_CMDLINE: &str = "console=ttyS0 panic=1 quiet";

/// For disk images that are booted without firmware: the first partition.
const DISK_CMDLINE: &str = "console=ttyS0 panic=1 root=/dev/vda1 rw";

/// Requests a virtiofs queue holds.
const FS_QUEUE: u16 = 1024;

/// The devices of a guest that are made before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    /// Our init, for OCI images.
    pub(crate) initramfs: Option<PathBuf>,
    /// Disks in order: path, and whether it can only be read.
    pub(crate) disks: Vec<(PathBuf, bool)>,
    /// Tags and sockets of virtiofs.
    pub(crate) shares: Vec<(String, PathBuf)>,
    /// Names of taps and addresses of the guest's ends.
    pub(crate) nets: Vec<(String, String)>,
}

/// What is booted, or which file is missing for it.
pub(crate) fn payload(config: &VmConfig, boot: &Boot, devices: &Devices) -> Result<Value, String> {
    let cmdline = |own: &str| format!("{own} {}", config.cmdline).trim_end().to_owned();
    match (boot, &config.firmware, &config.kernel) {
        (Boot::Image(_), _, Some(kernel)) => {
            let mut payload = json!({ "kernel": kernel, "cmdline": cmdline(INIT_CMDLINE) });
            if let Some(initramfs) = &devices.initramfs {
                payload["initramfs"] = json!(initramfs);
            }
            Ok(payload)
        }
        (Boot::Disk(_), Some(firmware), _) => Ok(json!({ "firmware": firmware })),
        (Boot::Disk(_), None, Some(kernel)) => Ok(json!({ "kernel": kernel, "cmdline": cmdline(DISK_CMDLINE) })),
        (Boot::Image(_), _, None) => {
            let key = "server.runtime.cloud_hypervisor.kernel_path";
            Err(format!("there is no kernel to boot an OCI image with: set {key} on this node"))
        }
        (Boot::Disk(_), None, None) => {
            let keys = "server.runtime.cloud_hypervisor.firmware_path or kernel_path";
            Err(format!("there is nothing to boot a disk image with: set {keys} on this node"))
        }
    }
}

/// The body of `vm.create`.
pub(crate) fn create(payload: Value, record: &Record, devices: &Devices, dir: &InstanceDir) -> Value {
    let disk = |(path, read_only): &(PathBuf, bool)| json!({ "path": path, "readonly": read_only, "image_type": "Raw" });
    let share =
        |(tag, socket): &(String, PathBuf)| json!({ "tag": tag, "socket": socket, "num_queues": 1, "queue_size": FS_QUEUE });
    let mut body = json!({
        "payload": payload,
        "cpus": { "boot_vcpus": record.cpus, "max_vcpus": record.cpus },
        "memory": memory(record.memory),
        "disks": devices.disks.iter().map(disk).collect::<Vec<_>>(),
        "serial": { "mode": "Tty" },
        "console": { "mode": "Off" },
        "pvpanic": true,
    });
    if !devices.shares.is_empty() {
        body["fs"] = devices.shares.iter().map(share).collect();
    }
    if !devices.nets.is_empty() {
        body["net"] = devices.nets.iter().map(|(tap, mac)| json!({ "tap": tap, "mac": mac })).collect();
    }
    if matches!(record.boot, Boot::Image(_)) {
        body["vsock"] = vsock(&dir.vsock());
    }
    body
}

/// Shared, as helpers that show directories see it too.
fn memory(size: Memory) -> Value {
    json!({ "size": size.0, "shared": true })
}

fn vsock(socket: &Path) -> Value {
    json!({ "cid": CID, "socket": socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_booted_follows_the_image_and_the_host() {
        let image = Boot::Disk(PathBuf::from("/images/web.raw"));
        let devices = Devices::default();
        let bare = VmConfig::new("/data");
        let refused = payload(&bare, &image, &devices).unwrap_err();
        assert!(refused.contains("firmware_path or kernel_path"), "{refused}");
        let kernel = VmConfig { kernel: Some(PathBuf::from("/boot/vmlinux")), ..bare };
        let told = payload(&kernel, &image, &devices).unwrap();
        assert_eq!((&told["kernel"], &told["cmdline"]), (&json!("/boot/vmlinux"), &json!(DISK_CMDLINE)));
        let kernel = VmConfig { cmdline: "nosmt".to_owned(), ..kernel };
        assert_eq!(payload(&kernel, &image, &devices).unwrap()["cmdline"], format!("{DISK_CMDLINE} nosmt"));
        let both = VmConfig { firmware: Some(PathBuf::from("/fw/CLOUDHV.fd")), ..kernel };
        let told = payload(&both, &image, &devices).unwrap();
        assert_eq!(told, json!({ "firmware": "/fw/CLOUDHV.fd" }));
    }
}
