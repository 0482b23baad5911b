//! One layer of an image: a tar archive, as it is or compressed, in a file of its own or in a part of one.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What compressed data begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Where a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) file: PathBuf,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Layer {
    pub(super) fn whole(file: &Path) -> io::Result<Self> {
        Ok(Self { file: file.to_owned(), offset: 0, length: std::fs::metadata(file)?.len() })
    }

    /// Its archive, whatever it is compressed with.
    pub(super) fn open(&self) -> io::Result<Hashed<Box<dyn Read>>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut begin = [0; 4];
        let known = read_some(&mut file, &mut begin)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let part = BufReader::with_capacity(1 << 16, file.take(self.length));
        let reader: Box<dyn Read> = match &begin[..known.min(self.length as usize)] {
            begin if begin.starts_with(GZIP) => Box::new(flate2::bufread::MultiGzDecoder::new(part)),
            begin if begin.starts_with(ZSTD) => Box::new(zstd::stream::read::Decoder::with_buffer(part)?),
            _ => Box::new(part),
        };
        Ok(Hashed { reader, hash: Sha256::new() })
    }
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match from.read(&mut buffer[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Knows the digest of what has been read.
pub(super) struct Hashed<R> {
    reader: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

impl<R: Read> Hashed<R> {
    /// Reads the rest, and says the digest of all, as images write it.
    pub(super) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(digest(self.hash))
    }
}

/// The digest of some bytes, as images write it.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    digest(Sha256::new_with_prefix(bytes))
}

fn digest(hash: Sha256) -> String {
    format!("sha256:{}", hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_layer_is_read_whatever_it_is_compressed_with() {
        let dir = tempfile::tempdir().unwrap();
        let plain = b"something to be read".repeat(10_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
        for bytes in [plain.clone(), gzip.finish().unwrap(), zstd] {
            // In the middle of a file, between other things.
            let file = dir.path().join("file");
            std::fs::write(&file, [b"before", bytes.as_slice(), b"after"].concat()).unwrap();
            let layer = Layer { file, offset: 6, length: bytes.len() as u64 };
            let mut opened = layer.open().unwrap();
            let mut read = vec![0; 100];
            opened.read_exact(&mut read).unwrap();
            assert_eq!(read, plain[..100]);
            assert_eq!(opened.finish().unwrap(), digest_of(&plain));
        }
    }
}
