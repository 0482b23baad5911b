//! Whether this machine can run a lab.

use std::path::Path;

/// Why a lab cannot run here, or `None` when it can.
pub fn unsupported(with_docker: bool) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root (network namespaces)".to_owned());
    }
    let mut programs = vec!["ip", "iptables", "nsenter", "mount", "curl"];
    if with_docker {
        programs.extend(["dockerd", "containerd", "runc", "docker", "busybox"]);
    }
    if let Some(missing) = programs.into_iter().find(|program| !in_path(program)) {
        return Some(format!("there is no `{missing}` here (scripts/setup --tests installs it)"));
    }
    let cgroups = Path::new("/sys/fs/cgroup");
    let mounted = cgroups.join("cgroup.procs").exists() || cgroups.join("memory").exists();
    (with_docker && !mounted).then(|| "no cgroups are mounted (scripts/setup --tests mounts them)".to_owned())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
