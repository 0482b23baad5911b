//! Namespaces, secrets, configs and volumes.

use ring_api::model::{Config, Namespace, Secret, Volume};

use crate::output::{Cell, Row};
use crate::resolve::named;

impl Row for Namespace {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Name", false), ("Created", false), ("Deployments", false), ("Secrets", true), ("Configs", true), ("Volumes", true)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            Cell::time(self.created_at),
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
            Cell::id(self.id),
            Cell::time(self.created_at),
            Cell::time(self.updated_at),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
        ]
    }
}

named!(Secret as "secret" by namespace / name);

impl Row for Config {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Id", false), ("Created", false), ("Updated", false), ("Namespace", false), ("Name", false), ("Keys", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::id(self.id),
            Cell::time(self.created_at),
            Cell::time(self.updated_at),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
            Cell::keep_start(self.data.keys().cloned().collect::<Vec<_>>().join(",")),
        ]
    }
}

named!(Config as "config" by namespace / name);

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
            Cell::id(self.id),
            Cell::time(self.created_at),
            self.namespace.as_str().into(),
            self.name.as_str().into(),
            self.driver.as_str().into(),
            self.source.as_deref().or(self.node.as_deref()).unwrap_or_default().into(),
            self.used_by.join(",").into(),
            Cell::time(self.updated_at),
            labels.join(",").into(),
        ]
    }
}

named!(Volume as "volume" by namespace / name);
