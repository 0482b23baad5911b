//! Namespaces, secrets and configs.

use ring_api::model::{Config, Namespace, Secret};

use crate::output::{Cell, Row};
use crate::resolve::named;
use crate::time::shown_or_none;

impl Row for Namespace {
    const COLUMNS: &'static [(&'static str, bool)] = &[("Name", false), ("Created", false), ("Deployments", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![self.name.as_str().into(), shown_or_none(self.created_at).into(), self.deployments.to_string().into()]
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

named!(Secret as "secret" by namespace / name);

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

named!(Config as "config" by namespace / name);
