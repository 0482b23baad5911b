//! Control nodes in this process, spoken to over their ports. One binary: each links the whole server.

mod agent;
mod cluster;
mod rest;
mod seed;
mod support;
mod tls;
