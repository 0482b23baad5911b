//! The reference of `config.toml`.

/// A key of the configuration file.
struct Key {
    name: &'static str,
    /// How it is written.
    kind: &'static str,
    default: &'static str,
    what: &'static str,
    /// A value of it, in TOML, for the test that it is read.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the test reads it"))]
    example: &'static str,
}

const fn key(name: &'static str, kind: &'static str, default: &'static str, what: &'static str, example: &'static str) -> Key {
    Key { name, kind, default, what, example }
}

const KEYS: &[Key] = &[
    key("contexts.NAME.current", "boolean", "false", "this context is the one in use", "true"),
    key("contexts.NAME.host", "string", "127.0.0.1", "control nodes, comma separated; `RING_HOST` wins", "\"10.0.0.1,10.0.0.2\""),
    key(
        "contexts.NAME.api.scheme",
        "`auto`, `http` or `https`",
        "auto",
        "where `host` names none; `auto`: `http` on loopback, `https` elsewhere",
        "\"https\"",
    ),
    key("contexts.NAME.api.port", "integer", "3030", "port where `host` names none", "4040"),
    key(
        "contexts.NAME.api.ca_fingerprint",
        "string",
        "",
        "SHA-256 of the certificate of the authority to trust, several with commas; `ring login` writes it, `RING_CA_FINGERPRINT` wins",
        "\"ab12\"",
    ),
    key(
        "contexts.NAME.api.ca_file",
        "path",
        "",
        "certificates of the authorities to trust, PEM; `RING_CA_FILE` wins",
        "\"/x.pem\"",
    ),
    key(
        "server.scheduler.interval",
        "duration, or seconds",
        "chosen by the server",
        "how often everything is looked at, even when nothing happened",
        "\"10s\"",
    ),
    key(
        "server.members.remove_dead_after",
        "duration, or seconds; 10 s or more",
        "never",
        "a control node that does not answer the leader for so long is taken out of the cluster, when those that are left can go on; set it on each control node",
        "\"24h\"",
    ),
    key(
        "server.agent.drain_on_stop",
        "duration, or seconds",
        "never",
        "when the agent of this host is told to stop, the host is emptied first; what is left after so long is told to end",
        "\"10m\"",
    ),
    key(
        "server.upgrade.hold",
        "boolean",
        "`false`",
        "the cluster stays at its level while this control node leads, so that the release before can be gone back to; set it on each control node",
        "true",
    ),
    key("server.runtime.docker.enabled", "boolean", "where it is found", "use Docker", "true"),
    key(
        "server.runtime.docker.host",
        "string",
        "unix:///var/run/docker.sock",
        "address of the Docker daemon",
        "\"unix:///x.sock\"",
    ),
    key("server.runtime.podman.enabled", "boolean", "where it is found", "use Podman", "true"),
    key("server.runtime.podman.host", "string", "Podman's own", "address of the Podman service", "\"unix:///x.sock\""),
    key("server.runtime.cloud_hypervisor.enabled", "boolean", "where it is found", "use Cloud Hypervisor", "true"),
    key("server.runtime.cloud_hypervisor.binary_path", "path", "from `PATH`", "the program", "\"/x\""),
    key("server.runtime.cloud_hypervisor.firmware_path", "path", "", "firmware that boots disk images", "\"/x\""),
    key(
        "server.runtime.cloud_hypervisor.kernel_path",
        "path",
        "",
        "kernel that is booted directly: for OCI images, and for disk images without firmware",
        "\"/x\"",
    ),
    key(
        "server.runtime.cloud_hypervisor.kernel_cmdline",
        "string",
        "",
        "more words for the command line of that kernel, at most 1,024 bytes",
        "\"mitigations=off\"",
    ),
    key(
        "server.runtime.cloud_hypervisor.kernel_modules",
        "list of paths",
        "",
        "modules of that kernel, in any order, loaded before an OCI image is started: for kernels that have not everything built in",
        "[\"/x.ko\"]",
    ),
    key(
        "server.runtime.cloud_hypervisor.virtiofsd_path",
        "path",
        "from PATH, then the usual places",
        "the program that shows volumes and bind mounts to guests",
        "\"/x\"",
    ),
    key("server.runtime.cloud_hypervisor.socket_dir", "path", "in the data directory", "where its sockets are made", "\"/x\""),
    key("server.runtime.cloud_hypervisor.seccomp", "`true`, `false` or `log`", "true", "filter of its system calls", "\"log\""),
    key(
        "server.runtime.cloud_hypervisor.network.enabled",
        "boolean",
        "true",
        "guests have a network; without one they publish no ports and reach nobody",
        "false",
    ),
    key(
        "server.runtime.cloud_hypervisor.network.address_range",
        "private IPv4 network, from /8 to /30",
        "the first of a few that the host has no other use for",
        "where guests get their addresses from, four addresses each; it stays as it was while there are instances",
        "\"10.99.0.0/16\"",
    ),
    key(
        "server.runtime.cloud_hypervisor.network.dns",
        "list of IPv4 addresses, at most 3",
        "those of the host that a guest can reach",
        "name servers that guests are told of",
        "[\"192.0.2.53\"]",
    ),
    key(
        "server.runtime.cloud_hypervisor.images.engine",
        "address, or `none`",
        "server.runtime.docker.host",
        "Docker engine whose images are used before a registry is asked; `none`: all images come from registries",
        "\"none\"",
    ),
    key(
        "server.runtime.cloud_hypervisor.images.plain_http",
        "list of `host:port`",
        "",
        "registries that are spoken to without TLS, beside those on loopback",
        "[\"registry.lan:5000\"]",
    ),
    key(
        "server.runtime.cloud_hypervisor.images.max_size",
        "bytes, or with `Mi`, `Gi` …",
        "32Gi",
        "most that the files of one image may have together",
        "\"8Gi\"",
    ),
    key(
        "server.webhooks.allow_local",
        "boolean",
        "false",
        "webhooks may reach loopback addresses of the control node; set it on each control node",
        "true",
    ),
    key(
        "server.webhooks.ca_file",
        "path",
        "",
        "certificates of authorities, PEM, that webhooks over https trust beside those of the host; set it on each control node",
        "\"/x.pem\"",
    ),
    key(
        "server.tls.mode",
        "`auto`, `cluster` or `plain`",
        "auto",
        "how the REST API speaks: `auto` TLS beyond loopback and plain HTTP on it, `cluster` TLS on loopback too, `plain` plain HTTP everywhere (as `--plain-http`)",
        "\"cluster\"",
    ),
    key(
        "server.tls.certificate",
        "path",
        "one of the cluster's authority",
        "certificate of the REST API, PEM, with the chain to its authority; read again when it changes",
        "\"/x.pem\"",
    ),
    key("server.tls.key", "path", "", "key of that certificate, PEM", "\"/x.key\""),
    key(
        "server.tls.names",
        "list of strings",
        "",
        "names the REST API is reached by beside the host's own, for the certificate of the cluster's authority",
        "[\"ring.example.com\"]",
    ),
    key("server.limits.connections", "integer", "4096", "connections of the REST API at the same time", "9"),
    key("server.limits.connections_per_address", "integer", "2048", "those of one address (of a /64 in IPv6)", "9"),
    key("server.limits.handshakes_per_second", "integer", "200", "TLS connections begun in a second from one address", "9"),
    key("server.limits.requests_per_second", "integer", "2000", "requests of one token in a second; 0: no bound", "9"),
    key(
        "server.limits.anonymous_requests_per_second",
        "integer",
        "100",
        "requests without a known token in a second from one address; 0: no bound",
        "9",
    ),
    key(
        "server.limits.streams_per_token",
        "integer",
        "64",
        "followed logs and events and commands in instances of one token at the same time; 0: no bound",
        "9",
    ),
    key("server.dashboard.enabled", "boolean", "false", "serve the dashboard", "true"),
    key("server.dashboard.listen_address", "string", "", "where the dashboard is served", "\"127.0.0.1:3032\""),
    key("server.telemetry.traces.enabled", "boolean", "false", "send traces", "true"),
    key("server.telemetry.traces.endpoint", "string", "", "where traces go (OTLP)", "\"http://x\""),
    key("server.telemetry.metrics.enabled", "boolean", "false", "send metrics", "true"),
    key("server.telemetry.metrics.endpoint", "string", "", "where metrics go (OTLP)", "\"http://x\""),
    key("server.telemetry.logs.enabled", "boolean", "false", "send logs", "true"),
    key("server.telemetry.logs.endpoint", "string", "", "where logs go (OTLP)", "\"http://x\""),
];

/// The reference of the configuration file, in Markdown.
pub fn configuration_reference() -> String {
    let rows = KEYS.iter().map(|key| {
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        format!("| `{}` | {} | {default} | {} |", key.name, key.kind, key.what)
    });
    let table = rows.collect::<Vec<_>>().join("\n");
    format!(
        "# Configuration file\n\n\
         Made from the program itself (`RING_UPDATE_DOCS=1 cargo test -p ring-cli --test reference`); do not edit.\n\n\
         `config.toml` in the configuration directory, in TOML. `ring init` writes one. Every key may be left out; a key that\n\
         means nothing (older files carry `user.salt`) is named by `ring doctor` and otherwise left alone.\n\n\
         | key | value | default | what |\n|---|---|---|---|\n{table}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::config::ConfigFile;

    #[test]
    fn every_key_of_the_reference_is_read() {
        for key in KEYS {
            let text = format!("{} = {}", key.name, key.example);
            let file: ConfigFile = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let base: ConfigFile = toml::from_str(if key.name.starts_with("contexts") { "[contexts.NAME]" } else { "" }).unwrap();
            assert_ne!(file, base, "{text} changes nothing");
            assert!(file.unknown_keys().is_empty(), "{text} means nothing");
        }
    }

    #[test]
    fn every_key_that_is_read_is_in_the_reference() {
        let file: ConfigFile = toml::from_str("[contexts.NAME]").unwrap();
        let mut found = BTreeSet::new();
        collect("", &serde_json::to_value(file).unwrap(), &mut found);
        let known: BTreeSet<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(found, known);
    }

    fn collect(path: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    collect(&path, value, found);
                }
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }
}
