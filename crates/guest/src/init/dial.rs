//! The way to the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ring_guest::PORT;
use vsock::{VMADDR_CID_HOST, VsockStream};

use super::root::World;

/// One attempt to reach the host.
pub(super) fn dial(world: &World) -> io::Result<File> {
    let socket = match &world.test {
        Some(test) => OwnedFd::from(UnixStream::connect(&test.socket)?),
        None => VsockStream::connect_with_cid_port(VMADDR_CID_HOST, PORT)?.as_fd().try_clone_to_owned()?,
    };
    Ok(File::from(socket))
}

/// Ends a connection under the hands of whoever waits on it.
pub(super) fn hang_up(connection: &File) {
    let _ = rustix::net::shutdown(connection, rustix::net::Shutdown::Both);
}
