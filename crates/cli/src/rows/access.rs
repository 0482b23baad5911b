//! Accounts and tokens.

use ring_api::model::{Token, User};

use crate::output::{Cell, Row};
use crate::resolve::named;

impl Row for User {
    const COLUMNS: &'static [(&'static str, bool)] =
        &[("Id", false), ("Created", false), ("Updated", false), ("Username", false), ("Role", false)];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::id(self.id),
            Cell::time(self.created_at),
            Cell::time(self.updated_at),
            self.username.as_str().into(),
            self.role.as_str().into(),
        ]
    }
}

named!(User as "user" by username);

impl Row for Token {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("Name", false),
        ("User", false),
        ("Scopes", false),
        ("Namespaces", false),
        ("Created", false),
        ("Expires", false),
        ("Last used", false),
    ];

    fn cells(&self) -> Vec<Cell> {
        let namespaces = if self.namespaces.is_empty() { "all".to_owned() } else { self.namespaces.join(",") };
        vec![
            Cell::id(self.id),
            self.name.as_str().into(),
            self.user.as_str().into(),
            Cell::keep_start(self.scopes.join(",")),
            namespaces.into(),
            Cell::time(self.created_at),
            self.expires_at.map_or_else(|| "never".to_owned(), crate::time::shown).into(),
            self.last_used_at.map_or_else(|| "never".to_owned(), crate::time::shown).into(),
        ]
    }
}

named!(Token as "token" by name);
