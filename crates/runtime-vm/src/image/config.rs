//! What an image says of itself.

use serde::Deserialize;

use super::layer::digest_of;

/// The configuration of an image. Its digest names the image: it has the digests of all layers in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) digest: String,
    /// Digests of the layers, not compressed, the lowest first.
    pub(super) layers: Vec<String>,
    pub(super) run: Run,
}

/// How it is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Run {
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) env: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) working_dir: Option<String>,
    pub(super) stop_signal: Option<String>,
}

#[derive(Deserialize)]
struct Whole {
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Run>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl Config {
    /// Reads it, and refuses what cannot run here.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let whole: Whole = serde_json::from_slice(bytes).map_err(|error| format!("its configuration is none: {error}"))?;
        let os = whole.os.as_deref().filter(|os| !os.is_empty()).unwrap_or("linux");
        let architecture = whole.architecture.as_deref().filter(|name| !name.is_empty()).unwrap_or(own_architecture());
        if os != "linux" || architecture != own_architecture() {
            return Err(format!("it is made for {os}/{architecture}, and this host is linux/{}", own_architecture()));
        }
        Ok(Self {
            digest: digest_of(bytes),
            layers: whole.rootfs.diff_ids.unwrap_or_default(),
            run: whole.config.unwrap_or_default(),
        })
    }
}

/// Architecture of this host, as images write it.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_how_it_is_run() {
        let text = format!(
            r#"{{"architecture": "{}", "os": "linux", "config": {{"Entrypoint": ["/app"], "Cmd": null, "Env": ["A=1"],
                "User": "ann", "WorkingDir": "/srv", "StopSignal": "SIGQUIT"}}, "rootfs": {{"type": "layers", "diff_ids": ["sha256:1"]}}}}"#,
            own_architecture()
        );
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.layers, ["sha256:1"]);
        assert_eq!(config.run.entrypoint, Some(vec!["/app".to_owned()]));
        assert_eq!((config.run.cmd, config.run.env), (None, Some(vec!["A=1".to_owned()])));
        assert_eq!(config.run.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(config.digest.starts_with("sha256:") && config.digest.len() == 71);
    }

    #[test]
    fn what_cannot_run_here_is_refused() {
        let other = Config::parse(br#"{"architecture": "s390x", "os": "linux", "rootfs": {"diff_ids": []}}"#).unwrap_err();
        assert!(other.contains("linux/s390x"), "{other}");
        assert!(Config::parse(br#"{"os": "windows", "rootfs": {}}"#).is_err());
        assert!(Config::parse(b"[]").is_err());
        assert!(Config::parse(br#"{"rootfs": {}}"#).unwrap().layers.is_empty());
    }
}
