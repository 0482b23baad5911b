//! A snapshot file: a magic word, then frames of length, CRC-32 and message: a header, rows, and an end that carries the CRC-32
//! of everything before it. A file without its end is not one.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use fail::fail_point;
use prost::Message;
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::snapshot_frame::Frame;
use ring_proto::rows;
use ring_state::State;
use ring_types::{ClusterId, Revision};

use super::SnapshotFile;
use crate::codec::{self, CodecError};
use crate::disk::stored_key;
use crate::types::{LogId, SnapshotMeta, StoredMembership};

const MAGIC: &[u8; 8] = b"RINGSNAP";
pub(crate) const FORMAT: u32 = 1;
/// Rows are gathered to about this size.
const FRAME: usize = 256 << 10;
/// No frame is larger: a length above it is damage, and no reason to take memory.
const FRAME_LIMIT: u32 = 64 << 20;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the snapshot cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    #[error("the snapshot has format {found}, this release reads {FORMAT}")]
    Format { found: u32 },
    #[error("the snapshot is of cluster {found}, this is cluster {expected}")]
    Cluster { found: String, expected: ClusterId },
    #[error("the snapshot has {0}")]
    Codec(#[from] CodecError),
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) last_log: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) revision: Revision,
}

impl SnapshotHeader {
    pub(super) fn of(meta: &SnapshotMeta, revision: Revision) -> Self {
        Self { last_log: meta.last_log_id, membership: meta.last_membership.clone(), revision }
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last_log, last_membership: self.membership.clone() }
    }

    fn to_wire(&self, cluster: ClusterId) -> wire::SnapshotHeader {
        wire::SnapshotHeader {
            format: FORMAT,
            cluster: cluster.0.as_bytes().to_vec().into(),
            last_log: self.last_log.as_ref().map(codec::log_id_to),
            membership: Some(codec::stored_membership_to(&self.membership)),
            revision: self.revision.0,
            ..wire::SnapshotHeader::default()
        }
    }

    fn from_wire(header: wire::SnapshotHeader, expected: ClusterId) -> Result<Self, SnapshotError> {
        if header.format != FORMAT {
            return Err(SnapshotError::Format { found: header.format });
        }
        let found = uuid::Uuid::from_slice(&header.cluster).map(ClusterId).map_err(|e| SnapshotError::Damaged(e.to_string()))?;
        if found != expected {
            return Err(SnapshotError::Cluster { found: found.to_string(), expected });
        }
        Ok(Self {
            last_log: header.last_log.map(codec::log_id_from),
            membership: codec::stored_membership_from(header.membership)?,
            revision: Revision(header.revision),
        })
    }
}

/// A snapshot file of these messages, each in a frame that fits it: what a sender that is not one of us could send.
#[cfg(test)]
pub(crate) fn frames(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    for message in messages {
        file.extend(u32::try_from(message.len()).unwrap_or_default().to_le_bytes());
        file.extend(crc32fast::hash(message).to_le_bytes());
        file.extend(message);
    }
    file
}

struct Writer<W> {
    out: W,
    total: crc32fast::Hasher,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total.update(bytes);
        self.out.write_all(bytes)
    }

    fn frame(&mut self, frame: Frame) -> io::Result<()> {
        let message = wire::SnapshotFrame { frame: Some(frame) }.encode_to_vec();
        let length = u32::try_from(message.len()).ok().filter(|l| *l <= FRAME_LIMIT);
        let length = length.ok_or_else(|| io::Error::other("a row is too large for a snapshot"))?;
        self.put(&length.to_le_bytes())?;
        self.put(&crc32fast::hash(&message).to_le_bytes())?;
        self.put(&message)
    }
}

/// Writes a state to a new file and syncs it.
pub(super) fn write_snapshot(path: &Path, cluster: ClusterId, header: &SnapshotHeader, state: &State) -> io::Result<()> {
    let out = write_frames(BufWriter::new(File::create(path)?), header.to_wire(cluster), state)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    fail_point!("snapshot-before-sync");
    file.sync_all()
}

/// Writes the magic word and all frames of a state.
pub(crate) fn write_frames<W: Write>(out: W, header: wire::SnapshotHeader, state: &State) -> io::Result<W> {
    let mut writer = Writer { out, total: crc32fast::Hasher::new() };
    writer.put(MAGIC)?;
    writer.frame(Frame::Header(header))?;
    let (mut gathered, mut bytes, mut count) = (wire::SnapshotRows::default(), 0, 0);
    for row in state.rows() {
        let row = wire::SnapshotRow { key: stored_key(&row.key()).into(), row: rows::encode_row(&row).into() };
        bytes += row.key.len() + row.row.len();
        gathered.rows.push(row);
        count += 1;
        if bytes >= FRAME {
            writer.frame(Frame::Rows(std::mem::take(&mut gathered)))?;
            bytes = 0;
        }
    }
    writer.frame(Frame::Rows(gathered))?;
    let checksum = writer.total.clone().finalize();
    writer.frame(Frame::End(wire::SnapshotEnd { rows: count, checksum }))?;
    Ok(writer.out)
}

/// Reads with an offset of its own: several may read one open file.
struct At {
    file: Arc<File>,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads frames, and knows where it is.
struct Reader<R> {
    from: R,
    total: crc32fast::Hasher,
    offset: u64,
}

impl<R: Read> Reader<R> {
    fn open(from: R) -> Result<Self, SnapshotError> {
        let mut reader = Self { from, total: crc32fast::Hasher::new(), offset: 0 };
        let mut magic = [0; MAGIC.len()];
        reader.take(&mut magic)?;
        if &magic == MAGIC { Ok(reader) } else { Err(SnapshotError::Damaged("it does not begin like one".to_owned())) }
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        let offset = self.offset;
        self.from.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Damaged(format!("it ends in what begins at byte {offset}")),
            _ => e.into(),
        })?;
        self.total.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn number(&mut self) -> Result<u32, SnapshotError> {
        let mut bytes = [0; 4];
        self.take(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn frame(&mut self) -> Result<Frame, SnapshotError> {
        let at = self.offset;
        let damaged = |what: &str| SnapshotError::Damaged(format!("the frame at byte {at} {what}"));
        let (length, crc) = (self.number()?, self.number()?);
        if length > FRAME_LIMIT {
            return Err(damaged("is too long"));
        }
        let mut message = vec![0; length as usize];
        self.take(&mut message)?;
        if crc32fast::hash(&message) != crc {
            return Err(damaged("does not match its checksum"));
        }
        let frame: wire::SnapshotFrame = codec::decode("a frame", bytes::Bytes::from(message))?;
        frame.frame.ok_or_else(|| damaged("is empty"))
    }
}

/// Reads the magic word and all frames, checks everything there is to check, and gives the header to `header` and each row's key and
/// bytes to `row`. What comes behind the last frame is still to be read.
pub(crate) fn read_frames<R: Read, H>(
    from: R,
    header: impl FnOnce(wire::SnapshotHeader) -> Result<H, SnapshotError>,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(R, H), SnapshotError> {
    let damaged = |cause: &str| Err(SnapshotError::Damaged(cause.to_owned()));
    let mut reader = Reader::open(from)?;
    let Frame::Header(first) = reader.frame()? else { return damaged("it has no header") };
    let header = header(first)?;
    let mut count = 0_u64;
    loop {
        let (total, at) = (reader.total.clone().finalize(), reader.offset);
        match reader.frame()? {
            Frame::Header(_) => return damaged("it has two headers"),
            Frame::Rows(rows) => {
                count += rows.rows.len() as u64;
                for stored in rows.rows {
                    let read = row(&stored.key, &stored.row);
                    read.map_err(|e| SnapshotError::Damaged(format!("in the frame at byte {at}: {e}")))?;
                }
            }
            Frame::End(end) if end.rows != count => return damaged("rows are missing"),
            Frame::End(end) if end.checksum != total => return damaged("it does not match its checksum"),
            Frame::End(_) => return Ok((reader.from, header)),
        }
    }
}

/// Reads a snapshot from beginning to end, checks everything there is to check, and gives each row's key and bytes to `row`.
pub(crate) fn read_snapshot(
    file: &SnapshotFile,
    cluster: ClusterId,
    row: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<SnapshotHeader, SnapshotError> {
    let from = BufReader::with_capacity(FRAME, At { file: Arc::clone(&file.file), offset: 0 });
    let (mut from, header) = read_frames(from, |header| SnapshotHeader::from_wire(header, cluster), row)?;
    if from.read(&mut [0])? != 0 {
        return Err(SnapshotError::Damaged("it goes on after its end".to_owned()));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ring_state::{Namespace, Row};
    use ring_types::Timestamp;

    use super::*;
    use crate::types::log_id;

    const CLUSTER: ClusterId = ClusterId(uuid::Uuid::from_u128(7));

    fn state() -> State {
        let namespace = |n: u32| {
            let name = format!("ns{n}").parse().unwrap();
            Row::Namespace(Arc::new(Namespace { name, created_at: Timestamp(5), version: Revision(3) }))
        };
        State::from_rows(Revision(9), (0..20).map(namespace)).unwrap()
    }

    fn written() -> (tempfile::TempDir, SnapshotFile, SnapshotHeader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let header =
            SnapshotHeader { last_log: Some(log_id(2, 11)), membership: StoredMembership::default(), revision: Revision(9) };
        write_snapshot(&path, CLUSTER, &header, &state()).unwrap();
        (folder, SnapshotFile::open(path).unwrap(), header)
    }

    #[test]
    fn a_snapshot_reads_back() {
        let (_folder, file, header) = written();
        let mut rows = Vec::new();
        let read = read_snapshot(&file, CLUSTER, |key, value| {
            rows.push(crate::disk::read_row(key, value)?);
            Ok(())
        });
        assert_eq!(read.unwrap(), header);
        let read = State::from_rows(Revision(9), rows).unwrap();
        assert_eq!(ring_proto::rows::digest(&read), ring_proto::rows::digest(&state()));
    }

    #[test]
    fn another_clusters_is_refused() {
        let (_folder, file, _) = written();
        let other = ClusterId(uuid::Uuid::from_u128(8));
        assert!(matches!(read_snapshot(&file, other, |_, _| Ok(())), Err(SnapshotError::Cluster { .. })));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let (_folder, file, _) = written();
        let good = fs::read(&file.path).unwrap();
        let check = |bytes: &[u8]| {
            let path = file.path.with_extension("bad");
            fs::write(&path, bytes).unwrap();
            read_snapshot(&SnapshotFile::open(path).unwrap(), CLUSTER, |_, _| Ok(()))
        };
        check(&good).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(check(&bad).is_err(), "byte {at} flipped");
            assert!(check(&good[..at]).is_err(), "cut at {at}");
        }
        assert!(check(&[&good[..], b"x"].concat()).is_err(), "something behind it");
    }
}
