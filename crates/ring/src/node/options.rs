//! Environment and configuration, as the parts of a node want them.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use ring_cli::config::{TlsMode, WebhooksSection, read_secret_key};
use ring_cli::{NodeSettings, password_file};
use ring_server::node::{ApiSettings, ApiTlsMode, CallerLimits, DoorLimits, Settings, WebhookOptions};
use ring_server::pki::SecretKey;
use ring_types::Span;
use zeroize::Zeroizing;

/// A variable that is set to something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The first password of `admin`, when one is given: in a file, or by itself.
pub(super) fn admin_password(file: Option<&Path>) -> anyhow::Result<Option<Zeroizing<String>>> {
    let file = file.map(Path::to_owned).or_else(|| variable("RING_ADMIN_PASSWORD_FILE").map(PathBuf::from));
    match (file, variable("RING_ADMIN_PASSWORD")) {
        (Some(_), Some(_)) => {
            bail!("the password of 'admin' is given twice: unset RING_ADMIN_PASSWORD, or leave out the password file")
        }
        (Some(path), None) => Ok(Some(Zeroizing::new(password_file(&path).context("the password of 'admin'")?))),
        (None, given) => Ok(given.map(Zeroizing::new)),
    }
}

/// How the parts of a control node are set.
pub(super) fn settings(settings: &NodeSettings) -> anyhow::Result<Settings> {
    let mut found = Settings::default();
    if let Some(text) = variable("RING_SECRET_KEY") {
        found.secret_key = Some(SecretKey::from_base64(&text).context("RING_SECRET_KEY")?);
    }
    found.api = api(settings)?;
    if let Some(interval) = settings.config.server.scheduler.interval {
        found.controllers.sweep_every = interval.duration();
    }
    found.controllers.remove_dead_after = remove_dead_after(settings.config.server.members.remove_dead_after)?;
    found.controllers.hold_level = settings.config.server.upgrade.hold;
    webhooks(&mut found.webhooks, &settings.config.server.webhooks)?;
    if let Some(grace) = variable("RING_NODE_GRACE") {
        found.controllers.leases.lost_after = grace.parse::<Span>().context("RING_NODE_GRACE")?;
    }
    if let Some(pause) = variable("RING_AUTOSCALE_PAUSE") {
        let pause = pause.parse::<Span>().context("RING_AUTOSCALE_PAUSE")?;
        (found.controllers.autoscale.up_after, found.controllers.autoscale.down_after) = (pause, pause);
    }
    if let Some(deadline) = variable("RING_ROLLOUT_DEADLINE") {
        found.rollout_deadline = span_or_seconds(&deadline).context("RING_ROLLOUT_DEADLINE")?;
    }
    if let Some(life) = variable("RING_CERTIFICATE_LIFETIME") {
        found.certificate_lifetime = life.parse::<Span>().context("RING_CERTIFICATE_LIFETIME")?.duration();
    }
    if let Some(entries) = variable("RING_SNAPSHOT_EVERY") {
        let every = entries.parse::<NonZeroU64>().context("RING_SNAPSHOT_EVERY: a number of entries, at least 1")?.get();
        found.compaction.keep = found.compaction.keep.min(every);
        found.compaction.every = every;
    }
    Ok(found)
}

/// Shorter than this, an upgrade or a restart would cost a member.
const DEAD_AT_LEAST: Duration = Duration::from_secs(10);

fn remove_dead_after(given: Option<Span>) -> anyhow::Result<Option<Duration>> {
    match given.map(Span::duration) {
        Some(after) if after < DEAD_AT_LEAST => {
            bail!("server.members.remove_dead_after: at least 10s is wanted; leave it out to remove nobody")
        }
        after => Ok(after),
    }
}

/// How webhooks are reached. A file of authorities that cannot be used ends the start: without it deliveries would fail later.
fn webhooks(found: &mut WebhookOptions, section: &WebhooksSection) -> anyhow::Result<()> {
    found.allow_local = section.allow_local;
    if let Some(path) = &section.ca_file {
        let in_file = || format!("server.webhooks.ca_file: {}", path.display());
        let pem = std::fs::read(path).with_context(in_file)?;
        found.trust(&pem).with_context(in_file)?;
    }
    Ok(())
}

/// How the REST API is to be spoken to, and by how many.
fn api(settings: &NodeSettings) -> anyhow::Result<ApiSettings> {
    let (tls, limits) = (&settings.config.server.tls, &settings.config.server.limits);
    let mode = match (&tls.certificate, &tls.key, tls.mode) {
        (Some(_), Some(_), TlsMode::Plain) => {
            bail!("server.tls: mode = \"plain\" has no use for a certificate: take one of them away")
        }
        (Some(certificate), Some(key), _) => ApiTlsMode::Own { certificate: certificate.clone(), key: key.clone() },
        (Some(_), None, _) => bail!("server.tls: there is a certificate and no key"),
        (None, Some(_), _) => bail!("server.tls: there is a key and no certificate"),
        (None, None, TlsMode::Auto) => ApiTlsMode::Auto,
        (None, None, TlsMode::Cluster) => ApiTlsMode::Cluster,
        (None, None, TlsMode::Plain) => ApiTlsMode::Plain,
    };
    let (door, callers) = (DoorLimits::default(), CallerLimits::default());
    Ok(ApiSettings {
        tls: mode,
        names: tls.names.clone(),
        door: DoorLimits {
            connections: limits.connections.unwrap_or(door.connections),
            connections_per_address: limits.connections_per_address.unwrap_or(door.connections_per_address),
            handshakes_per_second: limits.handshakes_per_second.unwrap_or(door.handshakes_per_second),
            ..door
        },
        callers: CallerLimits {
            requests_per_second: limits.requests_per_second.unwrap_or(callers.requests_per_second),
            anonymous_per_second: limits.anonymous_requests_per_second.unwrap_or(callers.anonymous_per_second),
            streams_per_token: limits.streams_per_token.unwrap_or(callers.streams_per_token),
            ..callers
        },
    })
}

/// As the configuration has it, or plain HTTP where the command line says so.
pub(super) fn with_plain(mut settings: Settings, plain: bool) -> anyhow::Result<Settings> {
    if plain {
        if matches!(settings.api.tls, ApiTlsMode::Own { .. }) {
            bail!("--plain-http has no use for the certificate of [server.tls]: take one of them away");
        }
        settings.api.tls = ApiTlsMode::Plain;
    }
    Ok(settings)
}

/// A duration, or a number of seconds.
fn span_or_seconds(text: &str) -> anyhow::Result<Span> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Span(seconds.saturating_mul(1000))),
        Err(_) => Ok(text.parse::<Span>()?),
    }
}

/// The key `ring init` made, for a cluster that has none yet.
pub(super) fn prepared_key(settings: &NodeSettings) -> anyhow::Result<Option<SecretKey>> {
    let bytes = read_secret_key(&settings.paths.secret_key())?;
    Ok(bytes.map(|bytes| SecretKey::from_bytes(&bytes)).transpose()?)
}
