//! The manifest: what people write, read the same way by the command line and by the server.
//!
//! Text becomes a tree that remembers its lines, variables are replaced in the tree (so that a value can never become
//! syntax), and the tree becomes specifications. Every mistake is collected; nothing is dropped without a word.

use std::collections::BTreeMap;

use ring_types::{DeploymentSpec, Name, Violation};

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
