//! Where things are on this host.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// The directories and files of this user on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Configuration directory: `RING_CONFIG_DIR`, else `ring` under the user's configuration directory.
    pub config_dir: PathBuf,
    /// Configuration file: `--config`, else `RING_CONFIG_FILE`, else `config.toml` in the directory.
    pub config_file: PathBuf,
    /// Data directory: `--data-dir`, else `RING_DATA_DIR`, else `/var/lib/ring` as root, else the user's.
    pub data_dir: PathBuf,
}

impl Paths {
    /// Finds them from options and environment.
    pub(crate) fn resolve(config_file: Option<PathBuf>, data_dir: Option<PathBuf>) -> Result<Self, CliError> {
        let root = rustix::process::geteuid().is_root();
        Self::from_env(config_file, data_dir, root, |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from))
    }

    fn from_env(
        config_file: Option<PathBuf>,
        data_dir: Option<PathBuf>,
        root: bool,
        var: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, CliError> {
        let config_dir = match var("RING_CONFIG_DIR") {
            Some(dir) => dir,
            None => match under(&var, "XDG_CONFIG_HOME", ".config") {
                Some(dir) => dir,
                None if root => PathBuf::from("/etc/ring"),
                None => return Err(CliError::NoHome("RING_CONFIG_DIR")),
            },
        };
        let config_file = config_file.or_else(|| var("RING_CONFIG_FILE")).unwrap_or_else(|| config_dir.join("config.toml"));
        let data_dir = match data_dir.or_else(|| var("RING_DATA_DIR")) {
            Some(dir) => dir,
            None if root => PathBuf::from("/var/lib/ring"),
            None => under(&var, "XDG_DATA_HOME", ".local/share").ok_or(CliError::NoHome("RING_DATA_DIR"))?,
        };
        Ok(Self { config_dir, config_file, data_dir })
    }

    /// The file with the key that encrypts secrets.
    pub fn secret_key(&self) -> PathBuf {
        self.config_dir.join("secret-key")
    }

    /// The file with the tokens of `ring login`.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.config_dir.join("credentials.toml")
    }
}

fn under(var: impl Fn(&str) -> Option<PathBuf>, name: &str, home: &str) -> Option<PathBuf> {
    let base = var(name).filter(|path| path.is_absolute()).or_else(|| var("HOME").map(|path| path.join(home)))?;
    Some(Path::new(&base).join("ring"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: bool, vars: &[(&str, &str)]) -> Paths {
        let var = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v));
        Paths::from_env(None, None, root, var).unwrap()
    }

    #[test]
    fn directories_follow_environment_and_user() {
        let user = paths(false, &[("HOME", "/home/u")]);
        assert_eq!(user.config_file, Path::new("/home/u/.config/ring/config.toml"));
        assert_eq!(user.data_dir, Path::new("/home/u/.local/share/ring"));
        let root = paths(true, &[]);
        assert_eq!((root.config_dir.as_path(), root.data_dir.as_path()), (Path::new("/etc/ring"), Path::new("/var/lib/ring")));
        let set = paths(true, &[("RING_CONFIG_DIR", "/c"), ("RING_DATA_DIR", "/d"), ("RING_CONFIG_FILE", "/f")]);
        assert_eq!((set.config_file.as_path(), set.data_dir.as_path()), (Path::new("/f"), Path::new("/d")));
    }
}
