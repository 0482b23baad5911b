//! Moves of instances to other hosts.

use ring_api::model::{Move, MoveState};

use crate::output::{Cell, Row};

impl Row for Move {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Deployment", false), ("Instance", false), ("From", false), ("To", false), ("State", false), ("Why", false)];
    const SPARE: &'static [&'static str] = &["Why"];

    fn cells(&self) -> Vec<Cell> {
        let state = self.state.as_str();
        vec![
            format!("{}/{}", self.namespace, self.name).into(),
            Cell::id(self.instance),
            self.from.as_str().into(),
            self.to.as_str().into(),
            if self.state == MoveState::Moved { Cell::good(state) } else { state.into() },
            Cell::keep_start(self.why.as_deref().unwrap_or_default()),
        ]
    }
}
