//! Every field a manifest can have: what the parser takes, and what the reference says. One list, so that neither forgets.

/// The fields of one kind of map.
#[derive(Debug)]
pub struct Section {
    /// What the map is, as the reference calls it.
    pub title: &'static str,
    /// A sentence or two about it.
    pub about: &'static str,
    /// Its fields, in the order of the reference.
    pub fields: &'static [Field],
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// As it is written.
    pub name: &'static str,
    /// What may be written.
    pub kind: &'static str,
    /// What holds when it is absent; empty: it is required.
    pub default: &'static str,
    /// What it means.
    pub about: &'static str,
}

impl Section {
    /// The names of its fields.
    pub fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

macro_rules! sections {
    ($($section:ident $title:literal $about:literal { $($name:literal, $kind:literal, $default:literal, $text:literal;)* })*) => {
        $(pub(super) static $section: Section = Section {
            title: $title,
            about: $about,
            fields: &[$(Field { name: $name, kind: $kind, default: $default, about: $text }),*],
        };)*

        /// Every section, in the order of the reference.
        pub static SECTIONS: &[&Section] = &[$(&$section),*];
    };
}

sections! {
    MANIFEST "Manifest"
    "The keys of the maps below are labels for the reader; identity is `(namespace, name)`. One single deployment without \
     `deployments:` around it is taken, too." {
        "namespaces", "map of [namespaces](#namespace)", "none", "Made before anything else; those that are there stay as they are.";
        "configs", "map of [configs](#config)", "none", "Made, or changed to what is written, before the deployments.";
        "deployments", "map of [deployments](#deployment)", "", "At most 1,000.";
    }
    NAMESPACE "Namespace"
    "May be empty: then its key is its name. A namespace that a deployment or config names is made in any case." {
        "name", "name", "the key", "1 to 100 letters, digits, `-`, `_`, `.`, beginning with a letter or digit.";
    }
    CONFIG "Config"
    "Keys and contents that deployments mount as files. It needs `data`, `files` or both; the same key in both is refused." {
        "namespace", "name", "", "";
        "name", "name", "", "";
        "data", "map, or a JSON object as text", "none", "Key to content. A content that is a map or list is written as JSON.";
        "files", "map of key to path", "none", "Read by the command line; paths are relative to the manifest. Taken as they are unless `interpolate: true`.";
        "interpolate", "boolean", "`data` yes, `files` no", "`true` replaces variables in `files` too; `false` leaves `data` alone.";
        "labels", "map, or list of one-key maps", "none", "";
    }
    DEPLOYMENT "Deployment" "A worker or a job." {
        "name", "name", "", "Unique in its namespace.";
        "namespace", "name", "", "Made when it is missing; that needs the permission `namespaces:write`.";
        "image", "text", "", "Image reference. Not required by the runtime `process`.";
        "runtime", "`docker`, `podman`, `cloud-hypervisor`, `process`", "`docker`", "What runs it. `process` is a supervised process of the host.";
        "kind", "`worker`, `job`", "`worker`", "A worker is kept running; a job runs once.";
        "replicas", "whole number", "1", "Wanted instances, at most 10,000. A job has one whatever is written.";
        "command", "list of texts, or a text", "the image's own", "A text is split as a shell would split it. Required by the runtime `process`.";
        "environment", "map of name to text or [secret reference](#secret-reference)", "none", "Names match `[A-Za-z_][A-Za-z0-9_]*`; numbers and booleans become texts.";
        "ports", "list of [ports](#port)", "none", "";
        "volumes", "list of [mounts](#mount)", "none", "";
        "labels", "map, or list of one-key maps", "none", "Put onto containers; `ring deployment list -l` filters by them.";
        "resources", "[resources](#resources)", "none", "";
        "health_checks", "list of [health checks](#health-check)", "none", "";
        "config", "[image and user](#image-and-user)", "none", "";
        "network", "[network](#network)", "`bridge`", "";
        "autoscale", "[autoscale](#autoscale)", "none", "Workers only.";
        "placement", "[placement](#placement)", "spread over nodes", "";
        "restart", "[restart](#restart)", "5 restarts, growing pauses", "Workers.";
        "timeout", "duration", "none", "Jobs: a longer run is killed, and the job failed.";
        "retries", "whole number", "0", "Jobs: attempts after the first.";
        "depends_on", "list of [dependencies](#dependency)", "none", "A circle of deployments that wait for each other is refused.";
        "on_node_loss", "`reschedule`, `wait`, `fail`", "workers `reschedule`, jobs `fail`", "What it means that its node stays out of contact.";
        "stop_grace", "duration", "`10s`", "From SIGTERM to SIGKILL.";
        "stop_on_disconnect", "duration", "none", "At least `10s`: an instance whose host is [cut off](../how-to/lost-hosts.md#never-two-of-it) for so long is stopped there.";
    }
    SECRET_REF "Secret reference" "The value of a secret of the same namespace, as the value of a variable." {
        "secretRef", "name", "", "A secret that is not there is `config_error` until it is.";
    }
    PORT "Port" "A port of the node that leads to one of the instance." {
        "published", "1 to 65535", "", "On the node.";
        "target", "1 to 65535", "", "In the instance.";
        "host_ip", "IP address", "`0.0.0.0`", "Address of the node it is bound to.";
        "protocol", "`tcp`, `udp`", "`tcp`", "";
    }
    MOUNT "Mount" "Something the instance sees at a path. No two mounts of a deployment have the same destination." {
        "type", "`bind`, `volume`, `config`, `secret`", "", "A path of the node; a volume; one key of a config; a secret.";
        "source", "text", "none", "Path, or name of the volume, config or secret. A `volume` without one is anonymous and goes with its instance. For driver `nfs` also `server:/path`.";
        "destination", "absolute path", "", "In the instance. For `config` and `secret` it is the file.";
        "key", "text", "none", "Required by `config`: which of its keys.";
        "driver", "`local`, `nfs`", "`local`", "Of a `volume`. A local one ties its instances to the node that holds the data; one on a file server does not.";
        "permission", "`rw`, `ro`", "`rw`", "`config` and `secret` are always read-only.";
    }
    RESOURCES "Resources" "Amounts of processors and memory. The planner sets the requests aside, and where there are none the limits." {
        "limits", "[amounts](#amounts)", "none", "Enforced by the runtime.";
        "requests", "[amounts](#amounts)", "the limits", "Set aside on the node.";
    }
    AMOUNTS "Amounts" "" {
        "cpu", "`500m`, `1`, `0.5`", "none", "Processors, or thousandths with `m`.";
        "memory", "bytes, or with `Ki`, `Mi`, `Gi`, `K`, `M`, `G`", "none", "";
    }
    HEALTH_CHECK "Health check" "Exactly the field of its type is allowed: `port`, `url` or `command`." {
        "type", "`tcp`, `http`, `command`", "", "";
        "port", "1 to 65535", "required by its type", "Of `tcp`: a connection succeeds.";
        "url", "URL", "required by its type", "Of `http`: 2xx is healthy, redirects are not followed, `localhost` means the instance.";
        "command", "text", "required by its type", "Of `command`: run in the instance, exit 0 is healthy.";
        "interval", "duration", "`10s`", "From one check to the next.";
        "timeout", "duration", "`5s`", "Longest wait for an answer.";
        "threshold", "whole number", "3", "Failures in a row that count.";
        "on_failure", "`restart`, `stop`, `alert`", "`restart`", "";
        "readiness", "boolean", "`false`", "Decides when an instance is ready. Not for jobs.";
        "min_healthy_time", "duration", "`10s`", "How long it has to be healthy to be ready.";
        "start_period", "duration", "`0s`", "Failures this early do not count.";
    }
    IMAGE_CONFIG "Image and user" "One source of registry credentials at most: `username` with `password`, `use_host_auth`, or `image_pull_secret`." {
        "image_pull_policy", "`Always`, `IfNotPresent`, `Never`", "`Always`", "When the image is fetched.";
        "server", "text", "the one of the image's name", "Registry the credentials are for.";
        "username", "text", "none", "Needs `password`.";
        "password", "text", "none", "Encrypted before it is kept; it never comes back. Take it from a variable: `password: $REGISTRY_PASSWORD`.";
        "use_host_auth", "boolean", "`false`", "Use what the node's own Docker client is logged in with.";
        "image_pull_secret", "name", "none", "A secret with `{\"username\": …, \"password\": …}` or a Docker `config.json`.";
        "user", "[user](#user)", "the image's own", "";
    }
    USER "User" "" {
        "id", "whole number", "the image's own", "User id.";
        "group", "whole number", "the image's own", "Group id.";
        "privileged", "boolean", "`false`", "All capabilities and devices of the node.";
    }
    NETWORK "Network" "" {
        "mode", "`bridge`, `host`", "`bridge`", "`host`: no `ports`, one replica.";
    }
    AUTOSCALE "Autoscale" "" {
        "min", "whole number", "", "At least 1.";
        "max", "whole number", "", "Not below `min`.";
        "target_cpu", "1 to 99", "", "Load aimed at, percent.";
    }
    PLACEMENT "Placement" "" {
        "nodes", "list of names", "any", "Only these nodes.";
        "constraints", "list of `label==value`, `label!=value`", "none", "All of them hold.";
        "spread", "`node`, or a label", "`node`", "Over what instances are spread.";
        "max_per_node", "whole number", "none", "At most so many on one node, both versions of a rolling update together.";
    }
    RESTART "Restart" "" {
        "max", "whole number", "5", "Restarts without a healthy window before it is given up.";
        "backoff", "duration", "`1s`", "First pause; doubles each time.";
        "max_backoff", "duration", "`1m`", "Longest pause.";
    }
    DEPENDENCY "Dependency" "" {
        "deployment", "name", "", "In the same namespace.";
        "condition", "`completed`, `running`", "`completed`", "";
    }
}
