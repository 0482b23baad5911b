//! What people write in `[server.runtime.cloud_hypervisor]`, and what it means.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ring_types::Memory;

use crate::config::{SeccompError, VmConfig};
use crate::image::EngineAt;
use crate::net::parse_range;

/// Longest addition to the command line of a kernel, bytes. Linux cuts the whole at 2,048 on x86.
const CMDLINE: usize = 1024;

/// Name servers of a guest: resolvers look at no more.
const SERVERS: usize = 3;

/// The keys of the section, as they are written. What is left out has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `enabled`; when left out, micro-VMs are used where the program is.
    pub enabled: Option<bool>,
    /// `binary_path`
    pub binary_path: Option<PathBuf>,
    /// `firmware_path`
    pub firmware_path: Option<PathBuf>,
    /// `kernel_path`
    pub kernel_path: Option<PathBuf>,
    /// `kernel_cmdline`: more words for a kernel that is booted directly.
    pub kernel_cmdline: String,
    /// `kernel_modules`: files, in any order.
    pub kernel_modules: Vec<PathBuf>,
    /// `virtiofsd_path`
    pub virtiofsd_path: Option<PathBuf>,
    /// `socket_dir`
    pub socket_dir: Option<PathBuf>,
    /// `seccomp`: `true`, `false` or `log`.
    pub seccomp: Option<String>,
    /// `network.enabled`; when left out, guests have a network.
    pub network: Option<bool>,
    /// `network.address_range`
    pub address_range: Option<String>,
    /// `network.dns`; None: the host's.
    pub dns: Option<Vec<String>>,
    /// `images.engine`: an address, or `none`.
    pub engine: Option<String>,
    /// `server.runtime.docker.host`: the engine where `images.engine` is left out.
    pub docker_host: Option<String>,
    /// `images.plain_http`: registries, as `host:port`.
    pub plain_http: Vec<String>,
    /// `images.max_size`
    pub max_size: Option<String>,
}

/// A key whose value means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("server.runtime.cloud_hypervisor.{key}: {why}")]
pub struct SettingError {
    key: &'static str,
    why: String,
}

impl Settings {
    /// The configuration of a host whose micro-VMs are kept in `data_dir`.
    ///
    /// # Errors
    /// [`SettingError`] names the key, the value and what is wanted.
    pub fn config(&self, data_dir: &Path) -> Result<VmConfig, SettingError> {
        let mut config = VmConfig::new(data_dir);
        if let Some(binary) = &self.binary_path {
            config.binary.clone_from(binary);
        }
        if let Some(socket_dir) = &self.socket_dir {
            config.socket_dir = absolute("socket_dir", socket_dir)?;
        }
        let path = |key, path: Option<&Path>| path.map(|path| absolute(key, path)).transpose();
        config.kernel = path("kernel_path", self.kernel_path.as_deref())?;
        config.firmware = path("firmware_path", self.firmware_path.as_deref())?;
        config.cmdline = self.cmdline()?;
        config.modules = self.kernel_modules.iter().map(|path| absolute("kernel_modules", path)).collect::<Result<_, _>>()?;
        config.shares.program.clone_from(&self.virtiofsd_path);
        if let Some(seccomp) = &self.seccomp {
            config.seccomp = seccomp.parse().map_err(|error: SeccompError| wrong("seccomp", error.to_string()))?;
        }
        self.network(&mut config)?;
        self.images(&mut config)?;
        Ok(config)
    }

    /// Are micro-VMs run on a host of this configuration? When nothing is said, they are where the program is.
    pub fn wanted(&self, config: &VmConfig) -> bool {
        self.enabled.unwrap_or_else(|| self.binary_path.is_some() || config.has_program())
    }

    /// The command line is one line of printable characters, and our own words stand before it.
    fn cmdline(&self) -> Result<String, SettingError> {
        let words = self.kernel_cmdline.trim();
        let refuse = |why: String| Err(wrong("kernel_cmdline", why));
        if !words.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return refuse("it has more than printable ASCII in it".to_owned());
        }
        if words.len() > CMDLINE {
            return refuse(format!("it has {} bytes, and {CMDLINE} are possible", words.len()));
        }
        Ok(words.to_owned())
    }

    fn network(&self, config: &mut VmConfig) -> Result<(), SettingError> {
        let range = self.address_range.as_ref().map(|text| {
            let wanted = "is not a private IPv4 network from /8 to /30, such as 10.99.0.0/16";
            parse_range(text).ok_or_else(|| wrong("network.address_range", format!("'{text}' {wanted}")))
        });
        let (range, dns) = (range.transpose()?, self.servers()?);
        if let Some(network) = &mut config.network {
            (network.range, network.dns) = (range, dns);
        }
        if self.network == Some(false) {
            config.network = None;
        }
        Ok(())
    }

    fn servers(&self) -> Result<Option<Vec<Ipv4Addr>>, SettingError> {
        let Some(servers) = &self.dns else { return Ok(None) };
        if servers.len() > SERVERS {
            return Err(wrong("network.dns", format!("{} name servers, and {SERVERS} are possible", servers.len())));
        }
        let parsed = servers.iter().map(|text| match text.parse::<Ipv4Addr>() {
            Ok(server) if !server.is_loopback() && !server.is_unspecified() => Ok(server),
            _ => Err(wrong("network.dns", format!("'{text}' is not an IPv4 address that a guest can reach"))),
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    fn images(&self, config: &mut VmConfig) -> Result<(), SettingError> {
        config.images.engine = match self.engine.as_deref() {
            None | Some("") => match &self.docker_host {
                Some(address) if known(address) => EngineAt::Address(address.clone()),
                _ => EngineAt::Usual,
            },
            Some("none") => EngineAt::None,
            Some(address) if known(address) => EngineAt::Address(address.to_owned()),
            Some(other) => {
                let wanted = "is not 'none', unix:///path, /path, tcp://host:port or http://host:port";
                return Err(wrong("images.engine", format!("'{other}' {wanted}")));
            }
        };
        for registry in &self.plain_http {
            if registry.is_empty() || registry.contains(['/', ' ']) {
                return Err(wrong("images.plain_http", format!("'{registry}' is not a registry, such as registry.lan:5000")));
            }
        }
        config.images.plain.clone_from(&self.plain_http);
        if let Some(text) = &self.max_size {
            let size = text.parse::<Memory>().map_err(|error| wrong("images.max_size", format!("'{text}': {error}")))?;
            if size.0 == 0 {
                return Err(wrong("images.max_size", format!("'{text}' leaves room for no image")));
            }
            config.images.largest = size.0;
        }
        Ok(())
    }
}

fn known(address: &str) -> bool {
    ["/", "unix:///", "tcp://", "http://"].iter().any(|begin| address.starts_with(begin) && address.len() > begin.len())
}

/// Nobody says in which directory an agent is started.
fn absolute(key: &'static str, path: &Path) -> Result<PathBuf, SettingError> {
    if path.is_absolute() {
        Ok(path.to_owned())
    } else {
        Err(wrong(key, format!("'{}' is not an absolute path", path.display())))
    }
}

fn wrong(key: &'static str, why: String) -> SettingError {
    SettingError { key, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the keys are.
    const SECTION: &str = "server.runtime.cloud_hypervisor";

    fn of(settings: &Settings) -> VmConfig {
        settings.config(Path::new("/data")).expect("a configuration")
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let (config, plain) = (of(&Settings::default()), VmConfig::new("/data"));
        assert_eq!(format!("{config:?}"), format!("{plain:?}"));
    }

    #[test]
    fn every_key_arrives() {
        let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let config = of(&Settings {
            enabled: Some(true),
            binary_path: Some("ch".into()),
            firmware_path: Some("/f".into()),
            kernel_path: Some("/k".into()),
            kernel_cmdline: " nosmt mitigations=off ".to_owned(),
            kernel_modules: vec!["/m/a.ko".into(), "/m/b.ko".into()],
            virtiofsd_path: Some("/v".into()),
            socket_dir: Some("/s".into()),
            seccomp: Some("log".to_owned()),
            network: Some(true),
            address_range: Some("10.99.0.0/16".to_owned()),
            dns: Some(strings(&["192.0.2.1"])),
            engine: Some("unix:///x.sock".to_owned()),
            docker_host: Some("unix:///y.sock".to_owned()),
            plain_http: strings(&["registry.lan:5000"]),
            max_size: Some("2Gi".to_owned()),
        });
        assert_eq!((config.binary, config.firmware, config.kernel), ("ch".into(), Some("/f".into()), Some("/k".into())));
        assert_eq!(config.cmdline, "nosmt mitigations=off");
        assert_eq!(config.modules, [PathBuf::from("/m/a.ko"), "/m/b.ko".into()]);
        assert_eq!((config.shares.program, config.socket_dir), (Some("/v".into()), "/s".into()));
        assert_eq!(config.seccomp.to_string(), "log");
        let network = config.network.unwrap();
        assert_eq!((network.range, network.dns), (parse_range("10.99.0.0/16"), Some(vec![Ipv4Addr::new(192, 0, 2, 1)])));
        assert_eq!(config.images.engine, EngineAt::Address("unix:///x.sock".to_owned()));
        assert_eq!((config.images.plain, config.images.largest), (strings(&["registry.lan:5000"]), 2 << 30));
    }

    #[test]
    fn guests_may_have_no_network_and_images_no_engine() {
        let config = of(&Settings { network: Some(false), engine: Some("none".to_owned()), ..Settings::default() });
        assert!(config.network.is_none());
        assert_eq!(config.images.engine, EngineAt::None);
        let docker = of(&Settings { docker_host: Some("tcp://h:1".to_owned()), ..Settings::default() });
        assert_eq!(docker.images.engine, EngineAt::Address("tcp://h:1".to_owned()));
        // No name servers is something else than those of the host.
        assert_eq!(of(&Settings { dns: Some(Vec::new()), ..Settings::default() }).network.unwrap().dns, Some(Vec::new()));
    }

    #[test]
    fn a_value_that_means_nothing_is_told_with_its_key() {
        let text = |text: &str| Some(text.to_owned());
        let none = Settings::default;
        let cases = [
            (Settings { kernel_path: Some("vmlinux".into()), ..none() }, "kernel_path: 'vmlinux'"),
            (Settings { kernel_modules: vec!["a.ko".into()], ..none() }, "kernel_modules: 'a.ko'"),
            (Settings { kernel_cmdline: "a\nb".to_owned(), ..none() }, "kernel_cmdline: it has more"),
            (Settings { kernel_cmdline: "a".repeat(CMDLINE + 1), ..none() }, "kernel_cmdline: it has 1025"),
            (Settings { seccomp: text("yes"), ..none() }, "seccomp: 'yes'"),
            (Settings { address_range: text("8.8.8.0/24"), ..none() }, "network.address_range: '8.8.8.0/24'"),
            (Settings { address_range: text("10.0.0.0"), ..none() }, "network.address_range: '10.0.0.0'"),
            (Settings { dns: Some(vec!["127.0.0.53".to_owned()]), ..none() }, "network.dns: '127.0.0.53'"),
            (Settings { dns: Some(vec!["192.0.2.1".to_owned(); 4]), ..none() }, "network.dns: 4 name servers"),
            (Settings { engine: text("podman"), ..none() }, "images.engine: 'podman'"),
            (Settings { plain_http: vec!["http://x".to_owned()], ..none() }, "images.plain_http: 'http://x'"),
            (Settings { max_size: text("much"), ..none() }, "images.max_size: 'much'"),
            (Settings { max_size: text("0"), ..none() }, "images.max_size: '0'"),
        ];
        for (settings, wanted) in cases {
            let told = settings.config(Path::new("/data")).unwrap_err().to_string();
            assert!(told.starts_with(&format!("{SECTION}.{wanted}")), "{told}");
        }
    }

    #[test]
    fn a_host_runs_micro_vms_when_it_is_told_to_or_has_the_program() {
        let wanted = |settings: Settings| settings.wanted(&of(&settings));
        let nowhere = || Some(PathBuf::from("/no/such/program"));
        assert!(wanted(Settings { enabled: Some(true), ..Settings::default() }));
        assert!(wanted(Settings { binary_path: nowhere(), ..Settings::default() }));
        assert!(!wanted(Settings { enabled: Some(false), binary_path: nowhere(), ..Settings::default() }));
    }
}
