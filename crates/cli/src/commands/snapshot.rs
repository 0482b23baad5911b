//! `ring cluster snapshot save`

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ring_api::client::Client;
use sha2::{Digest, Sha256};

use crate::error::CliError;
use crate::node::{SnapshotInspect, SnapshotRestore};
use crate::output::{Progress, Reply};

/// Length of the SHA-256 at the end.
const SUM: usize = 32;
/// What `-` stands for.
const STDOUT: &str = "-";

/// `ring cluster snapshot`
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Save the state of the cluster to a file, while it runs
    ///
    /// It takes the scope cluster:write: the file has everything the cluster remembers, the secrets sealed, and hashes of passwords.
    /// The secret key that opens them is not in it: keep that apart.
    Save(Save),
    /// Check a snapshot, and show what it is of
    Inspect(SnapshotInspect),
    /// Make a cluster of this host, which has none, from a snapshot
    ///
    /// The cluster goes on under another generation: control nodes of the one before are refused, and end when they hear of it.
    /// Hosts that run work come over with what they run when they reach this host at an address they know. Start it with
    /// `ring server start`.
    Restore(SnapshotRestore),
}

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Where to; '-' is standard output
    file: PathBuf,
}

pub(crate) async fn save(client: &Client, args: &Save) -> Result<Reply, CliError> {
    if args.file.as_os_str() != STDOUT {
        return to_file(client, &args.file).await;
    }
    let mut out = io::stdout();
    if out.is_terminal() {
        return Err(CliError::Usage("standard output is a terminal: name a file, or redirect it".to_owned()));
    }
    let sum = receive(client, &mut out, CliError::Output).await?;
    Ok(Reply::default().note(said("to standard output", &sum)))
}

/// The file gets its name when it is whole and on the disk.
async fn to_file(client: &Client, path: &Path) -> Result<Reply, CliError> {
    let failed = |action: &'static str| {
        let path = path.to_owned();
        move |error: io::Error| CliError::Usage(format!("cannot {action} {}: {error}", path.display()))
    };
    let part = Part::create(path).map_err(failed("write"))?;
    let mut file = &part.file;
    let sum = receive(client, &mut file, failed("write")).await?;
    part.keep(path).map_err(failed("write"))?;
    Ok(Reply::default().note(said(&format!("to {}", path.display()), &sum)))
}

fn said(place: &str, (bytes, sum): &(u64, String)) -> String {
    format!(
        "snapshot saved {place}: {bytes} bytes, SHA-256 {sum} (of all but its last {SUM} bytes). The secret key is not in it: keep that apart."
    )
}

/// Writes what comes; its length and SHA-256, which stands at its end.
async fn receive(
    client: &Client,
    out: &mut impl Write,
    failed: impl Fn(io::Error) -> CliError,
) -> Result<(u64, String), CliError> {
    let mut download = client.snapshot().await?;
    let (mut tail, mut bytes) = (Tail::default(), 0);
    let progress = Progress::start();
    while let Some(piece) = download.piece().await? {
        bytes += piece.len() as u64;
        tail.add(&piece);
        out.write_all(&piece).map_err(&failed)?;
        progress.at(bytes);
    }
    out.flush().map_err(&failed)?;
    drop(progress);
    let sum = tail.end().ok_or_else(|| failed(io::Error::other("what came is not whole: its SHA-256 is missing at its end")))?;
    Ok((bytes, sum))
}

/// Adds up all but the last bytes, which are the sum.
#[derive(Default)]
struct Tail {
    sum: Sha256,
    last: Vec<u8>,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        let ready = self.last.len().saturating_sub(SUM);
        self.sum.update(&self.last[..ready]);
        self.last.drain(..ready);
    }

    fn end(self) -> Option<String> {
        let sum: [u8; SUM] = self.sum.finalize().into();
        (self.last == sum).then(|| hex::encode(sum))
    }
}

/// A file in the making, beside what it is to be; removed unless it is kept. Its owner alone reads it.
struct Part {
    file: File,
    path: Option<PathBuf>,
}

impl Part {
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(part);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path: Some(path) })
    }

    fn keep(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(path) = &self.path {
            fs::rename(path, target)?;
        }
        self.path = None;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It is of no use, and what went wrong is told already.
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut file: Vec<u8> = (0..200).collect();
        let sum = Sha256::digest(&file);
        file.extend(sum);
        file
    }

    fn sum_of(bytes: &[u8], piece: usize) -> Option<String> {
        let mut tail = Tail::default();
        bytes.chunks(piece).for_each(|piece| tail.add(piece));
        tail.end()
    }

    #[test]
    fn the_sum_is_checked_however_the_pieces_fall() {
        let good = file();
        for piece in [1, 7, 31, 32, 33, 500] {
            assert!(sum_of(&good, piece).is_some(), "pieces of {piece}");
            assert!((0..good.len()).all(|cut| sum_of(&good[..cut], piece).is_none()), "pieces of {piece}, cut");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(sum_of(&bad, 64), None, "byte {at}");
        }
    }

    #[test]
    fn what_is_not_whole_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("backup");
        fs::write(&target, "before").unwrap();
        drop(Part::create(&target).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let part = Part::create(&target).unwrap();
        (&part.file).write_all(b"whole").unwrap();
        part.keep(&target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
