//! Credentials of image registries: passwords of manifests, sealed before they are proposed, and what pull secrets hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring_proto::agent::v1::RegistryLogin;
use ring_state::{Deployment, RegistryPassword, State};
use ring_types::{DeploymentId, DeploymentSpec, Name};
use serde_json::Value;

use crate::pki::{SealError, SecretKey};
use crate::{keys, secrets};

/// Where an image is that names no registry, and what Docker's own client calls that place.
const HUB: &str = "docker.io";
const HUB_NAMES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// The identity a password is sealed for. Not the record's id: a new record of the same deployment gets a copy.
fn context(namespace: &Name, name: &Name) -> String {
    format!("ring/registry/{namespace}/{name}")
}

/// Seals the password of a manifest for its deployment.
pub(crate) fn seal(key: &SecretKey, state: &State, spec: &DeploymentSpec, password: &str) -> Result<RegistryPassword, SealError> {
    let (namespace, name) = (&spec.namespace, &spec.name);
    let (sealed_with, sealed) = keys::seal(key, state, &context(namespace, name), password.as_bytes())?;
    let parts: [&[u8]; 4] =
        [b"ring/registry-digest", namespace.as_str().as_bytes(), name.as_str().as_bytes(), password.as_bytes()];
    Ok(RegistryPassword { sealed, key: sealed_with, digest: key.derive(&parts) })
}

/// A password under the data key in use.
pub(crate) fn reseal(key: &SecretKey, state: &State, id: DeploymentId, digest: &[u8; 32]) -> Result<Vec<u8>, SealError> {
    let spec = &state.deployment(id).ok_or(SealError::Open)?.spec;
    let kept = state.registry_password(id, digest, state.sealing_key()).ok_or(SealError::Open)?;
    let context = context(&spec.namespace, &spec.name);
    let clear = keys::open(key, state, kept.key, &context, &kept.sealed)?;
    Ok(keys::seal(key, state, &context, &clear)?.1)
}

/// How an instance of a deployment logs in to its registry. None: it does not, or its node's own client knows how.
///
/// # Errors
/// What is missing or cannot be read, where it is named, and what to do.
pub(crate) fn login(key: &SecretKey, state: &State, deployment: &Deployment) -> Result<Option<RegistryLogin>, String> {
    let config = &deployment.spec.config;
    if let Some(username) = &config.username {
        let password = inline(key, state, deployment)?;
        let server = config.server.clone().unwrap_or_default();
        return Ok(Some(RegistryLogin { server, username: username.clone(), password }));
    }
    let Some(name) = &config.image_pull_secret else { return Ok(None) };
    from_secret(key, state, &deployment.spec, name).map(Some)
}

fn inline(key: &SecretKey, state: &State, deployment: &Deployment) -> Result<String, String> {
    let (namespace, name) = (&deployment.spec.namespace, &deployment.spec.name);
    let fault = |why: &str| format!("config.password of deployment '{namespace}/{name}' {why}: apply its manifest again");
    let kept = deployment.registry_password.as_ref().ok_or_else(|| fault("is not recorded"))?;
    let clear = keys::open(key, state, kept.key, &context(namespace, name), &kept.sealed).map_err(|_| fault("does not open"))?;
    String::from_utf8(clear.to_vec()).map_err(|_| fault("is not text"))
}

fn from_secret(key: &SecretKey, state: &State, spec: &DeploymentSpec, name: &str) -> Result<RegistryLogin, String> {
    let field = "config.image_pull_secret";
    let clear = secrets::open(key, state, &spec.namespace, name).map_err(|why| format!("{field}: {why}"))?;
    let registry = spec.config.server.clone().unwrap_or_else(|| registry_of(&spec.image).to_owned());
    let (username, password) = credentials(&clear, &registry, repository_of(&spec.image)).map_err(|why| {
        format!(
            "{field}: secret '{name}' in namespace '{}' {why}: give it a new value with `ring secret create {name} -n {}`, \
             either {{\"username\": …, \"password\": …}} or a Docker config.json",
            spec.namespace, spec.namespace
        )
    })?;
    Ok(RegistryLogin { server: spec.config.server.clone().unwrap_or_default(), username, password })
}

/// The registry an image's name says.
fn registry_of(image: &str) -> &str {
    let first = image.split_once('/').map(|(first, _)| first);
    first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or(HUB)
}

/// The image's name without registry, tag and digest.
fn repository_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let path = name.strip_prefix(registry_of(name)).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    path.rsplit_once(':').map_or(path, |(path, _)| path)
}

/// User and password for a registry out of a secret's value. Never says a part of the value.
fn credentials(value: &str, registry: &str, repository: &str) -> Result<(String, String), String> {
    let value: Value = serde_json::from_str(value).map_err(|_| "is not JSON".to_owned())?;
    let Some(object) = value.as_object() else { return Err("is not a JSON object".to_owned()) };
    if let Some(pair) = pair(&value) {
        return Ok(pair);
    }
    let listed = match object.get("auths") {
        Some(auths) => auths.as_object(),
        // The form before `auths`: registries at the top.
        None => Some(object).filter(|map| map.values().any(|entry| entry.get("auth").is_some())),
    };
    let Some(listed) = listed else {
        return Err("has neither username and password nor auths".to_owned());
    };
    let fitting = listed.iter().filter_map(|(key, entry)| fit(key, registry, repository).map(|length| (length, entry)));
    let Some((_, entry)) = fitting.max_by_key(|(length, _)| *length) else {
        return Err(format!("has no entry for registry '{registry}'"));
    };
    entry_of(entry).map_err(|why| format!("{why} for registry '{registry}'"))
}

fn pair(value: &Value) -> Option<(String, String)> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    Some((text("username")?, text("password")?))
}

/// How well a key of `auths` fits: the length of the path it covers; None when it is of another registry or another path.
fn fit(key: &str, registry: &str, repository: &str) -> Option<usize> {
    let (host, path) = split(key);
    let (wanted, _) = split(registry);
    let path = path.trim_matches('/');
    // The address of the API, not a part of an image's name.
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let covers = path.is_empty() || repository == path || repository.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    (host == wanted && covers).then_some(path.len())
}

/// Host and path of a registry's address, with or without a scheme.
fn split(address: &str) -> (&str, &str) {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    (if HUB_NAMES.contains(&host) { HUB } else { host }, path)
}

fn entry_of(entry: &Value) -> Result<(String, String), String> {
    if let Some(pair) = pair(entry) {
        return Ok(pair);
    }
    if entry.get("identitytoken").and_then(Value::as_str).is_some_and(|token| !token.is_empty()) {
        return Err("has an identity token, not a username and a password,".to_owned());
    }
    let Some(auth) = entry.get("auth").and_then(Value::as_str).filter(|auth| !auth.is_empty()) else {
        return Err("has no credentials (a credential helper keeps them on the machine of `docker login`)".to_owned());
    };
    let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    pair.filter(|(user, _)| !user.is_empty())
        .map(|(user, password)| (user.to_owned(), password.trim_end_matches('\0').to_owned()))
        .ok_or_else(|| "has an entry whose auth is not base64 of user:password".to_owned())
}

#[cfg(test)]
mod tests {
    use ring_types::{Kind, RuntimeKind};

    use super::*;

    fn spec() -> DeploymentSpec {
        let name = |text| Name::new(text).unwrap();
        DeploymentSpec::new(name("ns"), name("web"), Kind::Worker, RuntimeKind::Docker, "registry.example:5000/team/web:1")
    }

    #[test]
    fn a_password_is_sealed_for_its_deployment_and_known_by_its_digest() {
        let (key, state) = (SecretKey::generate(), State::default());
        let (first, again) = (seal(&key, &state, &spec(), "hush").unwrap(), seal(&key, &state, &spec(), "hush").unwrap());
        assert_eq!(first.digest, again.digest);
        assert_ne!(first.sealed, again.sealed);
        assert_ne!(first.digest, seal(&key, &state, &spec(), "other").unwrap().digest);
        assert_ne!(first.digest, seal(&SecretKey::generate(), &state, &spec(), "hush").unwrap().digest);
        let mut other = spec();
        other.name = Name::new("api").unwrap();
        assert_ne!(first.digest, seal(&key, &state, &other, "hush").unwrap().digest);
        assert!(key.open(&context(&other.namespace, &other.name), &first.sealed).is_err());
        assert_eq!(key.open(&context(&spec().namespace, &spec().name), &first.sealed).unwrap().as_slice(), b"hush");
    }

    #[test]
    fn an_image_says_its_registry_and_its_repository() {
        for (image, registry, repository) in [
            ("busybox", HUB, "busybox"),
            ("library/busybox:1", HUB, "library/busybox"),
            ("registry.example/web:1", "registry.example", "web"),
            ("localhost/web", "localhost", "web"),
            ("127.0.0.1:5000/team/web:1.2", "127.0.0.1:5000", "team/web"),
            ("r.example/web@sha256:00", "r.example", "web"),
        ] {
            assert_eq!((registry_of(image), repository_of(image)), (registry, repository), "{image}");
        }
    }

    #[test]
    fn every_form_of_a_pull_secret_is_read() {
        let (auth, other) = (STANDARD.encode("u:p:q"), STANDARD.encode("x:y"));
        let found = |value: String| credentials(&value, "registry.example:5000", "team/web").map(|(u, p)| format!("{u} {p}"));
        for value in [
            r#"{"username": "u", "password": "p:q"}"#.to_owned(),
            format!(r#"{{"auths": {{"registry.example:5000": {{"auth": "{auth}"}}, "else.example": {{"auth": "{other}"}}}}}}"#),
            format!(r#"{{"auths": {{"https://registry.example:5000/v2/": {{"auth": "{auth}", "email": "e"}}}}}}"#),
            r#"{"auths": {"registry.example:5000": {"username": "u", "password": "p:q"}}}"#.to_owned(),
            format!(r#"{{"registry.example:5000": {{"auth": "{auth}"}}}}"#),
            format!(
                r#"{{"auths": {{"registry.example:5000": {{"auth": "{other}"}}, "registry.example:5000/team": {{"auth": "{auth}"}}}}}}"#
            ),
        ] {
            assert_eq!(found(value.clone()).as_deref(), Ok("u p:q"), "{value}");
        }
        let hub = format!(r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}}}}}"#);
        assert_eq!(credentials(&hub, HUB, "library/busybox"), Ok(("u".into(), "p:q".into())));
    }

    #[test]
    fn what_cannot_be_used_says_why_and_nothing_of_the_value() {
        let auth = STANDARD.encode("hush");
        for (value, why) in [
            ("hush".to_owned(), "is not JSON"),
            (r#"["hush"]"#.to_owned(), "is not a JSON object"),
            (r#"{"user": "hush"}"#.to_owned(), "neither username and password nor auths"),
            (r#"{"auths": {"hush.example": {"auth": "x"}}}"#.to_owned(), "no entry for registry 'r.example'"),
            (r#"{"auths": {"r.example/other": {"auth": "x"}}}"#.to_owned(), "no entry for registry 'r.example'"),
            (r#"{"auths": {"r.example": {}}, "credsStore": "hush"}"#.to_owned(), "credential helper"),
            (r#"{"auths": {"r.example": {"identitytoken": "hush"}}}"#.to_owned(), "identity token"),
            (format!(r#"{{"auths": {{"r.example": {{"auth": "{auth}"}}}}}}"#), "not base64 of user:password"),
        ] {
            let said = credentials(&value, "r.example", "web").unwrap_err();
            assert!(said.contains(why) && !said.contains("hush"), "{value}: {said}");
        }
    }
}
