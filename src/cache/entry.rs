//! The form of a kept entry: a mark, a checksum over name and content, and the content: its length, and itself compressed.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Algorithm, Digest, Hasher};

/// What every entry begins with.
const MARK: &[u8; 8] = b"imglint\n";
/// The length of the checksum in hexadecimal digits (SHA-256).
const CHECKSUM: usize = 64;
/// How many bytes say how long the content is when it is decompressed.
const LENGTH: usize = size_of::<u64>();
/// The most that an entry may be when it is decompressed, in bytes.
const LARGEST: usize = 1 << 30;

/// An entry's bytes; nothing if the value has none, or is too large to be read again.
pub(super) fn encode(name: &str, value: &impl Serialize) -> Option<Vec<u8>> {
    let compressed = zstd::stream::write::Encoder::new(vec![0; LENGTH], 1).ok()?;
    let counted = postcard::to_io(value, Counted { inner: compressed, bytes: 0 }).ok()?;
    let mut content = counted.inner.finish().ok()?;
    content[..LENGTH].copy_from_slice(&counted.bytes.to_le_bytes());
    let mut bytes = MARK.to_vec();
    bytes.extend(checksum(name, &content).hex().bytes());
    bytes.extend(content);
    Some(bytes)
}

/// The value of an entry that is whole and has this name.
pub(super) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Option<T> {
    let (sum, content) = bytes.strip_prefix(MARK)?.split_at_checked(CHECKSUM)?;
    if sum != checksum(name, content).hex().as_bytes() {
        return None;
    }
    let (length, compressed) = content.split_first_chunk()?;
    // Into memory of the right size at once: growing it would take longer than decompressing.
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= LARGEST)?;
    let value = zstd::bulk::decompress(compressed, length).ok()?;
    postcard::from_bytes(&value).ok()
}

/// Counts what is written, which is not more than [`LARGEST`].
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes + buffer.len() as u64 > LARGEST as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.inner.write(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn checksum(name: &str, content: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(name.as_bytes());
    hasher.update(b"\n");
    hasher.update(content);
    hasher.finish()
}
