//! The parts of a deployment.

use std::collections::BTreeMap;

use ring_types::{
    CheckKind, EnvValue, HealthCheck, ImageConfig, Permission, Port, ResourceAmounts, Resources, Rule, Span, UserConfig, Volume,
    VolumeKind,
};

use super::fields;
use super::reader::{At, Fields, Reader};
use super::tree::{Node, Value};

/// Highest port.
const PORT: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// A field that has to be there.
pub(super) fn required<'a>(reader: &mut Reader, fields: &Fields<'a>, name: &str) -> Option<(&'a Node, At)> {
    let found = fields.get(name);
    if found.is_none() {
        reader.fail(&fields.at.field(name), fields.line, Rule::Required, format_args!("{name} is required"));
    }
    found
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<T> {
    let (node, at) = fields.get(name)?;
    reader.parse(node, &at)
}

fn text(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<String> {
    let (node, at) = fields.get(name)?;
    reader.text(node, &at)
}

fn boolean(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> bool {
    fields.get(name).and_then(|(node, at)| reader.boolean(node, &at)).unwrap_or(false)
}

/// Values by name; numbers and booleans become texts.
pub(super) fn environment(reader: &mut Reader, node: &Node, at: &At) -> BTreeMap<String, EnvValue> {
    let Some(entries) = reader.map(node, at) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for entry in entries {
        let at = at.key(&entry.key);
        let value = if let Value::Map(_) = entry.value.value {
            secret_ref(reader, &entry.value, &at)
        } else {
            reader.scalar(&entry.value, &at).map(EnvValue::Plain)
        };
        found.extend(value.map(|value| (entry.key.clone(), value)));
    }
    found
}

fn secret_ref(reader: &mut Reader, node: &Node, at: &At) -> Option<EnvValue> {
    let fields = reader.fields(node, at, &fields::SECRET_REF)?;
    let (node, at) = required(reader, &fields, "secretRef")?;
    reader.text(node, &at).map(EnvValue::Secret)
}

/// A map, or a list of one-key maps.
pub(super) fn labels(reader: &mut Reader, node: &Node, at: &At) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    match &node.value {
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                take_labels(reader, item, &at.index(i), &mut found);
            }
        }
        _ => take_labels(reader, node, at, &mut found),
    }
    found
}

fn take_labels(reader: &mut Reader, node: &Node, at: &At, found: &mut BTreeMap<String, String>) {
    for entry in reader.map(node, at).unwrap_or_default() {
        let at = at.key(&entry.key);
        let Some(value) = reader.scalar(&entry.value, &at) else { continue };
        if entry.key.is_empty() {
            reader.fail(&at, entry.line, Rule::Empty, "a label needs a name");
        } else if found.insert(entry.key.clone(), value).is_some() {
            reader.fail(&at, entry.line, Rule::Duplicate, format_args!("the label '{}' is there twice", entry.key));
        }
    }
}

/// A published port.
pub(super) fn port(reader: &mut Reader, node: &Node, at: &At) -> Option<Port> {
    let fields = reader.fields(node, at, &fields::PORT)?;
    let published = required(reader, &fields, "published").and_then(|(node, at)| reader.integer(node, &at, PORT));
    let target = required(reader, &fields, "target").and_then(|(node, at)| reader.integer(node, &at, PORT));
    let host_ip = text(reader, &fields, "host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
    let protocol = parse(reader, &fields, "protocol").unwrap_or_default();
    Some(Port { published: published?, target: target?, host_ip, protocol })
}

/// A mount.
pub(super) fn volume(reader: &mut Reader, node: &Node, at: &At, warnings: &mut Vec<String>) -> Option<Volume> {
    let fields = reader.fields(node, at, &fields::MOUNT)?;
    let kind = required(reader, &fields, "type").and_then(|(node, at)| reader.parse(node, &at));
    let source = text(reader, &fields, "source").unwrap_or_default();
    let destination = required(reader, &fields, "destination").and_then(|(node, at)| reader.text(node, &at));
    let key = text(reader, &fields, "key");
    let driver = parse(reader, &fields, "driver").unwrap_or_default();
    let written: Option<Permission> = parse(reader, &fields, "permission");
    let kind: VolumeKind = kind?;
    let read_only = matches!(kind, VolumeKind::Config | VolumeKind::Secret);
    if read_only && written == Some(Permission::ReadWrite) {
        warnings.push(format!("{}: a {kind} is always mounted read-only; permission: rw is not used", at.path));
    }
    if key.is_some() && kind != VolumeKind::Config {
        warnings.push(format!("{}: only a config has keys; key is not used", at.path));
    }
    let permission = if read_only { Permission::ReadOnly } else { written.unwrap_or_default() };
    Some(Volume { kind, source, destination: destination?, key, driver, permission })
}

/// Requests and limits.
pub(super) fn resources(reader: &mut Reader, node: &Node, at: &At) -> Option<Resources> {
    let fields = reader.fields(node, at, &fields::RESOURCES)?;
    let mut amounts = |name: &str| {
        let Some((node, at)) = fields.get(name) else { return ResourceAmounts::default() };
        let Some(fields) = reader.fields(node, &at, &fields::AMOUNTS) else { return ResourceAmounts::default() };
        ResourceAmounts { cpu: parse(reader, &fields, "cpu"), memory: parse(reader, &fields, "memory") }
    };
    Some(Resources { limits: amounts("limits"), requests: amounts("requests") })
}

/// A health check.
pub(super) fn health_check(reader: &mut Reader, node: &Node, at: &At) -> Option<HealthCheck> {
    let fields = reader.fields(node, at, &fields::HEALTH_CHECK)?;
    let kind = required(reader, &fields, "type").and_then(|(node, at)| check_kind(reader, &fields, node, &at));
    let check = HealthCheck {
        kind: CheckKind::Tcp { port: 1 },
        interval: parse(reader, &fields, "interval").unwrap_or(Span::seconds(10)),
        timeout: parse(reader, &fields, "timeout").unwrap_or(Span::seconds(5)),
        threshold: fields.get("threshold").map_or(Some(3), |(node, at)| reader.integer(node, &at, U32)).unwrap_or(3),
        on_failure: parse(reader, &fields, "on_failure").unwrap_or_default(),
        readiness: boolean(reader, &fields, "readiness"),
        min_healthy_time: parse(reader, &fields, "min_healthy_time").unwrap_or(Span::seconds(10)),
        start_period: parse(reader, &fields, "start_period").unwrap_or(Span::ZERO),
    };
    Some(HealthCheck { kind: kind?, ..check })
}

fn check_kind(reader: &mut Reader, fields: &Fields<'_>, node: &Node, at: &At) -> Option<CheckKind> {
    let word = reader.text(node, at)?;
    let own = match word.as_str() {
        "tcp" => "port",
        "http" => "url",
        "command" => "command",
        other => {
            reader.fail(at, node.line, Rule::Invalid, format_args!("'{other}' is not one of tcp, http, command"));
            return None;
        }
    };
    for foreign in ["port", "url", "command"].into_iter().filter(|name| *name != own) {
        if let Some((node, at)) = fields.get(foreign) {
            reader.fail(&at, node.line, Rule::NotOfType, format_args!("a check of type {word} has no {foreign}"));
        }
    }
    let (node, at) = required(reader, fields, own)?;
    match own {
        "port" => reader.integer(node, &at, PORT).map(|port| CheckKind::Tcp { port }),
        "url" => reader.text(node, &at).map(|url| CheckKind::Http { url }),
        _ => reader.text(node, &at).map(|command| CheckKind::Command { command }),
    }
}

/// How the image is had; the password comes apart, since it is kept as a secret.
pub(super) fn image_config(reader: &mut Reader, node: &Node, at: &At) -> (ImageConfig, Option<String>) {
    let Some(fields) = reader.fields(node, at, &fields::IMAGE_CONFIG) else { return (ImageConfig::default(), None) };
    let config = ImageConfig {
        image_pull_policy: parse(reader, &fields, "image_pull_policy").unwrap_or_default(),
        server: text(reader, &fields, "server"),
        username: text(reader, &fields, "username"),
        use_host_auth: boolean(reader, &fields, "use_host_auth"),
        image_pull_secret: text(reader, &fields, "image_pull_secret"),
        user: fields.get("user").and_then(|(node, at)| user(reader, node, &at)).unwrap_or_default(),
    };
    let password = text(reader, &fields, "password");
    if config.username.is_some() != password.is_some() {
        let missing = if password.is_some() { "username" } else { "password" };
        let message = format!("username and password belong together: {missing} is missing");
        reader.fail(&fields.at.field(missing), fields.line, Rule::Required, message);
    }
    (config, password)
}

fn user(reader: &mut Reader, node: &Node, at: &At) -> Option<UserConfig> {
    let fields = reader.fields(node, at, &fields::USER)?;
    let mut number = |name: &str| fields.get(name).and_then(|(node, at)| reader.integer(node, &at, U32));
    let (id, group) = (number("id"), number("group"));
    Some(UserConfig { id, group, privileged: boolean(reader, &fields, "privileged") })
}
