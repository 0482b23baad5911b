//! What is booted, and what the agent may do.

use std::io::Read;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::{Requirement, Wanted, Weight};

/// Files with these beginnings can be booted directly: an ELF image, a compressed Linux for x86 ("HdrS" at 0x202), and one for arm64.
const ELF: &[u8] = b"\x7fELF";
const BZIMAGE: (usize, &[u8]) = (0x202, b"HdrS");
const ARM64: (usize, &[u8]) = (0x38, b"ARM\x64");

const NEEDED: [(&str, CapabilitySet); 2] =
    [("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN), ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN)];

pub(super) fn kernel(wanted: &Wanted) -> Requirement {
    let found = match &wanted.kernel {
        None => Err("none is configured".to_owned()),
        Some(path) => bootable(path).map(|kind| format!("{} ({kind})", path.display())),
    };
    let remedy = "build or download a Linux kernel with virtio (blk, net, fs, vsock), ext4 and overlayfs built in, and set \
                  server.runtime.cloud_hypervisor.kernel_path";
    Requirement::new("kernel", found, Weight::Some, "no OCI image is booted", remedy)
}

pub(super) fn firmware(wanted: &Wanted) -> Requirement {
    let found = match &wanted.firmware {
        None => Err("none is configured".to_owned()),
        Some(path) => head(path).map(|_| path.display().to_string()),
    };
    let remedy = "download CLOUDHV.fd or hypervisor-fw, and set server.runtime.cloud_hypervisor.firmware_path";
    Requirement::new("firmware", found, Weight::Some, "disk images are booted with the kernel only", remedy)
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

pub(super) fn capabilities() -> Requirement {
    let found = match rustix::thread::capabilities(None) {
        Ok(sets) => {
            let lacks: Vec<_> = NEEDED.iter().filter(|(_, one)| !sets.effective.contains(*one)).map(|(name, _)| *name).collect();
            if lacks.is_empty() {
                Ok("CAP_NET_ADMIN, CAP_SYS_ADMIN".to_owned())
            } else {
                Err(format!("the agent lacks {}", lacks.join(", ")))
            }
        }
        Err(error) => Err(error.to_string()),
    };
    let without = "no micro-VM has a network or volumes";
    Requirement::new("capabilities", found, Weight::Everything, without, "run the agent as root")
}
