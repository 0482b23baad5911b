//! What is booted, and what the agent may do.

use std::io::Read;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::{Requirement, Wanted, Weight, who};

/// Files with these beginnings can be booted directly: an ELF image, a compressed Linux for x86 ("HdrS" at 0x202), and one for arm64.
const ELF: &[u8] = b"\x7fELF";
const BZIMAGE: (usize, &[u8]) = (0x202, b"HdrS");
const ARM64: (usize, &[u8]) = (0x38, b"ARM\x64");

/// For taps and the packet filter.
const NETWORK: (&str, CapabilitySet) = ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN);

/// For the mounts that volumes are shown through.
const MOUNTS: (&str, CapabilitySet) = ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN);

pub(super) fn kernel(wanted: &Wanted) -> Requirement {
    let found = match &wanted.kernel {
        None => Err("none is configured".to_owned()),
        Some(path) => bootable(path).map(|kind| format!("{} ({kind})", path.display())),
    };
    let remedy = "build or download a Linux kernel with virtio (blk, net, fs, vsock), ext4 and overlayfs built in, and set \
                  server.runtime.cloud_hypervisor.kernel_path";
    Requirement::new("kernel", found, Weight::Some, "no OCI image is booted", remedy).configured(wanted.kernel.is_some())
}

pub(super) fn firmware(wanted: &Wanted) -> Requirement {
    let found = match &wanted.firmware {
        None => Err("none is configured".to_owned()),
        Some(path) => head(path).map(|_| path.display().to_string()),
    };
    let remedy = "download CLOUDHV.fd or hypervisor-fw, and set server.runtime.cloud_hypervisor.firmware_path";
    let without = "disk images are booted with the kernel only";
    Requirement::new("firmware", found, Weight::Some, without, remedy).configured(wanted.firmware.is_some())
}

/// None when no modules are configured.
pub(super) fn modules(wanted: &Wanted) -> Option<Requirement> {
    let count = wanted.modules.len();
    let broken = wanted.modules.iter().find_map(|path| head(path).err());
    let found = broken.map_or_else(|| Ok(format!("{count} to load")), Err);
    let remedy = "name files that are there, in the order in which they depend on each other, in \
                  server.runtime.cloud_hypervisor.kernel_modules";
    let without = "the agent does not start";
    (count > 0).then(|| Requirement::new("kernel modules", found, Weight::Everything, without, remedy))
}

/// What kind of a kernel it is.
fn bootable(path: &Path) -> Result<&'static str, String> {
    let head = head(path)?;
    let at = |(offset, magic): (usize, &[u8])| head.get(offset..offset + magic.len()) == Some(magic);
    if head.starts_with(ELF) {
        Ok("vmlinux")
    } else if at(BZIMAGE) {
        Ok("bzImage")
    } else if at(ARM64) {
        Ok("Image")
    } else {
        Err(format!("'{}' is no kernel: neither an ELF file nor a bzImage", path.display()))
    }
}

fn head(path: &Path) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(0x210).read_to_end(&mut head));
    match read {
        Ok(0) => Err(format!("'{}' is empty", path.display())),
        Ok(_) => Ok(head),
        Err(error) => Err(format!("'{}': {error}", path.display())),
    }
}

pub(super) fn capabilities(network: bool) -> Requirement {
    let needed = [network.then_some(NETWORK), Some(MOUNTS)].into_iter().flatten();
    let (names, lacks): (Vec<_>, Vec<_>) = match rustix::thread::capabilities(None) {
        Ok(sets) => needed.partition(|(_, one)| sets.effective.contains(*one)),
        Err(_) => (Vec::new(), needed.collect()),
    };
    let list = |all: Vec<(&str, CapabilitySet)>| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let found = if lacks.is_empty() { Ok(list(names)) } else { Err(format!("{} lacks {}", who(), list(lacks))) };
    let without = if network { "no micro-VM has a network or volumes" } else { "no micro-VM has volumes" };
    Requirement::new("capabilities", found, Weight::Everything, without, "run the agent as root")
}
