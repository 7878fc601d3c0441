//! Decompression of layers and archives: gzip, zstd or nothing, judged by the first bytes and not by a media type.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::gzip::Members;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), of one member or several (eStargz).
    Gzip,
    /// Zstandard (RFC 8878), of one frame or several (zstd:chunked).
    Zstd,
}

/// How many bytes are moved at a time: as large as the processor's second-level cache likes.
pub const CHUNK: usize = 256 * 1024;

/// Opens a stream of any compression. An empty stream is an uncompressed one.
///
/// # Errors
/// The stream cannot be read, or is compressed in a way that image layers are not (`InvalidData`).
pub fn open<'a>(stream: impl Read + Send + 'a) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut stream = Sniffed::new(stream)?;
    let compression = detect(stream.start())?;
    stream.rewind();
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, stream))),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(CHUNK, stream))?)
        }
    };
    Ok((compression, reader))
}

/// As [`open`], of a stream whose bytes a digest proves: checksums inside it are not looked at. It is told by the bytes
/// that the stream gives at first.
///
/// # Errors
/// As [`open`].
pub fn open_proven<'a>(mut stream: impl BufRead + Send + 'a) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let compression = detect(stream.fill_buf()?)?;
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(Members::new(stream)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(stream)?),
    };
    Ok((compression, reader))
}

/// Whether these first bytes are those of a compressed stream or of a tar file.
#[must_use]
pub fn looks_like_layer(start: &[u8]) -> bool {
    match detect(start) {
        Ok(Compression::None) => is_tar_header(start) || (!start.is_empty() && start.iter().all(|&byte| byte == 0)),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Whether these first bytes are those of a compressed stream.
///
/// # Errors
/// They are those of a compression that image layers do not have (`InvalidData`).
pub fn is_compressed(start: &[u8]) -> io::Result<bool> {
    detect(start).map(|compression| compression != Compression::None)
}

fn detect(start: &[u8]) -> io::Result<Compression> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        // A frame, or a skippable frame before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(unsupported("xz")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] if !is_tar_header(start) => Err(unsupported("bzip2")),
        _ => Ok(Compression::None),
    }
}

fn unsupported(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is compressed with {name}, which image layers are not"))
}

/// Whether the checksum of a tar header holds (POSIX.1-1988 `chksum`: the sum of all bytes, its own field as spaces).
fn is_tar_header(start: &[u8]) -> bool {
    let Some(header) = start.get(..512) else { return false };
    let written: String =
        header[148..156].iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| char::from(byte)).collect();
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, &byte)| u64::from(if (148..156).contains(&at) { b' ' } else { byte }))
        .sum();
    u64::from_str_radix(&written, 8).is_ok_and(|written| written == sum)
}

/// A stream of which the first bytes were looked at.
pub struct Sniffed<R> {
    start: Vec<u8>,
    at: usize,
    rest: R,
}

impl<R: Read> Sniffed<R> {
    /// Reads the first 512 bytes, or what there is.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub fn new(mut rest: R) -> io::Result<Self> {
        let mut start = Vec::with_capacity(512);
        rest.by_ref().take(512).read_to_end(&mut start)?;
        let at = start.len();
        Ok(Self { start, at, rest })
    }

    /// The first bytes.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Makes the first bytes come again.
    pub fn rewind(&mut self) {
        self.at = 0;
    }
}

impl<R: Read> Read for Sniffed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.start.len() {
            return self.rest.read(buffer);
        }
        let count = (&self.start[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// Reads and throws away the rest, for the sake of the digest that is computed on the way.
///
/// # Errors
/// The stream cannot be read.
pub fn drain(reader: &mut dyn Read) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    let mut total = 0;
    loop {
        let count = reader.fill_buf()?.len();
        if count == 0 {
            return Ok(total);
        }
        reader.consume(count);
        total += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> (Compression, Vec<u8>) {
        let (compression, mut reader) = open(bytes).unwrap();
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        (compression, out)
    }

    #[test]
    fn several_gzip_members_and_zstd_frames_are_one_stream() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&two), (Compression::Gzip, b"one two".to_vec()));
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let frames =
            [zstd::encode_all(&b"one "[..], 3).unwrap(), skippable.to_vec(), zstd::encode_all(&b"two"[..], 3).unwrap()];
        assert_eq!(read(&frames.concat()), (Compression::Zstd, b"one two".to_vec()));
    }

    #[test]
    fn short_and_empty_streams_are_uncompressed() {
        assert_eq!(read(b""), (Compression::None, vec![]));
        assert_eq!(read(b"ab"), (Compression::None, b"ab".to_vec()));
    }

    #[test]
    fn other_compressions_are_named() {
        let error = open(&b"\xfd7zXZ\0"[..]).err().unwrap().to_string();
        assert!(error.contains("xz"), "{error}");
    }
}
