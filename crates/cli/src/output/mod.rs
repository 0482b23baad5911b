//! The only place that prints. Data goes to standard output, talk to standard error.

mod board;
mod fit;
mod print;
mod progress;
mod raw;
mod reply;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use board::Board;
pub use print::{data, failure_message, note};
pub(crate) use print::{data_screen, failure, usage, warning};
pub(crate) use progress::Progress;
pub(crate) use raw::{Outputs, Written};
pub(crate) use reply::{Reply, reply};
pub(crate) use view::{Cell, ListView, ObjectView, Row, Screen, View};
