//! Frames of the ledger file: length, checksum, JSON. A frame is whole or it was never written.

use crate::record::Record;
use ring_types::{InstanceId, NodeId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes before the payload: its length and its CRC-32, little endian.
const PREFIX: usize = 8;

/// The first frame of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Version of what follows.
    pub(super) format: u32,
    /// Whose ledger it is.
    pub(super) node: NodeId,
}

/// The changes of one batch; None deletes.
pub(super) type Batch = Vec<(InstanceId, Option<Record>)>;

/// A payload as a frame.
pub(super) fn encode<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, value)?;
    let length = (frame.len() - PREFIX) as u32;
    let checksum = crc32fast::hash(&frame[PREFIX..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..PREFIX].copy_from_slice(&checksum.to_le_bytes());
    Ok(frame)
}

/// The payload of the frame `bytes` begin with, and the length of the frame. None when it is torn.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX>()?;
    let [a, b, c, d, checksum @ ..] = *prefix;
    let payload = rest.get(..u32::from_le_bytes([a, b, c, d]) as usize)?;
    let whole = !payload.is_empty() && crc32fast::hash(payload) == u32::from_le_bytes(checksum);
    whole.then_some((payload, PREFIX + payload.len()))
}

/// The value of a payload.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(payload)
}
