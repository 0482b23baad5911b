//! argon2 in memory of its own, which goes back to the system when the hash is made.

use argon2::password_hash::{Decimal, Ident, Output, ParamsString, PasswordHash, PasswordHasher, Result, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// A hash works in so many bytes at least, of which it touches only what it needs. glibc's allocator keeps the largest block up
/// to 32 MiB it was ever given back (`DEFAULT_MMAP_THRESHOLD_MAX`), so that after a second login the process would hold argon2's
/// 19 MiB for ever; a larger one it maps and unmaps each time.
const ROOM: usize = 33 << 20;
/// Longest salt, bytes.
const SALT: usize = 64;

/// Makes argon2 hashes, and by [`argon2::password_hash::PasswordVerifier`] checks them.
#[derive(Debug, Default)]
pub(super) struct Hasher;

impl PasswordHasher for Hasher {
    type Params = Params;

    fn hash_password_customized<'a>(
        &self,
        password: &[u8],
        algorithm: Option<Ident<'a>>,
        version: Option<Decimal>,
        params: Params,
        salt: impl Into<Salt<'a>>,
    ) -> Result<PasswordHash<'a>> {
        let algorithm = algorithm.map(Algorithm::try_from).transpose()?.unwrap_or_default();
        let version = version.map(Version::try_from).transpose()?.unwrap_or_default();
        let (salt, mut decoded) = (salt.into(), [0; SALT]);
        let decoded = salt.decode_b64(&mut decoded)?;
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let hash = Output::init_with(params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN), |out| {
            Ok(argon2.hash_password_into_with_memory(password, decoded, out, blocks(params.block_count()))?)
        })?;
        let (version, params) = (Some(version.into()), ParamsString::try_from(&params)?);
        Ok(PasswordHash { algorithm: algorithm.ident(), version, params, salt: Some(salt), hash: Some(hash) })
    }
}

fn blocks(count: usize) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(count.max(ROOM / Block::SIZE));
    blocks.resize(count, Block::new());
    blocks
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordVerifier;

    use super::*;

    const SALTED: &str = "c29tZXNhbHR2YWx1ZTEyMw";

    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    #[test]
    fn it_is_argon2() {
        let salt = Salt::from_b64(SALTED).unwrap();
        let ours = Hasher.hash_password(b"secret", salt).unwrap();
        assert_eq!(ours, Argon2::default().hash_password(b"secret", salt).unwrap());
        assert_eq!(Argon2::default().verify_password(b"secret", &ours), Ok(()));
        assert_eq!(Hasher.verify_password(b"secret", &ours), Ok(()));
        assert!(Hasher.verify_password(b"Secret", &ours).is_err());
    }

    const ALONE: &str = "RING_TEST_HASHER_ALONE";

    /// In a process of its own, since other tests hash at the same time.
    #[test]
    fn its_memory_goes_back() {
        if std::env::var_os(ALONE).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args([&format!("{}::its_memory_goes_back", module_path!().split_once("::").unwrap().1), "--exact"]);
            let output = child.env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let (argon, salt) = (Params::DEFAULT_M_COST as usize * Block::SIZE, Salt::from_b64(SALTED).unwrap());
        let before = resident();
        for _ in 0..4 {
            let hash = Hasher.hash_password(b"secret", salt).unwrap();
            assert!(hash.hash.is_some());
        }
        let kept = resident().saturating_sub(before);
        assert!(kept < argon / 2, "{kept} bytes are kept");
    }
}
