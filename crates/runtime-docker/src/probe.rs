//! Is the engine there, and what can it not do?

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use ring_runtime::RuntimeError;
use tokio::time::timeout;

use crate::client::Client;

/// Some engines think long about what they are; the answer is not worth more.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an engine of some version can and cannot do, as it was told.
#[derive(Default)]
pub(crate) struct Known(Mutex<Option<(String, String)>>);

impl Known {
    /// The engine's version, with what limits would not hold and what containers may not be. That is asked once for a version.
    pub(crate) async fn probe(&self, client: &Client) -> Result<String, RuntimeError> {
        let docker = client.connect().await?;
        let version = docker.version().await.map_err(|error| client.unavailable(&error))?.version.unwrap_or_default();
        if let Some(told) = self.of(&version) {
            return Ok(told);
        }
        // An engine that answers the first question is usable, whatever it thinks of the second.
        let Ok(Ok(info)) = timeout(PATIENCE, docker.info()).await else { return Ok(version) };
        let told = described(&version, &info);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, told.clone()));
        Ok(told)
    }

    fn of(&self, version: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(of, _)| of == version).map(|(_, told)| told.clone())
    }
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
