//! Namespaces, secrets and configs.

use ring_api::model::{Config, Namespace, Secret};

use crate::output::{Cell, Row};
use crate::resolve::named;

impl Row for Namespace {
    const COLUMNS: &'static [(&'static str, bool)] = &[("Name", false), ("Created", false), ("Deployments", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![self.name.as_str().into(), Cell::time(self.created_at), self.deployments.to_string().into()]
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
