//! What every OCI instance boots beside the kernel: an initramfs with our init in it, and nothing else.
//!
//! It is a newc cpio archive, not compressed: the kernel unpacks it as it is, and no kernel lacks what that takes.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The init, one static program.
const INIT: &[u8] = include_bytes!(env!("RING_GUEST_INIT"));

/// Begin of the names of such files.
const NAME: &str = "init-";

/// Bits that say what an entry is.
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTERS: u32 = 0o020_000;

/// Size of the init that is carried, bytes.
pub fn init_size() -> usize {
    INIT.len()
}

/// Writes the initramfs into `dir`, unless it is there, and says where it is. The name has a hash of the content: an agent of
/// another release writes another, and whoever boots from the one that is there is not disturbed.
///
/// `modules` are files of kernel modules, loaded before anything else; for kernels that have virtio, vsock, ext4 or overlayfs as
/// modules. One that needs another one finds it in whatever order they are. Not compressed, or as the kernel itself unpacks them.
pub fn initramfs(dir: &Path, modules: &[PathBuf]) -> io::Result<PathBuf> {
    let archive = archive(modules)?;
    let hash = hex::encode(&Sha256::digest(&archive)[..16]);
    let path = dir.join(format!("{NAME}{hash}.cpio"));
    if fs::metadata(&path).is_ok_and(|found| found.len() == archive.len() as u64) {
        return Ok(path);
    }
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().prefix(".init").tempfile_in(dir)?;
    file.write_all(&archive)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    // Somebody else may have been quicker; it is the same.
    file.persist(&path)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(path)
}

fn archive(modules: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.add("dev", DIRECTORY | 0o755, (0, 0), b"")?;
    // Before the init has mounted anything, its library looks for these.
    archive.add("dev/console", CHARACTERS | 0o600, (5, 1), b"")?;
    archive.add("dev/null", CHARACTERS | 0o666, (1, 3), b"")?;
    archive.add("init", FILE | 0o755, (0, 0), INIT)?;
    if !modules.is_empty() {
        archive.add("modules", DIRECTORY | 0o755, (0, 0), b"")?;
    }
    for (number, path) in modules.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let told = |error: io::Error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("server.runtime.cloud_hypervisor.kernel_modules: {path}: {error}"))
        };
        let content = fs::read(path).map_err(told)?;
        archive.add(&format!("modules/{number:03}-{name}"), FILE | 0o644, (0, 0), &content)?;
    }
    archive.end()
}

/// An archive that grows. Nothing in it depends on the host or the time.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Head, name and content, each filled up to a multiple of four bytes.
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.entries += 1;
        let links = 1;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            u32::try_from(name.len() + 1).map_err(io::Error::other)?,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}")?;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.fill();
        self.bytes.extend_from_slice(content);
        self.fill();
        Ok(())
    }

    fn fill(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> io::Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, (0, 0), b"")?;
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_archive_is_one_that_others_read() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("virtio.ko");
        fs::write(&module, "no module").unwrap();
        let path = initramfs(&dir.path().join("data"), std::slice::from_ref(&module)).unwrap();
        if Command::new("busybox").stdout(Stdio::null()).status().is_err() {
            return;
        }
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let unpacked = Command::new("busybox")
            .args(["cpio", "-i", "-d", "init", "modules/000-virtio.ko"])
            .current_dir(&out)
            .stdin(fs::File::open(&path).unwrap())
            .output()
            .unwrap();
        assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        assert!(fs::read(out.join("init")).unwrap() == INIT, "the init is another after unpacking");
        assert_eq!(fs::read_to_string(out.join("modules/000-virtio.ko")).unwrap(), "no module");
        assert_eq!(fs::metadata(out.join("init")).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn it_is_written_once_under_a_name_of_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = initramfs(dir.path(), &[]).unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(initramfs(dir.path(), &[]).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written, "it was written again");
        // What a crash of the host left is replaced.
        fs::write(&path, "half").unwrap();
        assert_eq!(initramfs(dir.path(), &[]).unwrap(), path);
        assert!(fs::metadata(&path).unwrap().len() > INIT.len() as u64);
        let module = dir.path().join("m.ko");
        fs::write(&module, "m").unwrap();
        assert_ne!(initramfs(dir.path(), &[module]).unwrap(), path);
        let missing = initramfs(dir.path(), &[PathBuf::from("/no/such.ko")]).unwrap_err().to_string();
        assert!(missing.contains("/no/such.ko"), "{missing}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "something temporary was left");
    }

    #[test]
    fn the_init_is_static() {
        assert_eq!(&INIT[..4], b"\x7fELF");
        // The name of a loader would be in it.
        assert!(!INIT.windows(12).any(|window| window == b"/ld-linux-x8"), "it needs a loader");
        println!("the init has {} bytes", INIT.len());
    }
}
