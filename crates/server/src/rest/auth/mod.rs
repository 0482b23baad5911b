//! Who a caller is and what it may do.

mod caller;
mod check;
mod limit;
mod password;
mod table;
mod token;
mod uses;

pub(super) use caller::Caller;
pub(super) use check::{bearer, check};
pub(super) use limit::LoginLimit;
pub(super) use password::Passwords;
pub(crate) use password::hash_password;
#[cfg(test)]
pub(super) use table::ROUTES;
pub(super) use table::{Need, Resource, Verb, need, scopes};
pub(super) use token::{SESSION_LIFE, hash_of, pat, session};
pub use uses::Uses;
