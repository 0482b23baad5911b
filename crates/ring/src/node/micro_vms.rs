//! Micro-VMs of this host: how they are run, and what the host lacks for them.

use std::path::Path;

use futures::future::BoxFuture;
use ring_cli::config::RuntimeSection;
use ring_cli::{Finding, HostChecks};
use ring_runtime_vm::requirements::{Requirement, Wanted, Weight, requirements};
use ring_runtime_vm::{SettingError, Settings, VmConfig};
use ring_server::node::AgentHost;

/// Everything of micro-VMs is below this directory of an agent.
const DIR: &str = "vm";

/// How micro-VMs are run by an agent with its data in `agent_dir`; None on a host that runs none.
pub(super) fn config(section: &RuntimeSection, agent_dir: &Path) -> Result<Option<VmConfig>, SettingError> {
    let settings = settings(section);
    let config = settings.config(&agent_dir.join(DIR))?;
    Ok(settings.wanted(&config).then_some(config))
}

fn settings(section: &RuntimeSection) -> Settings {
    let (vm, docker) = (section.cloud_hypervisor.clone(), &section.docker);
    Settings {
        enabled: vm.enabled,
        binary_path: vm.binary_path,
        firmware_path: vm.firmware_path,
        kernel_path: vm.kernel_path,
        kernel_cmdline: vm.kernel_cmdline,
        kernel_modules: vm.kernel_modules,
        virtiofsd_path: vm.virtiofsd_path,
        socket_dir: vm.socket_dir,
        seccomp: vm.seccomp,
        network: vm.network.enabled,
        address_range: vm.network.address_range,
        dns: vm.network.dns,
        engine: vm.images.engine,
        docker_host: docker.host.clone(),
        plain_http: vm.images.plain_http,
        max_size: vm.images.max_size,
    }
}

/// The drivers of this program, for `ring doctor`.
#[derive(Debug)]
pub(crate) struct Drivers;

impl HostChecks for Drivers {
    fn micro_vms<'a>(&'a self, section: &'a RuntimeSection, data_dir: &'a Path) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            match settings(section).config(&data_dir.join(AgentHost::DIR).join(DIR)) {
                Ok(config) => requirements(&Wanted::from(&config)).await.into_iter().map(finding).collect(),
                Err(error) => vec![Finding { name: "configuration".to_owned(), found: Err(error.to_string()), needed: true }],
            }
        })
    }
}

fn finding(requirement: Requirement) -> Finding {
    let needed = requirement.weight == Weight::Everything || requirement.configured;
    let found = requirement.lack().map_or_else(|| requirement.found.clone(), Err);
    Finding { name: requirement.name.to_owned(), found, needed }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn section(text: &str) -> RuntimeSection {
        toml::from_str(text).expect("a section")
    }

    #[test]
    fn every_key_of_the_section_arrives() {
        let text = r#"
            docker.host = "unix:///run/d.sock"
            [cloud_hypervisor]
            enabled = true
            binary_path = "/b"
            firmware_path = "/f"
            kernel_path = "/k"
            kernel_cmdline = "nosmt"
            kernel_modules = ["/m.ko"]
            virtiofsd_path = "/v"
            socket_dir = "/s"
            seccomp = "log"
            network = { enabled = true, address_range = "10.99.0.0/16", dns = ["192.0.2.1"] }
            images = { engine = "none", plain_http = ["r:1"], max_size = "2Gi" }
        "#;
        let path = |path: &str| Some(PathBuf::from(path));
        let word = |word: &str| Some(word.to_owned());
        let expected = Settings {
            enabled: Some(true),
            binary_path: path("/b"),
            firmware_path: path("/f"),
            kernel_path: path("/k"),
            kernel_cmdline: "nosmt".to_owned(),
            kernel_modules: vec!["/m.ko".into()],
            virtiofsd_path: path("/v"),
            socket_dir: path("/s"),
            seccomp: word("log"),
            network: Some(true),
            address_range: word("10.99.0.0/16"),
            dns: Some(vec!["192.0.2.1".to_owned()]),
            engine: word("none"),
            docker_host: word("unix:///run/d.sock"),
            plain_http: vec!["r:1".to_owned()],
            max_size: word("2Gi"),
        };
        assert_eq!(settings(&section(text)), expected);
    }

    #[test]
    fn a_value_that_means_nothing_ends_the_start_with_its_key() {
        let bad = section("cloud_hypervisor.network.dns = [\"::1\"]");
        let told = config(&bad, Path::new("/data")).unwrap_err().to_string();
        assert!(told.starts_with("server.runtime.cloud_hypervisor.network.dns: '::1'"), "{told}");
        assert!(config(&section("cloud_hypervisor.enabled = false"), Path::new("/data")).unwrap().is_none());
    }

    #[test]
    fn the_drivers_are_asked_by_what_node_inspect_asks() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let missing = section("cloud_hypervisor.kernel_path = \"/no/such/kernel\"");
        let findings = runtime.block_on(Drivers.micro_vms(&missing, dir.path()));
        let of = |name: &str| findings.iter().find(|one| one.name == name).expect("it was looked at");
        assert!(of("kernel").needed && of("kernel").found.as_ref().is_err_and(|lack| lack.contains("/no/such/kernel")));
        assert!(!of("firmware").needed, "it is not configured");
        for name in ["cloud-hypervisor", "/dev/kvm", "capabilities", "directories", "virtiofsd", "mke2fs"] {
            of(name);
        }
        let refused = runtime.block_on(Drivers.micro_vms(&section("cloud_hypervisor.seccomp = \"x\""), dir.path()));
        assert!(matches!(refused.as_slice(), [Finding { needed: true, found: Err(why), .. }] if why.contains("seccomp: 'x'")));
    }
}
