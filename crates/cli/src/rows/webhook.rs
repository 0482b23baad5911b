//! Webhooks, and deliveries to them.

use ring_api::model::{Delivery, Webhook};

use crate::output::{Cell, Row};
use crate::resolve::named;

impl Row for Webhook {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("Created", false),
        ("Url", false),
        ("Events", false),
        ("Delivered", false),
        ("Pending", false),
        ("Dead", false),
        ("Dropped", false),
        ("Last delivered", true),
        ("Created by", true),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::id(self.id),
            Cell::time(self.created_at),
            Cell::keep_start(self.url.as_str()),
            Cell::keep_start(self.events.join(",")),
            self.delivered.to_string().into(),
            self.pending.to_string().into(),
            self.dead.to_string().into(),
            self.dropped.to_string().into(),
            Cell::time(self.delivered_at),
            self.created_by.as_str().into(),
        ]
    }
}

named!(Webhook as "webhook" by url);

impl Row for Delivery {
    const COLUMNS: &'static [(&'static str, bool)] = &[
        ("Id", false),
        ("At", false),
        ("Event", false),
        ("Object", false),
        ("State", false),
        ("Attempts", false),
        ("Next", false),
        ("Error", false),
        ("Last attempt", true),
        ("Number", true),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::id(self.id),
            Cell::time(self.at),
            self.kind.as_str().into(),
            self.object.full_name().into(),
            Cell::status(self.state.as_str()),
            self.attempts.to_string().into(),
            Cell::time(self.next_at),
            Cell::keep_start(self.error.as_str()),
            Cell::time(self.failed_at),
            self.number.to_string().into(),
        ]
    }
}

named!(Delivery as "delivery" by id);
