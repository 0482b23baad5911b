//! From a manifest's file to what is sent.

use std::io::Read;
use std::path::Path;

use ring_api::MAX_BODY;
use ring_api::manifest::{Manifest, ManifestError, Node, Variables, interpolate, interpolate_text, take_in_files};

use crate::error::CliError;

/// A manifest that is valid as far as this side can tell.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// What is sent.
    pub(crate) json: serde_json::Value,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn load(file: &Path, env_file: Option<&Path>, strict: bool) -> Result<Loaded, CliError> {
    let stdin = file.as_os_str() == "-";
    let (shown, text) = if stdin {
        let shown = "standard input".to_owned();
        let bytes = bounded(std::io::stdin().lock()).map_err(|error| CliError::Input("standard input", error))?;
        let text = readable(bytes).map_err(|message| CliError::Syntax { file: shown.clone(), message })?;
        (shown, text)
    } else {
        (file.display().to_string(), read(file)?)
    };
    let folder = if stdin { Path::new(".") } else { file.parent().unwrap_or(Path::new(".")) };
    from_text(&shown, &text, folder, &variables(env_file)?, strict)
}

fn read(path: &Path) -> Result<String, CliError> {
    let bytes = std::fs::File::open(path).and_then(bounded).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    readable(bytes).map_err(|message| CliError::Syntax { file: path.display().to_string(), message })
}

/// As much as is ever used of something, and a byte more when there is more: it may have no end.
fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BODY as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn readable(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > MAX_BODY {
        return Err(format!("it has more than {MAX_BODY} bytes, which is all that is read"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count();
        format!("it is no UTF-8 text: byte {} (line {line}) belongs to no character", good.len() + 1)
    })
}

fn variables(env_file: Option<&Path>) -> Result<Variables, CliError> {
    let environment = Variables::from_environment();
    let Some(path) = env_file else { return Ok(environment) };
    let file = Variables::from_env_file(&read(path)?)
        .map_err(|error| CliError::Config { path: path.to_owned(), message: error.to_string() })?;
    Ok(file.overridden_by(environment))
}

fn from_text(file: &str, text: &str, folder: &Path, variables: &Variables, strict: bool) -> Result<Loaded, CliError> {
    let failed = |error| match error {
        ManifestError::Syntax { message } => CliError::Syntax { file: file.to_owned(), message },
        ManifestError::Invalid(violations) => CliError::Invalid { file: file.to_owned(), violations },
    };
    let mut tree = Node::from_yaml(text).map_err(failed)?;
    let mut found = interpolate(&mut tree, variables, strict);
    let files = take_in_files(&mut tree, |path, replace| {
        let file = std::fs::File::open(folder.join(path)).and_then(bounded);
        let text = readable(file.map_err(|error| format!("cannot read '{path}': {error}"))?);
        let text = text.map_err(|error| format!("cannot take in '{path}': {error}"))?;
        if !replace {
            return Ok(text);
        }
        let (text, unset) = interpolate_text(&text, variables).map_err(|error| format!("cannot take in '{path}': {error}"))?;
        if strict && !unset.is_empty() {
            return Err(format!("'{path}' has variables without a value: {}", unset.join(", ")));
        }
        Ok(text)
    });
    found.violations.extend(files.err().unwrap_or_default());
    match Manifest::from_tree(&tree) {
        Ok(manifest) if found.violations.is_empty() => Ok(Loaded { manifest, json: tree.to_json(), warnings: found.warnings }),
        // A variable without a value makes names invalid, too: one mistake is told once.
        Err(ManifestError::Invalid(more)) => {
            let known = |path: &String| found.violations.iter().any(|v| v.property_path == *path);
            let more: Vec<_> = more.into_iter().filter(|violation| !known(&violation.property_path)).collect();
            found.violations.extend(more);
            Err(failed(ManifestError::Invalid(found.violations)))
        }
        Ok(_) => Err(failed(ManifestError::Invalid(found.violations))),
        Err(error) => Err(failed(error)),
    }
}

/// The manifest as it is sent, for people; a registry password is not shown.
pub(super) fn shown(json: &serde_json::Value) -> Result<String, CliError> {
    let mut json = json.clone();
    let hide = |deployment: &mut serde_json::Value| {
        if let Some(password) = deployment.get_mut("config").and_then(|config| config.get_mut("password")) {
            *password = ring_api::model::NOT_SHOWN.into();
        }
    };
    // It may be one deployment without `deployments` around it.
    hide(&mut json);
    let deployments = json.get_mut("deployments").and_then(serde_json::Value::as_object_mut);
    deployments.into_iter().flat_map(|map| map.values_mut()).for_each(hide);
    let text = serde_yaml::to_string(&json).map_err(|error| CliError::Format("YAML", error.to_string()))?;
    Ok(text.trim_end().to_owned())
}
