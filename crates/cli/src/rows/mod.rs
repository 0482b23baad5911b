//! How each object of the API looks as a row, and by which names it is found.

mod access;
mod cluster;
mod deployment;
mod objects;
