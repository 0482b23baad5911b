//! Loopback ports that belong to one test process until it ends.
//!
//! A port chosen by the kernel and given back is the kernel's to hand out again, to another test or to any outgoing
//! connection. These come from below the range the kernel chooses from, in blocks that a lock file keeps for one process.

use std::fs::{File, OpenOptions, create_dir_all};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// First port of the first block; the kernel chooses from 32768 on.
const FIRST: u16 = 21_000;
/// Ports of one block: more than one test process needs.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 50;

/// What this process has, and what of it is not given out yet.
struct Blocks {
    /// The locks: they end with the process.
    held: Vec<File>,
    next: u16,
    end: u16,
}

static BLOCKS_HELD: Mutex<Blocks> = Mutex::new(Blocks { held: Vec::new(), next: 0, end: 0 });

/// `count` ports nobody listens on and nobody else is given while this process lives. A port that is never listened on
/// refuses every connection.
///
/// # Errors
/// When every block is held by another process.
pub fn free(count: usize) -> Result<Vec<u16>> {
    let mut blocks = BLOCKS_HELD.lock().unwrap_or_else(PoisonError::into_inner);
    (0..count).map(|_| next(&mut blocks)).collect()
}

/// One port of [`free`].
///
/// # Errors
/// As [`free`].
pub fn free_one() -> Result<u16> {
    next(&mut BLOCKS_HELD.lock().unwrap_or_else(PoisonError::into_inner))
}

fn next(blocks: &mut Blocks) -> Result<u16> {
    loop {
        if blocks.next == blocks.end {
            let (lock, first) = another_block()?;
            blocks.held.push(lock);
            (blocks.next, blocks.end) = (first, first + BLOCK);
        }
        let port = blocks.next;
        blocks.next += 1;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
}

fn another_block() -> Result<(File, u16)> {
    let dir = std::env::temp_dir().join("ring-test-ports");
    create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for block in 0..BLOCKS {
        let path = dir.join(block.to_string());
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_ok() {
            return Ok((file, FIRST + block * BLOCK));
        }
    }
    bail!("all {BLOCKS} blocks of test ports are held by other processes (lock files in {})", dir.display())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_each_refuses() {
        let ports: BTreeSet<_> = (0..30).map(|_| free(10).unwrap()).chain([vec![free_one().unwrap()]]).flatten().collect();
        assert_eq!(ports.len(), 301, "more than one block");
        assert!(ports.iter().all(|&port| (FIRST..32_768).contains(&port)));
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, *ports.first().unwrap())).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_block_is_held_by_one() {
        let (_first, a) = another_block().unwrap();
        let (_second, b) = another_block().unwrap();
        assert_ne!(a, b);
    }
}
