//! The form of a kept entry: a mark, a checksum over name and content, and the content, compressed.

use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Algorithm, Digest, Hasher};

/// What every entry begins with.
const MARK: &[u8; 8] = b"imglint\n";
/// The length of the checksum in hexadecimal digits (SHA-256).
const CHECKSUM: usize = 64;
/// The most that an entry may become when it is decompressed, in bytes: more than any index that can be made.
const LARGEST: u64 = 1 << 30;

/// An entry's bytes; nothing if the value has no form, which no value here is.
pub(super) fn encode(name: &str, value: &impl Serialize) -> Option<Vec<u8>> {
    let compressed = zstd::stream::write::Encoder::new(Vec::new(), 1).ok()?;
    let content = postcard::to_io(value, compressed).ok()?.finish().ok()?;
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
    let mut value = Vec::new();
    zstd::stream::read::Decoder::with_buffer(content).ok()?.take(LARGEST).read_to_end(&mut value).ok()?;
    postcard::from_bytes(&value).ok()
}

fn checksum(name: &str, content: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(name.as_bytes());
    hasher.update(b"\n");
    hasher.update(content);
    hasher.finish()
}
