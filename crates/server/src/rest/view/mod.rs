//! Objects of the state as the API shows them.

mod access;
mod audit;
mod cluster;
mod deployment;
mod objects;
mod webhook;

pub(super) use access::{account, role_of, token};
pub(super) use audit::audit;
pub(super) use cluster::{join_role, join_role_of, join_token, member, node};
pub(super) use deployment::{check_type, deployment, event, instances};
pub(super) use objects::{Contents, config, namespace, secret, volume};
pub(super) use webhook::{delivery, webhook};
