//! What the network of the host remembers on the disk: who has which place, and what was changed for all.
//!
//! ```text
//! <dir>/
//!     host              which range is in use, and what else was changed on the host
//!     <instance id>     one for each instance that has a tap
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use ring_types::{InstanceId, Port};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What one instance was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its namespace.
    pub(super) namespace: String,
    /// The number of that namespace on this host.
    pub(super) number: u16,
    /// Its place in the range.
    pub(super) slot: u32,
    /// Its published ports.
    pub(super) ports: Vec<Port>,
    /// Largest packet of its tap, bytes.
    pub(super) mtu: u32,
}

/// What was settled for all instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settled {
    /// Where every address comes from.
    pub(super) range: Ipv4Net,
    /// The interfaces there were when forwarding was switched on here; None when it was on already.
    pub(super) switched_on: Option<BTreeSet<String>>,
}

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Makes the directory when it is not there, and reads what is in it. A file that was cut off by a crash of the host says
    /// nothing: what it spoke of is gone as well.
    pub(super) fn open(&self) -> io::Result<(Option<Settled>, BTreeMap<InstanceId, Record>)> {
        DirBuilder::new().mode(0o700).recursive(true).create(&self.0)?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(&self.0)?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if entry.path().extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(entry.path())?;
            } else if let Ok(instance) = name.parse()
                && let Some(record) = read(&entry.path())?
            {
                records.insert(instance, record);
            }
        }
        Ok((read(&self.0.join("host"))?, records))
    }

    pub(super) fn settle(&self, settled: Option<&Settled>) -> io::Result<()> {
        self.put("host", settled)
    }

    pub(super) fn keep(&self, instance: InstanceId, record: &Record) -> io::Result<()> {
        self.put(&instance.to_string(), Some(record))
    }

    pub(super) fn forget(&self, instance: InstanceId) -> io::Result<()> {
        self.put::<Record>(&instance.to_string(), None)
    }

    fn put<T: Serialize>(&self, name: &str, content: Option<&T>) -> io::Result<()> {
        let path = self.0.join(name);
        let Some(content) = content else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(with_path(&path, &error)),
                _ => Ok(()),
            };
        };
        let staged = self.0.join(format!("{name}.new"));
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged);
        let written = written.and_then(|mut file| file.write_all(&serde_json::to_vec(content)?));
        written.and_then(|()| fs::rename(&staged, &path)).map_err(|error| with_path(&path, &error))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a record of the network is not readable"))
            .ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(with_path(path, &error)),
    }
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_what_was_cut_off_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(&dir.path().join("net"));
        assert_eq!(files.open().unwrap(), (None, BTreeMap::new()));
        let instance: InstanceId = "01890000-0000-7000-8000-0000deadbeef".parse().unwrap();
        let other: InstanceId = "01890000-0000-7000-8000-0000deadbee0".parse().unwrap();
        let record = Record { namespace: "a".to_owned(), number: 1, slot: 7, ports: Vec::new(), mtu: 1400 };
        let settled = Settled { range: "10.0.0.0/24".parse().unwrap(), switched_on: Some(BTreeSet::from(["eth0".to_owned()])) };
        files.keep(instance, &record).unwrap();
        files.settle(Some(&settled)).unwrap();
        fs::write(files.0.join(other.to_string()), b"{\"namesp").unwrap();
        fs::write(files.0.join("host.new"), b"{").unwrap();
        assert_eq!(files.open().unwrap(), (Some(settled), BTreeMap::from([(instance, record)])));
        files.forget(instance).unwrap();
        files.forget(instance).unwrap();
        files.settle(None).unwrap();
        assert_eq!(files.open().unwrap(), (None, BTreeMap::new()));
    }
}
