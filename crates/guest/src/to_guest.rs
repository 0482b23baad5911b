//! From the host to the guest.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One message of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuest {
    /// The first on a connection.
    Welcome(Welcome),
    /// What to run. Does nothing when there was one before.
    Start(Box<Start>),
    /// Everything before this place of the output is safe; the guest may forget it.
    OutputAck {
        /// A place, as in [`crate::ToHost::Output`].
        offset: u64,
    },
    /// How the workload ended, or that it failed, is safe: the guest powers off. Does nothing before the end.
    ExitAck,
    /// Sends this signal to the workload's own process. Does nothing when it does not run.
    Stop {
        /// Number of the signal.
        signal: i32,
    },
    /// Sends SIGKILL to the workload and everything else that runs. Does nothing when it does not run.
    Kill,
    /// Asks for a [`crate::ToHost::Heartbeat`] now.
    Measure,
    /// Runs a command beside the workload.
    Exec {
        /// A number no other command under way has.
        id: u32,
        /// The command.
        exec: Exec,
    },
    /// Input of a command.
    ExecInput {
        /// Which command.
        id: u32,
        /// At most [`crate::CHUNK`] of them.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Ends the input of a command.
    ExecClose {
        /// Which command.
        id: u32,
    },
    /// Another size for the terminal of a command.
    ExecResize {
        /// Which command.
        id: u32,
        /// The size.
        size: TerminalSize,
    },
    /// Ends a command and what it started. It is answered with [`crate::ToHost::ExecExited`].
    ExecKill {
        /// Which command.
        id: u32,
    },
    /// So much more of its output has been taken: the guest may have that much more on the way.
    ExecTaken {
        /// Which command.
        id: u32,
        /// Bytes.
        bytes: u32,
    },
}

/// The host's answer to [`crate::Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Version the host speaks.
    pub version: u32,
    /// Where the output is to go on: everything before is safe. A guest that has forgotten what comes after begins where it can.
    pub offset: u64,
}

/// What to run, and in what surroundings. Has secrets in it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Program and arguments, at least one. A program without a slash is looked for in the PATH of `env`.
    pub argv: Vec<String>,
    /// The whole environment, names and values. PATH and HOME are added when they are missing.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute; made when it is not there. Empty: `/`.
    pub cwd: String,
    /// User as in an image: a name or number, and after a colon a group's. Empty: root.
    pub user: String,
    /// Host name; empty leaves it as it is.
    pub hostname: String,
    /// Directories of the host, mounted in the order of their destinations.
    pub mounts: Vec<Mount>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Configs and secrets. They are on a file system in memory, read-only.
    pub files: Vec<File>,
    /// The network; None: loopback and nothing else.
    pub network: Option<Network>,
}

/// A virtiofs share at its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Tag of the share.
    pub tag: String,
    /// A directory or file in the share, relative; empty: all of it.
    pub path: String,
    /// Absolute path in the guest; made when it is not there.
    pub destination: String,
    /// Nothing can be written through it.
    pub read_only: bool,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path in the guest; made when it is not there.
    pub destination: String,
    /// Limit in bytes; None: half of the memory.
    pub size: Option<u64>,
    /// Permission bits of its root.
    pub mode: u32,
}

/// One read-only file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path in the guest; its directory is made when it is not there.
    pub destination: String,
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The one network device of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Hardware address by which it is found.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// The ways out, at most one for IPv4 and one for IPv6.
    pub gateways: Vec<IpAddr>,
    /// Largest packet, bytes; None leaves it as it is.
    pub mtu: Option<u32>,
    /// Name servers for `/etc/resolv.conf`. Without any the image's file stays.
    pub dns: Vec<IpAddr>,
    /// Domains names are looked for in.
    pub search: Vec<String>,
    /// More lines for `/etc/hosts`.
    pub hosts: Vec<(IpAddr, String)>,
}

/// An address and its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Length of the network's prefix, bits.
    pub prefix: u8,
}

/// A command to be run in the surroundings of the workload: its user, environment, working directory and mounts.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Input is taken; without it the command reads an empty one.
    pub stdin: bool,
    /// A terminal of this size.
    pub terminal: Option<TerminalSize>,
}

/// Size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("user", &self.user).field("mounts", &self.mounts).finish_non_exhaustive()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("destination", &self.destination).finish_non_exhaustive()
    }
}

/// Arguments may carry a password.
impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("program", &self.argv.first()).finish_non_exhaustive()
    }
}
