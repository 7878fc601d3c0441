//! Bounds how much a layer or an archive unpacks to: bombs are no images, and unpacking one would never end.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much an image may unpack to whatever its size as stored, in bytes.
const ALWAYS: u64 = 8 << 30;
/// How much more for each byte as stored. Real images have 2 to 10.
const RATIO: u64 = 100;
/// How much may follow the end of a tar, in bytes; tapes were filled up with 10 kB.
const LARGEST_REST: u64 = 1 << 30;

/// What was read of an image, and what that unpacked to. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Unpacked(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    stored: AtomicU64,
    unpacked: AtomicU64,
}

impl Unpacked {
    /// Counts what passes through a stream as it is stored.
    pub fn stored<R: Read>(&self, inner: R) -> Stored<R> {
        Stored { inner, counts: self.clone() }
    }

    /// Bounds what a stream of this decoder unpacks to. `cost` says how much longer it takes than others.
    pub fn bounded<R: Read>(&self, inner: R, cost: u64) -> Bounded<R> {
        Bounded { inner, cost, counts: self.clone() }
    }

    /// Counts bytes of content.
    ///
    /// # Errors
    /// It is more than an image may have (`InvalidData`).
    pub fn take(&self, bytes: u64) -> io::Result<()> {
        let before = self.0.unpacked.fetch_add(bytes, Ordering::Relaxed);
        let most = ALWAYS.saturating_add(self.0.stored.load(Ordering::Relaxed).saturating_mul(RATIO));
        if before.saturating_add(bytes) <= most {
            return Ok(());
        }
        let why = format!(
            "it unpacks to far more than an image has: to more than {} GiB and {RATIO} times what is stored",
            ALWAYS >> 30
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// Counts what is stored.
pub struct Stored<R> {
    inner: R,
    counts: Unpacked,
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.counts.0.stored.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Bounds what is unpacked.
pub struct Bounded<R> {
    inner: R,
    cost: u64,
    counts: Unpacked,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.counts.take((count as u64).saturating_mul(self.cost))?;
        Ok(count)
    }
}

/// Reads what follows the end of an archive, so that its writer is not cut off.
///
/// # Errors
/// The stream cannot be read, or does not end (`InvalidData`).
pub fn drain_rest(stream: impl Read) -> io::Result<()> {
    let rest = super::decompress::drain(&mut stream.take(LARGEST_REST))?;
    if rest < LARGEST_REST {
        return Ok(());
    }
    let why = format!("it goes on for more than {} GiB after the end of its tar", LARGEST_REST >> 30);
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_allows_for_more() {
        let unpacked = Unpacked::default();
        assert!(unpacked.take(ALWAYS).is_ok() && unpacked.take(1).is_err());
        io::copy(&mut unpacked.stored(&[0; 1000][..]), &mut io::sink()).unwrap();
        assert!(unpacked.take(1000 * (RATIO - 1)).is_ok() && unpacked.take(1000).is_err());
    }

    #[test]
    fn slow_decoders_may_give_less() {
        let unpacked = Unpacked::default();
        let mut stream = unpacked.bounded(io::repeat(0), ALWAYS / 1000);
        assert!(stream.read_exact(&mut [0; 1000]).is_ok() && stream.read_exact(&mut [0; 1]).is_err());
    }

    #[test]
    fn what_never_ends_is_given_up() {
        assert!(drain_rest(&[0; 10_240][..]).is_ok());
        assert!(drain_rest(io::repeat(0)).unwrap_err().to_string().contains("after the end of its tar"));
    }
}
