//! Namespaces, secrets, configs and volumes.

use ring_api::model::{Config, Namespace, Secret, Volume};

use crate::output::{Cell, Row};
use crate::resolve::Named;
use crate::time::shown_or_none;

impl Row for Namespace {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Name", false), ("Created", false), ("Deployments", false), ("Secrets", true), ("Configs", true), ("Volumes", true)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            shown_or_none(self.created_at).into(),
            self.deployments.to_string().into(),
            self.secrets.to_string().into(),
            self.configs.to_string().into(),
            self.volumes.to_string().into(),
        ]
    }
}

impl Row for Secret {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Id", false), ("Created", false), ("Updated", false), ("Namespace", false), ("Name", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.to_string().into(),
            shown_or_none(self.created_at).into(),
            shown_or_none(self.updated_at).into(),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
        ]
    }
}

impl Named for Secret {
    const KIND: &'static str = "secret";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn short_name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Row for Config {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Id", false), ("Created", false), ("Updated", false), ("Namespace", false), ("Name", false), ("Keys", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.to_string().into(),
            shown_or_none(self.created_at).into(),
            shown_or_none(self.updated_at).into(),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
            self.data.keys().cloned().collect::<Vec<_>>().join(",").into(),
        ]
    }
}

impl Named for Config {
    const KIND: &'static str = "config";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn short_name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Row for Volume {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("Created", false),
        ("Namespace", false),
        ("Name", false),
        ("Driver", false),
        ("Data on", false),
        ("Used by", false),
        ("Updated", true),
        ("Labels", true),
    ];

    fn cells(&self) -> Vec<Cell> {
        let labels: Vec<_> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            self.id.to_string().into(),
            shown_or_none(self.created_at).into(),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
            self.driver.as_str().into(),
            self.source.as_deref().or(self.node.as_deref()).unwrap_or_default().into(),
            self.used_by.join(",").into(),
            shown_or_none(self.updated_at).into(),
            labels.join(",").into(),
        ]
    }
}

impl Named for Volume {
    const KIND: &'static str = "volume";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn short_name(&self) -> Option<&str> {
        Some(&self.name)
    }
}
