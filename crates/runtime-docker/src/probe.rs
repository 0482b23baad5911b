//! Is the engine there, and what can it not do?

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use ring_runtime::RuntimeError;

use crate::client::Client;

/// The engine's version, with what limits would not hold and what containers may not be.
pub(crate) async fn probe(client: &Client) -> Result<String, RuntimeError> {
    let docker = client.connect().await?;
    let version = docker.version().await.map_err(|error| client.unavailable(&error))?.version.unwrap_or_default();
    // An engine that answers the first question is usable, whatever it thinks of the second.
    let info = docker.info().await.unwrap_or_default();
    Ok(described(&version, &info))
}

/// One line: `20.10.24, cgroup v1; not possible here: cpu limits`.
fn described(version: &str, info: &SystemInfo) -> String {
    let groups = match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_1) => ", cgroup v1",
        Some(SystemInfoCgroupVersionEnum::_2) => ", cgroup v2",
        _ => "",
    };
    let rootless = info.security_options.iter().flatten().any(|option| option.contains("name=rootless"));
    let missing = [
        ("memory limits", info.memory_limit == Some(false)),
        ("memory limits without swap", info.swap_limit == Some(false) && info.memory_limit != Some(false)),
        ("cpu limits", info.cpu_cfs_quota == Some(false)),
        ("privileged containers with the host's devices (the engine runs without root)", rootless),
    ];
    let missing: Vec<_> = missing.into_iter().filter(|(_, missing)| *missing).map(|(what, _)| what).collect();
    let note = if missing.is_empty() { String::new() } else { format!("; not possible here: {}", missing.join(", ")) };
    format!("{version}{groups}{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let whole = SystemInfo {
            memory_limit: Some(true),
            swap_limit: Some(true),
            cpu_cfs_quota: Some(true),
            cgroup_version: Some(SystemInfoCgroupVersionEnum::_2),
            ..SystemInfo::default()
        };
        assert_eq!(described("27.0.1", &whole), "27.0.1, cgroup v2");
        let poor = SystemInfo {
            memory_limit: Some(false),
            swap_limit: Some(false),
            cpu_cfs_quota: Some(false),
            security_options: Some(vec!["name=rootless".to_owned()]),
            ..SystemInfo::default()
        };
        let told = described("20.10.24", &poor);
        assert!(told.starts_with("20.10.24; not possible here: memory limits, cpu limits, privileged"), "{told}");
    }
}
