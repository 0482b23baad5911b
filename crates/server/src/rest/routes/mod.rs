//! One file a kind of object.

pub(super) mod apply;
pub(super) mod audit;
pub(super) mod cluster;
pub(super) mod configs;
mod dependencies;
pub(super) mod deployments;
pub(super) mod events;
pub(super) mod exec;
pub(super) mod follow;
pub(super) mod health_checks;
pub(super) mod join_tokens;
pub(super) mod login;
pub(super) mod logs;
pub(super) mod meta;
pub(super) mod metrics;
mod named;
pub(super) mod namespaces;
pub(super) mod needs;
pub(super) mod nodes;
pub(super) mod secrets;
mod still;
pub(super) mod succession;
pub(super) mod support;
pub(super) mod tokens;
pub(super) mod users;
pub(super) mod volumes;
pub(super) mod webhooks;
