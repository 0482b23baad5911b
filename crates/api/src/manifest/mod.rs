//! The manifest: what people write, read the same way by the command line and by the server.
//!
//! Text becomes a tree that remembers its lines, variables are replaced in the tree (so that a value can never become
//! syntax), and the tree becomes specifications. Every mistake is collected; nothing is dropped without a word.

mod config;
mod deployment;
mod explain;
mod fields;
mod interpolate;
mod parse;
mod parts;
mod reader;
#[cfg(test)]
mod tests;
mod tree;
mod variables;

use std::collections::BTreeMap;

use ring_types::{DeploymentSpec, Name, Rule, Violation};

pub use config::take_in_files;
pub use fields::{Field, SECTIONS, Section};
pub use interpolate::{Interpolated, NotReplaced, TooLong, interpolate, interpolate_text};
pub use tree::{Entry, Node, Value};
pub use variables::{EnvFileError, Variables};

use reader::{At, Reader};

/// A manifest as it is meant: every default filled in, every rule of one deployment checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Namespaces to make, in the order of the text.
    pub namespaces: Vec<NamespaceEntry>,
    /// Configs, in the order of the text.
    pub configs: Vec<ConfigEntry>,
    /// Deployments, in the order of the text.
    pub deployments: Vec<DeploymentEntry>,
}

/// A namespace of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceEntry {
    /// Its key.
    pub label: String,
    /// Its name.
    pub name: Name,
}

/// A config of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its key.
    pub label: String,
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Keys and contents.
    pub data: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A deployment of a manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct DeploymentEntry {
    /// Its key.
    pub label: String,
    /// What is asked for.
    pub spec: DeploymentSpec,
    /// The registry password of `config.password`, which is kept as a secret and never part of the specification.
    pub registry_password: Option<String>,
    /// What its writer should know.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for DeploymentEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("DeploymentEntry");
        out.field("label", &self.label).field("spec", &self.spec).field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

/// Why a text is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text is not YAML or JSON, or goes beyond a limit.
    #[error("{message}")]
    Syntax {
        /// What is wrong and where.
        message: String,
    },
    /// The text breaks rules: all of them.
    #[error("the manifest breaks {} rule(s)", .0.len())]
    Invalid(Vec<Violation>),
}

/// Most deployments of one manifest.
pub const MAX_DEPLOYMENTS: usize = 1000;

/// Most mistakes that are told of one manifest; of more only their number is.
pub const MAX_MISTAKES: usize = 100;

impl Manifest {
    /// Reads the JSON form that the command line sends. It may also be one single deployment.
    ///
    /// # Errors
    /// [`ManifestError`]: no JSON, or every rule it breaks.
    pub fn from_json(text: &[u8]) -> Result<Self, ManifestError> {
        Self::from_tree(&Node::from_json(text)?)
    }

    /// Makes a tree, whose variables are replaced and whose files are taken in, a manifest.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`] with every rule it breaks.
    pub fn from_tree(tree: &Node) -> Result<Self, ManifestError> {
        let mut reader = Reader::default();
        let manifest = Self::read(&mut reader, tree);
        match manifest {
            Some(manifest) if reader.violations.is_empty() => Ok(manifest),
            _ => Err(ManifestError::Invalid(reader.told())),
        }
    }

    /// Reads the JSON form as far as it goes: what can be read of it, and every rule it breaks. For whoever has rules of its
    /// own to add to them.
    ///
    /// # Errors
    /// [`ManifestError::Syntax`]: no JSON.
    pub fn check_json(text: &[u8]) -> Result<(Self, Vec<Violation>), ManifestError> {
        let mut reader = Reader::default();
        let manifest = Self::read(&mut reader, &Node::from_json(text)?).unwrap_or_default();
        Ok((manifest, reader.told()))
    }

    fn read(reader: &mut Reader, tree: &Node) -> Option<Self> {
        let top = At::new("", "manifest");
        let single = tree.get("deployments").is_none() && tree.get("image").is_some();
        if single {
            let label = tree.get("name").map_or("deployment", |node| match &node.value {
                Value::Text(text) => text.as_str(),
                _ => "deployment",
            });
            let entry = deployment::read(reader, label, tree)?;
            return Some(Self { deployments: vec![entry], ..Self::default() });
        }
        let fields = reader.fields(tree, &top, &fields::MANIFEST)?;
        let mut manifest = Self::default();
        if let Some((node, at)) = fields.get("namespaces") {
            manifest.namespaces = each(reader, node, &at, config::namespace);
        }
        if let Some((node, at)) = fields.get("configs") {
            manifest.configs = each(reader, node, &at, config::config);
        }
        let Some((node, at)) = fields.get("deployments") else {
            reader.fail(&At::new("deployments", "manifest.deployments"), 0, Rule::Required, "a manifest needs deployments");
            return None;
        };
        let count = node.entries().map_or(0, <[Entry]>::len);
        if count > MAX_DEPLOYMENTS {
            let message = format!("{count} deployments in one manifest, at most {MAX_DEPLOYMENTS}");
            reader.fail(&at, 0, Rule::TooMany, message);
            return None;
        }
        manifest.deployments = each(reader, node, &at, deployment::read);
        manifest.check_together(reader);
        Some(manifest)
    }

    /// Rules between the parts of a manifest.
    fn check_together(&self, reader: &mut Reader) {
        let mut names = BTreeMap::new();
        for entry in &self.deployments {
            let identity = (&entry.spec.namespace, &entry.spec.name);
            if let Some(first) = names.insert(identity, &entry.label) {
                let at = At::new(format!("deployments.{}.name", entry.label), "deployment.name");
                let message = format!("'{}' is '{}/{}', as this one is", first, identity.0, identity.1);
                reader.fail(&at, 0, Rule::Duplicate, message);
            }
        }
        for label in deployment::cycle(&self.deployments) {
            let at = At::new(format!("deployments.{label}.depends_on"), "deployment.depends_on");
            reader.fail(&at, 0, Rule::Cycle, format_args!("'{label}' waits for itself, directly or through others"));
        }
    }
}

fn each<T>(reader: &mut Reader, node: &Node, at: &At, mut read: impl FnMut(&mut Reader, &str, &Node) -> Option<T>) -> Vec<T> {
    let entries = reader.map(node, at).unwrap_or_default();
    entries.iter().filter_map(|entry| read(reader, &entry.key, &entry.value)).collect()
}
